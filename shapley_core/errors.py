"""Errors that are meant for people: one sentence that says what was wrong, where, and what to do.

A :class:`UserError` is caused by what the user gave (a folder, a setting, an address) and is shown without a
traceback; the command line ends with exit code 2. Everything else is a bug and keeps its traceback.
"""

import difflib
import errno
import re
from collections.abc import Iterable

#: What the operating system answers when the place a user named cannot be written to.
_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the file system or a limit of this user (ulimit -f) allows",
    errno.EIO: "the disk or the network drive fails",
    errno.ESTALE: "the network drive is gone",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}


class UserError(Exception):
    """What the user gave cannot work; the message is a sentence for them."""


def unwritable(error: Exception) -> UserError | None:
    """The sentence for a full disk or a place that cannot be written to; None for any other error."""
    reason = _UNWRITABLE.get(_error_number(error))
    if reason is None:
        return None
    place = getattr(error, "filename", None)
    where = f" at {place}" if place else ""
    return UserError(
        f"cannot write{where}: {reason}. Mend that or choose another place with --out, and run the same command "
        "again: what was already measured is kept."
    )


def _error_number(error: Exception) -> int:
    """What the operating system answered; some libraries pass it on in words only. 0 where it was not asked."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if named := re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error)):  # safetensors; shutil.copytree
        return int(named[1] or named[2])
    if re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # numpy
        return errno.ENOSPC
    return 0


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known name, or all of them where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"choose one of: {', '.join(known)}."
