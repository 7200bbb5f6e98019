"""What is on a page of HTML: by a parser, and in a browser."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """What a browser would find in the page: elements with their attributes, and table rows as text."""

    void = ("meta", "img", "link", "br", "hr", "input")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.void:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every element is closed in its place"

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def words(self, tag: str) -> str:
        """The text of the first element of that name, its white space collapsed."""
        return " ".join(self.texts[tag][0].split())

    def values(self) -> dict[str, list[str]]:
        """The table of values: contributor to the cells of their row."""
        return {row[1]: row for row in self.rows if len(row) == 10 and row[0].isdigit()}


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace("%", "").replace("\N{NO-BREAK SPACE}", ""))


def show(browser: Any, path: Path, width: int, scheme: str = "light") -> tuple[Any, list[str]]:
    """The page in a window of that width, and everything that went on besides showing it."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    events: list[str] = []
    page.on("console", lambda message: events.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (events.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def request(request: Any) -> None:
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            events.append(f"request: {request.url}")

    page.on("request", request)
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page, events
