"""What the pipelines expect to find in the cluster, by name: the manifests in ``k8s/`` define just this.

A compiled pipeline holds these names, never what stands behind them.
"""

from kfp import dsl, kubernetes

#: The service account that runs are started with: it may do what Kubeflow's own containers need, and nothing else.
SERVICE_ACCOUNT = "valuation-runner"

#: ConfigMap of where the services are; its keys are the names of the variables.
SERVICES = "valuation-services"
SERVICE_KEYS = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "MLFLOW_TRACKING_URI")

#: Secret of the keys to S3, which ``kfp-launcher`` takes, too; its keys are the names of the variables.
S3_SECRET = "valuation-s3"
S3_SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def reach_services(task: dsl.PipelineTask) -> None:
    """Give a task the addresses of the services and the keys to S3, as environment variables.

    None of them is required: a pod whose secret is missing would wait for it for ever, without a word in the log. So
    the first pod starts and says what it lacks. On a laptop the variables are the user's own.
    """
    kubernetes.use_config_map_as_env(task, SERVICES, {key: key for key in SERVICE_KEYS}, optional=True)
    kubernetes.use_secret_as_env(task, S3_SECRET, {key: key for key in S3_SECRET_KEYS}, optional=True)


def confine(task: dsl.PipelineTask) -> None:
    """Let a task run as no other user than its image's, who must not be root.

    Kubeflow itself drops capabilities and privileges of every task; with this, its pods are what Kubernetes calls
    restricted.
    """
    kubernetes.set_security_context(task, run_as_non_root=True)
