"""Model families, their checkpoints, and sampling.

Diffusers imports every model it knows when one is asked for, and all of peft when a network is moved to its device:
seconds, and a hundred megabytes, in every task. Here its largest packages are made to import on demand instead: a
module of theirs that is named is imported by itself, and whoever asks the package for anything else gets all of it, as
before.
"""

import importlib.util
import sys
from typing import Any


def _import_on_demand(package: str) -> None:
    """Make ``package`` importable without running its ``__init__`` until a name is asked of it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None or package in sys.modules:
        return
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)

    def whole(name: str) -> Any:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__["__getattr__"] = whole
    sys.modules[package] = module


for _package in ("diffusers.models.unets", "diffusers.models.transformers", "diffusers.hooks"):
    _import_on_demand(_package)
