"""The command line, called in this process as ``python -m pipelines`` calls it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error of a command that was refused."""
        assert self.code == 2, self
        return self.error

    @property
    def error(self) -> str:
        """The one line on standard error, however the command ended."""
        assert "Traceback" not in self.out + self.err
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


class CommandLine:
    """Calls commands and keeps what they print."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Ended:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        assert isinstance(stop.value.code, int)
        return Ended(stop.value.code, out, err)

    def lines(self, *arguments: str | Path) -> list[str]:
        """What a command that succeeds prints."""
        ended = self(*arguments)
        assert ended.code == 0, ended
        assert not ended.err
        return ended.out.splitlines()
