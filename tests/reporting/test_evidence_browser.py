"""The report of an evaluation in a real browser: no error, no request, readable on a phone."""

import pytest
from evaluations import whole_evaluation
from pages import show

from shapley_core.reporting.evidence import render_evidence


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An evaluation of many contributors, with a row for each size of a coalition."""
    path = tmp_path_factory.mktemp("evidence") / "evaluation.html"
    path.write_text(render_evidence(whole_evaluation(258, range(1, 258))), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_on_a_phone_and_a_desktop(browser, written, width, scheme):
    page, events = show(browser, written, width, scheme)
    assert events == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What a table hides beyond its edge can be scrolled to, and the names of the rows stay in sight.
    for table in page.locator(".scroll:has(.evidence)").all():
        assert table.evaluate(
            "box => { box.scrollLeft = 1e6; return box.scrollLeft + box.clientWidth == box.scrollWidth }"
        )
        name = table.locator("tbody th").first
        inside = name.evaluate(
            "th => th.getBoundingClientRect().left - th.closest('.scroll').getBoundingClientRect().left"
        )
        assert 0 <= inside < 5
    scrolled = page.locator(".evidence").first.evaluate("table => table.parentElement.scrollLeft > 0")
    assert scrolled == (width == 360)
    # The table of sizes scrolls within its box, the others stand there whole.
    hidden = page.locator(".scroll").evaluate_all("all => all.map(box => box.scrollHeight - box.clientHeight > 500)")
    assert hidden.count(True) == 1
    # Ours is told apart from the others, and letters in figures can be read.
    ours, other = (
        page.locator(f".evidence tbody tr{kind} td").first.evaluate("td => getComputedStyle(td).backgroundColor")
        for kind in (".ours", ":not(.ours)")
    )
    assert ours != other
    heights = page.locator("svg text").evaluate_all("all => all.map(text => text.getBoundingClientRect().height)")
    assert len(heights) > 50
    assert min(heights) > 8
    page.close()
