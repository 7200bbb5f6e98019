"""The Kubeflow pipelines, and the command line that runs and compiles them."""
