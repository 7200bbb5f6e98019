"""Runs the compiled pipelines on this machine, with Kubeflow's own local runner.

Every task is a process of its own, as in a cluster. What they print goes to a log file; the lines meant for people
are passed on.
"""

import builtins
import contextlib
import fcntl
import importlib
import io
import os
import re
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.status import Status
from rich.text import Text

from shapley_core.errors import UserError, unwritable
from shapley_core.stages.task import ERROR, PROGRESS

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class PipelineFailedError(Exception):
    """A task failed in a way its stage did not foresee; the message is a sentence that says where the log is."""


def run_here(
    name: str, arguments: Mapping[str, Any], environment: Mapping[str, str], out: Path, console: Console
) -> float:
    """Run a pipeline and put its results into a folder; what people should see is printed. Returns wall seconds.

    Args:
        name: module and function of the pipeline in this package.
        arguments: its inputs.
        environment: variables of the tasks besides this process's own.
        out: folder for the results.
        console: where lines go.

    Raises:
        UserError: a task said what the user can mend, or another run holds the folder.
        PipelineFailedError: a task failed otherwise.
    """
    started = time.monotonic()
    with exclusive(out), _temporary_folder() as folder:
        from kfp import compiler  # here, because it takes half a second

        work = out / ".work"
        shutil.rmtree(work, ignore_errors=True)
        package = folder / f"{name}.yaml"
        compiler.Compiler().compile(getattr(importlib.import_module(f"pipelines.{name}"), name), str(package))
        with console.status("starting") as status, _tasks_end_with_us(folder, status):

            def show(line: str) -> None:
                if console.is_terminal:
                    status.update(Text(line))
                else:
                    console.print(Text(line))

            results = run_pipeline(package, arguments, environment, work, out / "run.log", show)
        publish(results, out)
        shutil.rmtree(work, ignore_errors=True)
    return time.monotonic() - started


def run_pipeline(
    package: Path,
    arguments: Mapping[str, Any],
    environment: Mapping[str, str],
    work: Path,
    log: Path,
    show: Callable[[str], None],
) -> Path:
    """Run the pipeline compiled to ``package`` and return the folder of its output artifact.

    Args:
        package: the compiled pipeline (YAML), in a folder for temporary files.
        arguments: the pipeline's inputs; Kubeflow writes them to the log.
        environment: variables of the tasks besides this process's own: the place for what must not be in the log.
        work: folder for the tasks' artifacts.
        log: file for everything that is printed.
        show: called with every line meant for people.

    Raises:
        UserError: a task said what the user can mend.
        PipelineFailedError: a task failed otherwise.
    """
    from kfp import components, local  # here, because it takes half a second

    pipeline = components.load_component_from_file(str(package))
    with _environment(environment), log.open("ab", buffering=0) as file:
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(work),
            workspace_root=str(package.parent),
            raise_on_error=True,
        )
        router = _LineRouter(file, show)
        with _captured(router):
            try:
                outputs = pipeline(**arguments).outputs
            except RuntimeError as failure:
                if router.error:
                    raise UserError(router.error) from failure
                raise PipelineFailedError(
                    f"{_failed_task(failure)} failed unexpectedly; {log} ends with the reason. What was measured is "
                    "kept: the same command goes on from there"
                ) from failure
    return Path(outputs["Output"].path)


def _failed_task(failure: RuntimeError) -> str:
    """The innermost task that failed, which Kubeflow's runner names in its message only."""
    named = re.search(r"Inner task failed: '([^']+)'", _ANSI.sub("", str(failure)))
    return f"the task {named[1]}" if named else "a task"


def make_folder(folder: Path) -> None:
    """Make the folder a user named.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        raise unwritable(error) or UserError(
            f"cannot make the folder {folder}: {'a file is in the way' if in_the_way else error.strerror}. Choose "
            "another with --out"
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; the lock goes with the process, however it ends."""
    make_folder(folder)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another run is writing to {folder}; wait for it, or choose another folder with --out"
            ) from None
        yield


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for what this process and its tasks leave among the temporary files: Kubeflow, each task's code.

    Not in the run's own folder: on a full disk a task must still be able to start and say so.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _environment({"TMPDIR": folder}):
        yield Path(folder)


@contextlib.contextmanager
def _tasks_end_with_us(temporary: Path, status: Status) -> Iterator[None]:
    """Told to end, a run takes its tasks along: left alone, they would work on beside the next run in the folder."""

    def end(signal_number: int, _frame: object) -> None:
        while tasks := psutil.Process().children(recursive=True):
            for task in tasks:
                with contextlib.suppress(psutil.NoSuchProcess):
                    task.terminate()
            for task in psutil.wait_procs(tasks, timeout=3)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    task.kill()
        shutil.rmtree(temporary, ignore_errors=True)
        status.stop()
        status.console.print("ended: what was measured is kept, and the same command goes on from there")
        status.console.file.flush()
        # An exception would wait for the threads of Kubeflow's runner, which try again what has been ended.
        os._exit(128 + signal_number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


#: Results that not every run has: one of an earlier run must not stand beside other values.
_OPTIONAL = ("mlflow.txt", "payout.csv")


def publish(results: Path, out: Path) -> None:
    """Copy a run's results to where the user asked for them, each file whole."""
    for name in _OPTIONAL:
        if not (results / name).exists():
            (out / name).unlink(missing_ok=True)
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        target = out / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.partial")
        shutil.copyfile(path, draft)
        draft.replace(target)


class _LineRouter(io.TextIOBase):
    """Standard output of the local runner: everything to the log, the stages' own lines to the user."""

    def __init__(self, log: io.RawIOBase, show: Callable[[str], None]) -> None:
        self.error = ""
        self._log = log
        self._show = show
        self._pending = ""

    def write(self, text: str) -> int:
        """Take text as it is printed; act on whole lines."""
        self._pending += text
        *lines, self._pending = self._pending.split("\n")
        for line in lines:
            self._route(_ANSI.sub("", line))
        return len(text)

    def _route(self, line: str) -> None:
        # On a full disk the tasks say what is wrong; a log that lacks a line does not.
        with contextlib.suppress(OSError):
            self._log.write(f"{line}\n".encode(errors="replace"))
        stripped = line.strip()
        if stripped.startswith(PROGRESS):
            self._show(stripped.removeprefix(PROGRESS))
        elif stripped.startswith(ERROR):
            self.error = stripped.removeprefix(ERROR)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process, which its tasks inherit, for the time of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _captured(router: _LineRouter) -> Iterator[None]:
    """Send this process's output to ``router``; the local runner replaces ``print`` and may not put it back."""
    original = builtins.print
    with contextlib.redirect_stdout(router), contextlib.redirect_stderr(router), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You may be attemping to run a task", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="Task '.*': settings .* have no effect", category=UserWarning)
        try:
            yield
        finally:
            builtins.print = original
