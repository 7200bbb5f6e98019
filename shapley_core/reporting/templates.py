"""The environment that the templates of pages are rendered in.

Whatever comes from outside (contributors, settings, error messages) is escaped by Jinja, and characters that could hide
in it are made visible.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shapley_core.formats import duration, fact, money, percent
from shapley_core.reporting.figures import short, visible, words

_HERE = Path(__file__).parent


def page_environment() -> Environment:
    """An environment for HTML, with the formats of numbers and names as filters and the style sheet as ``css``."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, duration=duration, fact=fact, money=money, words=words, short=short, capital=_capital
    )
    environment.globals["css"] = Markup((_HERE / "report.css").read_text())
    return environment


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
