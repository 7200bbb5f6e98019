"""Model families, their checkpoints, and sampling.

Diffusers imports every model it knows when one is asked for, transformers for the name of a type, and torch's compiler
to tell it what not to look into: seconds, and a hundred megabytes, in every task. Here such packages are made to import
on demand instead: a module of theirs that is named is imported by itself, and whoever asks the package for anything
else gets all of it, as before. The compiler is kept from diffusers, which does without.
"""

import importlib
import importlib.util
import sys
from functools import partial
from importlib.metadata import version
from typing import Any


def _import_on_demand(package: str, **known: str) -> None:
    """Make ``package`` importable without running its ``__init__`` until a name is asked of it that is not known."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None or package in sys.modules:
        return
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)

    def whole(name: str) -> Any:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        if sys.modules[package] is not module:  # transformers puts another object in its own place
            module.__dict__["__getattr__"] = partial(getattr, sys.modules[package])
        return getattr(module, name)

    module.__dict__.update(known, __getattr__=whole)
    sys.modules[package] = module


def _import_without(package: str, absent: str) -> None:
    """Import ``package``, to which ``absent`` is not there unless it has been imported already."""
    if absent in sys.modules:
        return
    sys.modules[absent] = None  # type: ignore[assignment]  # as documented for sys.modules: importing it fails
    try:
        importlib.import_module(package)
    finally:
        del sys.modules[absent]


_import_on_demand("transformers", __version__=version("transformers"))
_import_without("diffusers.utils.torch_utils", absent="torch._dynamo")
for _package in ("diffusers.models.unets", "diffusers.models.transformers", "diffusers.hooks"):
    _import_on_demand(_package)
