"""The environments that templates are rendered in: pages in HTML, and Markdown.

Whatever comes from outside (contributors, settings, error messages) is escaped, and characters that could hide in it
are made visible.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shapley_core.formats import duration, fact, money, percent
from shapley_core.reporting.figures import short, visible, words

_HERE = Path(__file__).parent
#: What GitHub's Markdown, or HTML within it, could take for more than a character.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def page_environment() -> Environment:
    """An environment for HTML, with the formats of numbers and names as filters and the style sheet as ``css``."""
    environment = _environment(lambda value: visible(value) if type(value) is str else value)
    environment.filters.update(
        percent=percent, duration=duration, fact=fact, money=money, words=words, short=short, capital=_capital
    )
    environment.globals["css"] = Markup((_HERE / "report.css").read_text())
    return environment


def markdown_environment() -> Environment:
    """An environment for Markdown, in which text stays within its line and its cell."""
    return _environment(lambda value: markdown_text(value) if type(value) is str else value)


def markdown_text(text: str) -> Markup:
    """``text`` on one line, with nothing in it that Markdown or HTML would take for more than a character."""
    return Markup(_SPECIAL.sub(r"\\\1", " ".join(visible(text).split())))


def _environment(finalize: Callable[[Any], Any]) -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
