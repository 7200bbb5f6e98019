"""The local runner on the smallest pipeline there is: what its tasks are given, and what is left of them."""

import os
import tempfile
from pathlib import Path

import pytest
from kfp import compiler, dsl

from pipelines.local import run_pipeline


@dsl.component(base_image="python", install_kfp_package=False)
def look_around(seen: dsl.Output[dsl.Artifact]) -> None:
    """Leaves a temporary file, and says where."""
    import tempfile

    with open(tempfile.mkstemp()[1], "w") as left, open(seen.path, "w") as file:  # noqa: PTH123
        file.write(left.name)


@dsl.pipeline
def smallest() -> dsl.Artifact:
    """One task."""
    return look_around().outputs["seen"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The compiled pipeline."""
    path = tmp_path / "smallest.yaml"
    compiler.Compiler().compile(smallest, str(path))
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for the temporary files of this process and its children."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_no_temporary_file_is_left(package: Path, temporary: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    seen = run_pipeline(package, {}, tmp_path / "work", tmp_path / "run.log", print)
    left = Path(seen.read_text())
    assert left.is_relative_to(temporary), "where the user wants temporary files"
    assert not left.exists()
    assert not list(temporary.iterdir())
    assert dict(os.environ) == before
