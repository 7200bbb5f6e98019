"""Errors that are meant for people: one sentence that says what was wrong, where, and what to do.

A :class:`UserError` is caused by what the user gave (a folder, a setting, an address) and is shown without a
traceback; the command line ends with exit code 2. Everything else is a bug and keeps its traceback.
"""

import difflib
import errno
from collections.abc import Iterable

#: What the operating system answers when the place a user named cannot be written to.
_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}


class UserError(Exception):
    """What the user gave cannot work; the message is a sentence for them."""


def unwritable(error: OSError) -> UserError | None:
    """The sentence for a full disk or a place that may not be written to; None for any other error."""
    reason = _UNWRITABLE.get(error.errno or 0)
    if reason is None:
        return None
    where = f" at {error.filename}" if error.filename else ""
    return UserError(
        f"cannot write{where}: {reason}. Free some space or choose another place with --out and run the same "
        "command again: what was already measured is kept."
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known name, or all of them where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"choose one of: {', '.join(known)}."
