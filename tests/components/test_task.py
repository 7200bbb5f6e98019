"""How a task ends: sentences for people, exit codes, and tracebacks for bugs only."""

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from shapley_core.errors import UserError
from shapley_core.stage_log import StageLog
from shapley_core.stages import task

#: More than fits on the disk of these tests.
LARGE = np.random.default_rng(0).integers(0, 256, 400_000, dtype=np.uint8)


def ended(capsys: pytest.CaptureFixture[str], stage: Callable[[], object]) -> tuple[object, str]:
    """Exit code and output of a stage that ends its process."""
    with pytest.raises(SystemExit) as stop:
        task.run(stage)
    return stop.value.code, capsys.readouterr().out


def test_result_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    def stage(a: int, *, b: int) -> int:
        logging.getLogger("shapley_core.stages.stage").info("%d and %d", a, b)
        logging.getLogger("another.library").warning("not for people")
        return a + b

    assert task.run(stage, 2, b=3) == 5
    assert capsys.readouterr().out == "» 2 and 3\n"


def test_log_lines_are_told_once_however_many_tasks_ran(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        task.run(lambda: logging.getLogger("shapley_core").info("hello"))
    assert capsys.readouterr().out == "» hello\n" * 3


def test_user_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def stage() -> None:
        raise UserError("the folder\n  is empty:\tfill it")

    assert ended(capsys, stage) == (2, "ERROR: the folder is empty: fill it\n")


def test_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        task.run(lambda: 1 / 0)
    with pytest.raises(FileNotFoundError):
        task.run(lambda: Path("/nowhere/at/all").read_text())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets us mount nothing: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def copied(folder: Path) -> None:
    source = folder.parent / "logs"
    source.mkdir()
    (source / "log").write_bytes(LARGE.tobytes())
    shutil.copytree(source, folder / "logs")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: (folder / "file").write_bytes(LARGE.tobytes()),
        lambda folder: np.save(folder / "images.npy", LARGE, allow_pickle=False),
        lambda folder: save_file({"weight": LARGE}, folder / "model.safetensors"),
        lambda folder: pd.DataFrame({"value": LARGE}).to_parquet(folder / "table.parquet", compression=None),
        lambda folder: StageLog("train", facts={"much": "x" * 400_000}).save(folder / "log.json"),
        copied,
    ],
    ids=["file", "numpy", "safetensors", "parquet", "stage log", "copied folder"],
)
def test_full_disk_is_told_whichever_library_meets_it(
    capsys: pytest.CaptureFixture[str], small_disk: Path, write: Callable[[Path], object]
) -> None:
    code, out = ended(capsys, lambda: write(small_disk))
    assert code == 2
    assert out.startswith("ERROR: cannot write") and "the disk is full" in out
    assert out.count("\n") == 1
