"""Valuations on a cluster: what the command line asks of Kubeflow Pipelines over its REST API."""
