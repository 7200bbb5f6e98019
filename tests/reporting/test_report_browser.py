"""The report in a real browser: no error, no request, no dialog, and readable on a phone."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shapley_core.payout import pay_out
from shapley_core.reporting.report import render_report

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        instance = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield instance
        instance.close()


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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report") / "report.html"


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_report_on_a_phone_and_a_desktop(browser, valuation, hostile, written, width):
    data = valuation((*hostile, "digit 0", "digit 1"), 64, failed=[(6, "<script>alert(3)</script>" * 9)])
    written.write_text(render_report(data), encoding="utf-8")
    page, events = show(browser, written, width)
    assert events == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    names = page.locator("tbody th.name bdi").all_inner_texts()
    assert "<script>alert(1)</script>" in names
    assert "{{7*7}}{% raw %}" in names
    drawn = page.locator("svg text").evaluate_all("all => all.map(text => text.textContent)")
    assert "$x^2$ and $\\frac{1}…" in drawn
    assert page.locator("script").count() == 0
    # Galleries stand beside one another, and on a phone go on beyond its edge: they can be scrolled to.
    tops = page.locator(".cards").first.locator(".card").evaluate_all("all => all.map(card => card.offsetTop)")
    assert len(tops) == 4
    assert len(set(tops)) == 1
    cards = page.locator(".cards").first
    assert cards.evaluate("box => { box.scrollLeft = 1e6; return box.scrollLeft > 0 }") == (width == 360)
    # The pictures are there, and so is what a table hides beyond its edge: it can be scrolled to.
    assert page.locator("img").evaluate_all("all => all.every(img => img.naturalWidth > 0)")
    table = page.locator(".tall")
    assert table.evaluate("box => { box.scrollLeft = 1e6; return box.scrollLeft + box.clientWidth == box.scrollWidth }")
    page.close()


def test_many_contributors_scroll_inside_their_table(browser, valuation, written):
    written.write_text(render_report(valuation([f"artist {i:03d}" for i in range(90)], 190)), encoding="utf-8")
    page, events = show(browser, written, 360)
    assert events == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    shown, whole = page.locator(".tall").evaluate("box => [box.clientHeight, box.scrollHeight]")
    assert whole > 3 * shown
    page.close()


def test_dark_scheme_and_letters_of_readable_size(browser, valuation, written):
    written.write_text(render_report(valuation()), encoding="utf-8")
    lightness = {}
    for scheme in ("light", "dark"):
        page, events = show(browser, written, 360, scheme)
        assert events == []
        body = page.evaluate("getComputedStyle(document.body).backgroundColor")
        label = page.locator("svg text").first.evaluate("text => getComputedStyle(text).fill")
        lightness[scheme] = [sum(map(int, colour[4:-1].split(","))) for colour in (body, label)]
        height = page.locator("svg text").first.evaluate("text => text.getBoundingClientRect().height")
        assert height > 8
        page.close()
    assert lightness["light"][0] > 600 > lightness["light"][1]
    assert lightness["dark"][0] < 150 < lightness["dark"][1]


@pytest.mark.parametrize("width", [360, 1280])
def test_payout_unions_and_an_early_stop(browser, valuation, hostile, written, width):
    data = valuation((*hostile, "digit 0", "digit 1"), 64)
    data = replace(
        data,
        payout=pay_out(data.attribution, 123_456_789),
        unions=dict.fromkeys(hostile, 1.0),
        notes=["Stopped after 48 of 110 coalitions: the rank stability is 0.93, and 0.90 is asked for."],
    )
    written.write_text(render_report(data), encoding="utf-8")
    page, events = show(browser, written, width)
    assert events == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_text("Stopped after 48 of 110 coalitions").count() == 1
    paid = page.locator("section[aria-labelledby=payout] tbody td:nth-child(2)").all_inner_texts()
    assert sum(int(text.replace(",", "").replace(".", "")) for text in paid) == 123_456_789
    unions = page.locator("section[aria-labelledby=unions] tbody bdi").all_inner_texts()
    assert "<script>alert(1)</script>" in unions
    page.close()
