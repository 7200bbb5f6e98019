"""Servers to try things with: started and stopped by command, and what they hold stays."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import CommandLine

ROOT = Path(__file__).parents[2]
#: ``services up`` as it is, but for the MLflow server, which takes seconds to start and has tests of its own.
UP = """
import sys
from contextlib import contextmanager
from pipelines import cli, services_cli
@contextmanager
def mlflow_server(folder):
    yield "http://127.0.0.1:1"
services_cli.mlflow_server = mlflow_server
cli.main(["services", "up", "--folder", sys.argv[1]])
"""
#: Adds an object named by its argument to the bucket, lists it, and ends with exit code 7.
USE = """
import sys
from shapley_core.storage import open_store
store = open_store("s3://valuations/store")
store.write(sys.argv[1], b"x")
print(*store.list())
sys.exit(7)
"""


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def test_up_and_down_and_a_command_with_a_server_of_its_own(shell: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "my services"
    command = [sys.executable, "-c", UP, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        try:
            while not (folder / "environment").is_file():
                assert up.poll() is None
                time.sleep(0.05)
            script = f". '{folder}/environment' && '{sys.executable}' -c '{USE}' first; echo $? $MLFLOW_TRACKING_URI"
            used = subprocess.check_output(["sh", "-c", script], cwd=ROOT, text=True)
            assert used.splitlines() == ["first", "7 http://127.0.0.1:1"]
            for more in (["up"], ["s3"]):
                refused = shell("services", *more, "--folder", folder, *(["true"] if more == ["s3"] else []))
                assert f"servers are running in {folder} already" in refused.sentence
            assert up.poll() is None
            assert shell.lines("services", "down", "--folder", folder) == []
            assert up.wait() == 0
            assert up.stdout is not None
            assert "export AWS_SECRET_ACCESS_KEY=" in up.stdout.read()
        finally:
            up.kill()
    assert not (folder / "environment").exists()
    assert f"no servers are running in {folder}" in shell("services", "down", "--folder", folder).sentence
    assert "no servers are running in" in shell("services", "down", "--folder", tmp_path / "nowhere").sentence

    own = [sys.executable, "-m", "pipelines", "services", "s3", "--folder", folder, sys.executable, "-c", USE, "second"]
    ended = subprocess.run(own, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "first second\n", "")
