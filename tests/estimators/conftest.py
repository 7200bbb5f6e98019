"""Shared by the tests of the estimators."""

from collections.abc import Iterator

import pytest

from shapley_core.estimators.tree_msr import _BOOSTING


@pytest.fixture(scope="module")
def few_trees() -> Iterator[None]:
    """A tenth of the trees: what is tested does not hang on how many, and they take nearly all of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_BOOSTING, "n_estimators", 10)
        yield
