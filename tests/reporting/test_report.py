"""The report as HTML: what it says, that it needs nothing else, and that no name gets out of its place."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pages import Page, number
from PIL import Image

from shapley_core import formats
from shapley_core.reporting import portraits, report
from shapley_core.reporting.figures import visible
from shapley_core.reporting.report import licence_address, render_report


def test_says_who_is_worth_how_much(valuation):
    data = valuation()
    page = Page(render_report(data))
    attribution = data.attribution
    assert page.words("h1").startswith("digit 5 is worth the most: ")
    share = 100 * attribution.values[5] / (attribution.full_value - attribution.null_value)
    assert number(re.search(r"[\d.]+.%", page.words("h1"))[0]) == pytest.approx(share, abs=0.05)
    lead = next(text for text in page.texts["p"] if "Shapley value shares out" in text)
    assert "from 1.250 without any contributor to 3.350 with all 6" in lead  # 1.25 + (1 + 2 + ... + 6) / 10
    assert "+2.100" in lead

    rows = page.values()
    assert [row[0] for row in rows.values()] == ["1", "2", "3", "4", "5", "6"]
    for name, value, low, high, error, rank in zip(
        attribution.contributors,
        attribution.values,
        attribution.ci_low,
        attribution.ci_high,
        attribution.std_errors,
        attribution.ranks,
        strict=True,
    ):
        shown = rows[name]
        assert int(shown[0]) == rank
        assert number(shown[2]) == pytest.approx(value, abs=5e-4)
        assert [number(bound) for bound in shown[3].split(" to ")] == pytest.approx([low, high], abs=5e-4)
        assert number(shown[5]) == pytest.approx(error, abs=5e-4)
    total = next(row for row in page.rows if row[0].startswith("Sum"))
    assert number(total[1]) == pytest.approx(2.1, abs=5e-4)


def test_needs_nothing_else_and_runs_nothing(valuation, hostile):
    page = Page(render_report(valuation((*hostile, "digit 0", "digit 1"), 64)))
    tags = [tag for tag, _ in page.elements]
    assert not set(tags) & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes or re.match("data:image/(png|webp);base64,", attributes["src"])
        assert not attributes.get("href")
        assert attributes.get("xlink:href", "#").startswith("#")
        if tag == "img":  # thumbnails are named together, by what holds them
            assert bool(attributes["alt"]) == attributes["src"].startswith("data:image/png")
        if attributes.get("role") in ("img", "region"):
            assert attributes["aria-label"]
    html = re.sub(r'xmlns(:xlink)?="[^"]*"', "", render_report(valuation()))
    assert re.findall(r"\S*://\S*", html) == ["(https://creativecommons.org/licenses/by-sa/4.0/)."]  # text, no link
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) == {"#"}  # clip paths
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert dict(page.elements)["html"] == {"lang": "en"}


def test_hostile_names_stand_in_the_table_as_they_are(valuation, hostile):
    names = (*hostile, "digit 0", "digit 1")
    page = Page(render_report(valuation(names, 64)))
    shown = page.values()
    assert set(shown) == {visible(name) for name in names}
    assert "<script>alert(1)</script>" in shown
    assert "{{7*7}}{% raw %}" in shown
    assert "a" * 300 in shown
    assert "bell\ufffd null\ufffd escape\ufffd[31m" in shown
    assert "photo\ufffdgnp.exe" in shown
    assert "&lt;b&gt; &amp; 'quotes'" in shown


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1))
@example(name="</script><script>alert(1)</script>")
@example(name=" \t ")
def test_any_text_can_be_a_contributor_and_a_reason(valuation, name):
    data = valuation(("anna", "bert", name + "!"), 6, design="exhaustive", estimator="exact")
    utilities = data.utilities.copy()
    utilities.loc[3, "status"] = name + "?"
    page = Page(render_report(replace(data, utilities=utilities, curves={})))
    assert visible(name + "!") in page.values()
    assert visible(name + "?") in [row[0] for row in page.rows]


@given(st.text(st.characters()))  # all of Unicode, surrogates too
def test_visible_hides_nothing_and_changes_nothing_else(text):
    shown = visible(text)
    assert len(shown) == len(text)
    assert visible(shown) == shown
    shown.encode()
    assert not set(shown) & set(map(chr, [*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F)]))
    assert all(a == b for a, b in zip(text, shown, strict=True) if a.isalnum() or a in " \n<>&$")


def test_first_place_is_called_open_where_intervals_overlap(valuation):
    data = valuation()
    attribution = data.attribution

    def lead(low: list[float], high: list[float]) -> str:
        bounds = {"ci_low": np.array(low), "ci_high": np.array(high)}
        html = render_report(replace(data, attribution=replace(attribution, **bounds)))
        page = Page(html)
        return page.words("h1") + " | " + " ".join(" ".join(page.texts["p"]).split())

    apart = lead([0, 0, 0, 0, 0, 0.55], [0.5, 0.5, 0.5, 0.5, 0.5, 0.7])
    assert "is worth the most" in apart
    assert "% interval reaches that far" in apart
    one = lead([0, 0, 0, 0, 0, 0.55], [0.5, 0.5, 0.5, 0.5, 0.56, 0.7])
    assert "interval of 1 other overlaps with theirs" in one
    everybody = lead([0, 0, 0, 0, 0, 0.05], [0.5, 0.5, 0.5, 0.5, 0.5, 0.7])
    assert "No contributor stands out; digit 5 is estimated highest" in everybody
    assert "intervals of 5 others overlap" in everybody
    unknown = lead([np.nan] * 6, [np.nan] * 6)
    assert "overlap" not in unknown and "reaches that far" not in unknown


def test_a_property_that_falls_or_stays_is_told_as_such(valuation):
    data = valuation()

    def page(full_value: float, values: list[float]) -> Page:
        numbers = np.array(values)
        attribution = replace(
            data.attribution,
            full_value=full_value,
            values=numbers,
            ci_low=numbers - 0.01,
            ci_high=numbers + 0.01,
        )
        return Page(render_report(replace(data, attribution=attribution)))

    falling = page(1.0, [0.1, -0.1, -0.1, -0.1, -0.05, 0.0])
    assert falling.words("h1") == "digit 0 is worth the most; together the contributors lower the inception score"
    explained = "the values share out a loss and sum to a negative number"
    assert explained in falling.words("header")
    assert explained not in page(1.26, [0.06, -0.1, -0.1, 0.05, 0.05, 0.05]).words("header")
    level = page(1.25, [0.5, -0.1, -0.1, -0.1, -0.1, -0.1])
    assert explained not in level.words("header")
    assert level.words("h1").endswith("together the contributors leave the inception score as it was")
    assert {row[4] for row in level.values().values()} == {"\N{EN DASH}"}


def test_says_what_share_of_the_time_was_work(valuation):
    page = Page(render_report(valuation()))
    assert "80.0\N{NO-BREAK SPACE}%" in " ".join(page.texts["strong"])  # (60 + 20) / 100
    rows = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in page.rows]
    assert ["starting", "10.0 s", "10.0 %"] in rows
    assert ["finetune subset", "1 min 30 s", "75.0 %"] in rows
    assert ["All", "2 min 0 s", ""] in rows
    assert ["all", "2.2 s"] in rows  # 1.5 + 0.5 + 0.25 seconds for one coalition
    widths = [
        float(a["style"].removeprefix("flex-grow: ")) for _, a in page.elements if "flex-grow" in a.get("style", "")
    ]
    assert widths == pytest.approx([0.6, 0.2, 0.05, 0.05, 0.1])


def test_lists_coalitions_that_failed(valuation):
    data = valuation(failed=[(4, "the loss became <i>NaN</i>"), (7, "out of memory")])
    page = Page(render_report(data))
    failed = {row[1]: row[0] for row in page.rows if len(row) == 3 and len(row[1]) == 32}
    assert failed == {
        data.utilities["key"][4]: "the loss became <i>NaN</i>",
        data.utilities["key"][7]: "out of memory",
    }
    assert "2 coalitions were not measured" in " ".join(page.texts["p"])
    assert "Coalitions that failed" not in render_report(valuation())


def test_a_long_list_of_failures_is_cut(valuation):
    data = valuation(n_coalitions=60, failed=[(row, f"reason {row}") for row in range(10, 35)])
    page = Page(render_report(data))
    assert sum(len(row) == 3 and len(row[1]) == 32 for row in page.rows) == report.MAX_FAILURES
    assert "25 coalitions were not measured" in " ".join(page.texts["p"])


def test_warnings_of_the_run_and_of_the_estimate_stand_on_top(valuation):
    data = valuation()
    warned = replace(data.attribution, diagnostics={"rank": 5, "warnings": ["Measure more.", "One image was skipped."]})
    items = Page(render_report(replace(data, attribution=warned))).texts["li"]
    assert items[:2] == ["One image was skipped.", "Measure more."]


def test_says_so_where_intervals_are_not_centred_on_the_values(valuation):
    data = valuation()
    for centre, said in ((None, False), (data.attribution.values + 1, True)):
        texts = Page(render_report(replace(data, attribution=replace(data.attribution, centre=centre)))).texts
        assert any("the dots, which lines are centred on" in text for text in texts["figcaption"]) is said
        assert any("need not be in the middle of its interval" in text for text in texts["li"]) is said


def test_all_of_many_contributors_are_in_the_table(valuation):
    names = [f"artist {i:03d}" for i in range(90)]
    page = Page(render_report(valuation(names, 190)))
    assert set(page.values()) == set(names)
    assert "Only the 20 largest and the 20 smallest are drawn" in " ".join(page.texts["figcaption"])


def pictured(page: Page) -> dict[str, list[list[int]]]:
    """The pictures named by each label, as their (constant) colours."""
    found: dict[str, list[list[int]]] = {}
    for tag, attributes in page.elements:
        if attributes.get("class", "").startswith("images"):
            found[label := attributes["aria-label"]] = []
        elif tag == "img" and attributes["src"].startswith("data:image/webp"):
            picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
            found[label].append([channel[0] for channel in picture.getextrema()])
    return found


def test_everybody_s_own_images_stand_beside_the_value(valuation):
    data = valuation([f"painter {i}" for i in range(9)], 40)
    images = pictured(Page(render_report(data)))
    for i, name in enumerate(sorted(data.attribution.contributors)):
        in_row = min(i + 1, portraits.ROW_IMAGES)
        assert images[f"{in_row} of {i + 1} images by {name}"] == [[i, j, 128] for j in range(in_row)]
    # The three first have a gallery, with all of the images that were kept.
    assert images["9 of 9 images by painter 8"] == [[8, j, 128] for j in range(9)]
    assert "6 of 6 images by painter 5" in images  # a row holds as many


def test_galleries_of_both_ends_tell_value_interval_and_facts(valuation):
    data = valuation([f"painter {i}" for i in range(9)], 40)
    page = Page(render_report(data))
    ranking = [name for _, name in sorted(zip(data.attribution.ranks, data.attribution.contributors, strict=True))]
    assert page.texts["h4"] == ranking[:3] + ranking[-3:]
    first = " ".join(page.texts["article"][0].split())
    row = page.values()[ranking[0]]
    assert first.startswith(f"{ranking[0]} +{row[2]} {row[3]}")
    assert "Number of images 9 Mean score 4.00" in first
    assert "Images in main cluster 11.1 % Minority cluster yes" in first
    assert row[6:] == ["9", "4.00", "11.1\N{NO-BREAK SPACE}%", "yes"]
    two = Page(render_report(valuation(("anna", "bert"), 2, design="exhaustive", estimator="exact")))
    assert sorted(two.texts["h4"]) == ["anna", "bert"]


def test_images_of_the_ends_alone_keep_the_page_small(valuation):
    many = valuation([f"artist {i:04d}" for i in range(100)], 220)
    page = Page(render_report(many))
    rows = [label for label in pictured(page) if label.startswith("6 of ") or int(label.split()[0]) < 6]
    ranking = [name for _, name in sorted(zip(many.attribution.ranks, many.attribution.contributors, strict=True))]
    shown = {label.partition(" by ")[2] for label in rows}
    assert shown == {*ranking[: portraits.PICTURED_PER_END], *ranking[-portraits.PICTURED_PER_END :]}
    assert "The images of the 30 first and the 30 last are shown" in " ".join(page.texts["p"])
    assert "are shown; more would make" not in render_report(valuation([f"artist {i}" for i in range(60)], 150))


def test_who_the_top_contributors_are(valuation):
    data = valuation([f"painter {i:02d}" for i in range(20)], 60)
    page = Page(render_report(data))
    text = " ".join(next(text for text in page.texts["p"] if "(the top 20 %)" in text).split())
    first = "painter 19, painter 18, painter 17 and painter 16 have the 4 largest of 20 values (the top 20 %)."
    assert text.startswith(first)
    assert "mean score, 8.75 against 3.75" in text  # painter i has i / 2: 8 to 9.5, and 0 to 7.5
    assert "Nothing can be said of the rest" in text
    means = {row[0]: row[1:3] for row in page.rows if len(row) == 4}
    assert means["Minority cluster"] == ["50.0\N{NO-BREAK SPACE}%", "50.0\N{NO-BREAK SPACE}%"]

    unknown = np.full(20, np.nan)
    blind = replace(data.attribution, covariance=None, ci_low=unknown, ci_high=unknown)
    assert "so who is on top is not certain" in render_report(replace(data, attribution=blind))
    vague = replace(data.attribution, covariance=1e6 * np.eye(20))
    assert "Nothing can be said about what sets them apart" in render_report(replace(data, attribution=vague))


def test_names_the_source_of_the_images_and_its_licence(valuation):
    data = valuation()
    source = Page(render_report(data)).texts["p"]
    text = " ".join(next(text for text in source if text.startswith("Images:")).split())
    assert text.startswith(
        "Images: a museum. Licence: CC BY-SA 4.0; by <i>everybody</i> (https://creativecommons.org/licenses/by-sa/4.0/)."
    )
    assert "cropped to a square and reduced in size" in text  # the licence asks to say what was changed
    assert "Images:" not in " ".join(Page(render_report(replace(data, source={}))).texts["p"])


@pytest.mark.parametrize(
    ("licence", "address"),
    [
        ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("cc-by-nc-sa-3.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/"),
        ("CC BY-ND 2.5, by somebody", "https://creativecommons.org/licenses/by-nd/2.5/"),
        ("not CC BY 4.0", ""),
        ("CC0 1.0", ""),
        ("CelebA agreement: non-commercial research and education only", ""),
        ("", ""),
    ],
)
def test_addresses_of_licences(licence, address):
    assert licence_address(licence) == address


def test_tells_how_many_coalitions_were_planned(valuation):
    tiles = Page(render_report(replace(valuation(), n_planned=1234))).texts["dd"]
    assert "24 of 1,234" in tiles


def test_exact_values_and_a_bare_run_are_reported_too(valuation):
    data = valuation(("anna", "bert"), 2, design="exhaustive", estimator="exact")
    bare = replace(data, grids={}, curves={}, facts={}, stage_seconds={}, time_split={}, notes=[], config_yaml="")
    page = Page(render_report(bare))
    assert set(page.values()) == {"anna", "bert"}
    assert not [tag for tag, attributes in page.elements if tag == "img" and "webp" not in attributes["src"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text.replace(" ", "\N{NO-BREAK SPACE}")


def test_numbers_share_their_decimals():
    tenths = formats.number_format(np.array([12.345, -0.001]), digits=3)
    assert [tenths(12.345), tenths(-0.26), tenths(3.0, signed=True)] == ["12.3", "\N{MINUS SIGN}0.3", "+3.0"]
    assert formats.number_format(np.array([0.0]), digits=3)(0.0) == "0.000"
    assert formats.number_format(np.array([np.nan, 1234567.0]), digits=3)(1234567.0) == "1,234,567"
    assert formats.number_format(np.array([1.0]), digits=3)(None) == "\N{EN DASH}"
    assert formats.percent(float("nan")) == "\N{EN DASH}"
    assert [formats.percent(-1e-9), tenths(-1e-9)] == ["0.0\N{NO-BREAK SPACE}%", "0.0"]  # no zero is negative
    assert [formats.fact(value) for value in (1797, 0.123456789, "0012", True)] == [
        "1,797",
        "0.123457",
        "0012",
        "True",
    ]


def luminance(colour: str) -> float:
    """Relative luminance of a colour (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_text_stands_out_in_both_colour_schemes(valuation):
    css = Page(render_report(valuation())).texts["style"][0]
    schemes = re.findall(r":root \{(.*?)\n *\}", css, re.S)[:2]
    for scheme in schemes:
        colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", scheme))
        for text in ("--ink", "--muted", "--accent", "--second"):
            for ground in ("--paper", "--card", "--note"):
                dark, light = sorted([luminance(colours[text]), luminance(colours[ground])])
                # 4.5:1 for text, 3:1 for lines and bars (WCAG 2.2, 1.4.3 and 1.4.11)
                assert (light + 0.05) / (dark + 0.05) >= (4.5 if text in ("--ink", "--muted") else 3), (
                    text,
                    ground,
                )
