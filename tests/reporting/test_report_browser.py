"""The report in a real browser: no error, no request, no dialog, and readable on a phone."""

from dataclasses import replace
from pathlib import Path

import pytest
from pages import show

from shapley_core.payout import pay_out
from shapley_core.reporting.report import render_report


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
