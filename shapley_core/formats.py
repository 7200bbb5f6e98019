"""Numbers as people read them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

_DASH, _MINUS, _NBSP = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def number_format(numbers: np.ndarray, digits: int) -> Callable[..., str]:
    """A format for all of ``numbers``: ``digits`` significant ones of the largest, equal decimals for all.

    The function returned takes a number (or None, shown as a dash) and ``signed``, which puts a + before.
    """
    largest = float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
    decimals = min(8, max(0, digits - 1 - math.floor(math.log10(largest)))) if largest else digits

    def text(number: float | None, signed: bool = False) -> str:
        if number is None or not math.isfinite(number):
            return _DASH
        return f"{number:{'+' if signed else ''}z,.{decimals}f}".replace("-", _MINUS)

    return text


def money(cents: Any) -> str:
    """Cents as an amount with two decimals, 1,234.56; a dash where it is not known."""
    return _DASH if pd.isna(cents) else f"{int(cents) // 100:,}.{int(cents) % 100:02d}"


def points(share: float | None) -> str:
    """A share in hundredths with one decimal; a dash where there is none."""
    if share is None or not math.isfinite(share):
        return _DASH
    return f"{100 * share:z.1f}".replace("-", _MINUS)


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; a dash where there is none."""
    text = points(share)
    return text if text == _DASH else f"{text}{_NBSP}%"


def between(low: float, high: float, text: Callable[[float], str] = points) -> str:
    """An interval, ``57.9 to 64.8``; a dash where there is none."""
    return f"{text(low)} to {text(high)}" if math.isfinite(low) and math.isfinite(high) else _DASH


def times(factor: float) -> str:
    """A factor with one decimal, ``5.3 ×``; a dash where there is none."""
    return f"{factor:.1f}{_NBSP}×" if math.isfinite(factor) else _DASH


def duration(seconds: float) -> str:
    """Seconds in the units people use: ``0.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        text = f"{seconds:.1f} s"
    elif seconds < 3600:
        text = f"{int(seconds // 60)} min {int(seconds % 60)} s"
    else:
        text = f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return text.replace(" ", _NBSP)


def fact(value: str | float | int) -> str:
    """A run fact as text: counts with thousands separated, other numbers to six digits."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**12 else str(value)
    return f"{value:.6g}"
