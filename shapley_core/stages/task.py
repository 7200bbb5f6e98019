"""How a stage runs as a task of its own: readable log lines, and errors that are sentences.

Components call :func:`run`; the line that begins with :data:`ERROR` is what the command line shows the user.
"""

import logging
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from shapley_core.errors import UserError, unwritable

P = ParamSpec("P")
T = TypeVar("T")

#: Begins the log line that says why a task failed.
ERROR = "ERROR: "
#: Begins every log line of a stage, so that they can be told from those of libraries.
PROGRESS = "» "


def run(stage: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``stage``; what the user can mend ends the process with exit code 2 and one sentence, no traceback."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{PROGRESS}%(message)s"))
    logger = logging.getLogger("shapley_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        return stage(*args, **kwargs)
    except UserError as error:
        sentence = error
    except Exception as error:
        explained = unwritable(error)
        if explained is None:
            raise
        sentence = explained
    finally:
        logger.removeHandler(handler)
    print(f"{ERROR}{' '.join(str(sentence).split())}", flush=True)
    sys.exit(2)
