"""The local runner on the smallest pipeline there is: what its tasks are given, and what is left of them."""

import io
import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from kfp import dsl
from rich.console import Console

from pipelines.local import run_here


@dsl.component(base_image="python", install_kfp_package=False)
def look_around(seen: dsl.Output[dsl.Artifact]) -> None:
    """Leaves a temporary file, and says where; and what a variable is."""
    import json
    import os
    import tempfile
    from pathlib import Path

    Path(seen.path).mkdir()
    (Path(seen.path) / "seen.json").write_text(json.dumps([tempfile.mkstemp()[1], os.environ["MLFLOW_TRACKING_URI"]]))


@dsl.pipeline
def smallest() -> dsl.Artifact:
    """One task."""
    return look_around().outputs["seen"]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for the temporary files of this process and its children."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_tasks_get_their_variables_and_leave_nothing_behind(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pipelines.smallest", SimpleNamespace(smallest=smallest))  # type: ignore[misc]
    before = dict(os.environ)
    out = tmp_path / "out"
    environment = {"MLFLOW_TRACKING_URI": "http://someone:a-secret@host"}
    run_here("smallest", {}, environment, out, Console(file=io.StringIO()))
    left, variable = json.loads((out / "seen.json").read_text())
    assert Path(left).is_relative_to(temporary), "where the user wants temporary files"
    assert not Path(left).exists()
    assert not list(temporary.iterdir())
    assert variable == environment["MLFLOW_TRACKING_URI"]
    assert "a-secret" not in (out / "run.log").read_text()
    assert dict(os.environ) == before
