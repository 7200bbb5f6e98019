"""The local runner on the smallest pipeline there is: what its tasks are given, and what is left of them."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from kfp import compiler, dsl

from pipelines.local import run_pipeline


@dsl.component(base_image="python", install_kfp_package=False)
def look_around(seen: dsl.Output[dsl.Artifact]) -> None:
    """Leaves a temporary file, and says where; and what a variable is."""
    import json
    import os
    import tempfile
    from pathlib import Path

    Path(seen.path).write_text(json.dumps([tempfile.mkstemp()[1], os.environ["MLFLOW_TRACKING_URI"]]))


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


def test_tasks_get_their_variables_and_leave_nothing_behind(package: Path, temporary: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    environment = {"MLFLOW_TRACKING_URI": "http://someone:a-secret@host"}
    seen = run_pipeline(package, {}, environment, tmp_path / "work", tmp_path / "run.log", print)
    left, variable = json.loads(seen.read_text())
    assert Path(left).is_relative_to(temporary), "where the user wants temporary files"
    assert not Path(left).exists()
    assert not list(temporary.iterdir())
    assert variable == environment["MLFLOW_TRACKING_URI"]
    assert "a-secret" not in (tmp_path / "run.log").read_text()
    assert dict(os.environ) == before
