"""How often Python looks for garbage while a task starts.

A task is a process of its own that imports hundreds of thousands of objects first, none of which is ever garbage;
looking through them as often as Python does by itself takes a fifth of the time until it works.
"""

import gc

_USUAL = gc.get_threshold()
_RARELY = 100_000


def begins() -> None:
    """Look for garbage rarely: what follows are imports."""
    gc.set_threshold(_RARELY)


def is_over() -> None:
    """Look for garbage as usual: what follows makes tensors, and cycles must not hold on to them."""
    gc.set_threshold(*_USUAL)
