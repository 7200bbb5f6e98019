"""One folder per Kubeflow component, each a thin wrapper around one stage of ``shapley_core``."""
