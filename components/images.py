"""The container images the components run in; the one place that names them, read when a pipeline is compiled.

``IMAGE_REGISTRY`` and ``IMAGE_TAG`` choose another registry and version, e.g. for a release. The tag is never
``latest``: Kubeflow's cache knows an image by its name alone and would not see that its content has changed.
"""

import os

import shapley_core
from shapley_core.errors import UserError

_REGISTRY = os.environ.get("IMAGE_REGISTRY", "localhost/diffusion-shapley")
_TAG = os.environ.get("IMAGE_TAG", shapley_core.__version__)

if _TAG == "latest":
    raise UserError("IMAGE_TAG must name a version, not 'latest': Kubeflow's cache would not see a new image")

#: The light half: numpy, scipy, MLflow.
ESTIMATOR = f"{_REGISTRY}/estimator:{_TAG}"
#: The heavy half as well: torch, diffusers.
DIFFUSION = f"{_REGISTRY}/diffusion:{_TAG}"
