"""The report of an evaluation: numbers in their cells beside the paper's, HTML and Markdown; figures; hostile text."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluations import evaluation, lds, whole_evaluation
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pages import Page
from PIL import Image

from shapley_core import formats
from shapley_core.evaluation import paper
from shapley_core.evaluation.claims import claims
from shapley_core.evaluation.labels import TABLE_1_LABELS, attribution_label
from shapley_core.evaluation.result import BY_FINETUNING, BY_RETRAINING, OURS, EvaluationResult
from shapley_core.reporting import evidence_drawings
from shapley_core.reporting.evidence import evidence_figures, evidence_markdown, render_evidence
from shapley_core.reporting.evidence_content import evidence_content
from shapley_core.reporting.figures import visible
from shapley_core.reporting.templates import markdown_text

DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def whole() -> EvaluationResult:
    return whole_evaluation(10, range(1, 10))


@pytest.fixture(scope="module")
def page(whole: EvaluationResult) -> str:
    """The whole evaluation in HTML."""
    return render_evidence(whole)


@pytest.fixture(scope="module")
def markdown(whole: EvaluationResult) -> str:
    """The whole evaluation in Markdown, as GitHub would show it, by another implementation."""
    return in_html(evidence_markdown(whole))


def plain(text: str) -> str:
    """With a hyphen and common spaces, which tests can be written in."""
    return " ".join(text.replace("\N{MINUS SIGN}", "-").split())


def tables(html: str) -> dict[str, list[list[str]]]:
    """Caption to the rows of each table, the heading included."""
    found = {}
    for table in re.findall(r"<table.*?</table>", html, re.S):
        page = Page(table)
        found[plain(page.texts["caption"][0])] = [[plain(cell) for cell in row] for row in page.rows]
    return found


def the_table(html: str, words: str) -> dict[str, list[str]]:
    """Name of a row to its other cells, of the one table whose caption begins with these words."""
    (found,) = [rows for caption, rows in tables(html).items() if caption.startswith(words)]
    return {row[0]: row[1:] for row in found}


def in_html(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def test_table_1_has_the_papers_rows_in_its_order_and_ours_beside_them():
    rows = lds({OURS: (0.8123, 0.7, 0.9), "trak": (-0.1234, -0.2, 0.05), BY_RETRAINING: (0.85, 0.8, 0.9)})
    rows[1] |= {"ahead_low": 0.61, "ahead_high": 0.99, "t_low": -0.456, "t_high": 0.321}
    result = evaluation(lds=rows, refused={"property_average": "there is no average of clusters"})
    html = render_evidence(result)
    table = the_table(html, "LDS, %; the paper")
    names = [name for name in table if name != "Method"]
    assert len(names) == 18
    assert [name.split("the paper")[0] for name in names] == [
        *TABLE_1_LABELS.values(),
        attribution_label(BY_RETRAINING),
    ]
    assert table["TRAK"] == [
        *("-12.3", "-20.0 to 5.0t: -45.6 to 32.1", "93.661.0 to 99.0"),
        *("7.94 ± 5.67", "3.22 ± 0.75", "-8.18 ± 1.30"),
    ]
    assert table["Sparsified-FT Shapley (ours)"][0] == "81.2"
    assert table["Sparsified-FT Shapley (ours)"][2] == "", "nobody is ahead of themselves"
    assert table["Sparsified-FT Shapley (ours)"][3:] == ["61.48 ± 2.27", "26.34 ± 3.42", "61.44 ± 2.04"]
    assert table["Retraining Shapley"][3:] == [DASH] * 3
    refused = "Property of images (average)the paper: Aesthetic score (average)"
    assert table[refused] == [DASH, DASH, DASH, DASH, DASH, "24.85 ± 2.30"]
    page = Page(html)
    assert "Property of images (average): there is no average of clusters" in page.texts["li"]
    # Ours stands out, and what the paper's tables do not have stands below a rule: in Tables 1 and 3.
    marked = re.findall(r'<tr class="(\w+)">\s*<th scope="row" class="name"><bdi>(.*?)</bdi>', html)
    assert marked[:4] == 2 * [("ours", "Sparsified-FT Shapley (ours)"), ("extra", "Retraining Shapley")]


def test_table_2_has_seconds_here_and_minutes_in_the_paper():
    columns = ("method", "n_coalitions", "training_seconds", "sampling_seconds", "times_cheaper")
    rows = [("retraining", 40, 100.0, 20.0, 1.0), ("gradient_ascent", 7, 0.5, 19.5, 6.0)]
    costs = [dict(zip(columns, row, strict=True)) for row in rows]
    table = the_table(render_evidence(evaluation(costs=costs)), "Time of a coalition")
    assert table["Retraining"][:5] == ["40", "1 min 40 s", "20.0 s", "2 min 0 s", "1.0 ×"]
    assert table["Retraining"][5:] == ["77.4 + 20.81.0 ×", "213.4 + 26.51.0 ×", "190.6 + 6.41.0 ×"]
    assert table["Sparsified FT"] == [*[DASH] * 5, "4.37 + 14.05.3 ×", "11.0 + 11.910.5 ×", "4.5 + 6.118.6 ×"]
    assert table["Gradient ascent (GA)"] == ["7", "0.50 s", "19.5 s", "20.0 s", "6.0 ×", DASH, DASH, DASH]
    assert [*table] == ["Removal method", "Retraining", "Fine-tuning (FT)", "Sparsified FT", "Gradient ascent (GA)"]


def test_table_3_has_a_column_for_each_share_and_says_who_was_held_out():
    rows = [*lds({"trak": (0.1, 0.0, 0.2)}, 0.3, 3, 60), *lds({"trak": (0.3, 0.2, 0.4)}, 0.5, 5, 90)]
    html = render_evidence(evaluation(lds=rows))
    table = the_table(html, "LDS, %, with 95 % intervals; the paper")
    assert table["Method"] == ["α = 0.3", "α = 0.5", "Paper: α = 0.25", "Paper: α = 0.5", "Paper: α = 0.75"]
    assert table["TRAK"] == ["10.00.0 to 20.0", "30.020.0 to 40.0", "3.62 ± 14.02", "7.94 ± 5.67", "6.59 ± 3.88"]
    said = " ".join(Page(html).texts["p"])
    assert "α = 0.3: 60 coalitions of 3 contributors; α = 0.5: 90 coalitions of 5 contributors" in said


def test_table_4_has_a_column_for_each_number_of_coalitions_and_the_budget_below():
    columns = ("method", "n_coalitions", "alpha", "lds", "low", "high", "cost")
    rows = [("retraining", 8, 0.5, 0.5, 0.4, 0.6, 8.0), ("sparsified_finetuning", 16, 0.5, 0.7, 0.6, 0.8, 2.5)]
    budget = [dict(zip(columns, row, strict=True)) for row in rows]
    html = render_evidence(evaluation(budget=budget))
    table = the_table(html, "LDS here")
    assert table["Method"] == ["8", "16"]
    assert table["Retrainingα = 0.5"] == ["50.040.0 to 60.0", DASH]
    assert table["Sparsified FTα = 0.5"] == [DASH, "70.060.0 to 80.0"]
    assert [table["Retrainingbudget"], table["Sparsified FTbudget"]] == [["8", DASH], [DASH, "2.5"]]
    theirs = the_table(html, "The paper’s on CIFAR-20")
    assert theirs["Sparsified FTα = 0.75"][0] == "-11.44 ± 2.26"


def test_table_9_and_fidelity():
    result = evaluation(
        fids=[{"method": "sparsified_finetuning", "n_coalitions": 10, "mean": 12.345, "std": 1.5}],
        fidelity=[
            {"method": "sparsified_finetuning", "size": -1, "n_coalitions": 40, "pearson": 0.912, "spearman": 0.834},
            {"method": "sparsified_finetuning", "size": 4, "n_coalitions": 12, "pearson": np.nan, "spearman": -0.25},
            {"method": "retraining", "size": -1, "n_coalitions": 50, "pearson": 0.99, "spearman": 0.98},
        ],
    )
    html = render_evidence(result)
    fids = the_table(html, "FID to retraining")
    assert fids["Sparsified FT"] == ["10", "12.3 (1.5)", "25.5 (10.5)"]
    assert fids["Sparsified GA"] == [DASH, DASH, "185.9 (45.7)"]
    assert the_table(html, "Over all coalitions") == {
        "Removal method": ["Coalitions", "Pearson", "Spearman"],
        "Retraining, another seed": ["50", "0.99", "0.98"],
        "Sparsified FT": ["40", "0.91", "0.83"],
    }
    by_size = the_table(html, "Spearman by size")
    assert [*by_size] == ["Size", "4"]
    assert by_size["4"] == [DASH, "-0.2512"]


def test_what_pairs_and_the_short_cut_itself_add_to_a_sum_of_contributors():
    alone = {"alpha": 0.5, "order": 1, "lds": 0.388, "low": 0.159, "high": 0.578}
    pairs = {"alpha": 0.5, "order": 2, "lds": 0.782, "low": 0.626, "high": 0.866}
    gain = {"gain": 0.394, "gain_low": 0.224, "gain_high": 0.557}
    scores = lds({OURS: (0.405, 0.169, 0.591)})
    itself = {"prediction": "v", "alpha": 0.5, "n_coalitions": 75, "lds": 0.873, "low": 0.784, "high": 0.913}
    nearest = {"prediction": "sum", "alpha": 0.5, "n_coalitions": 75, "lds": 0.832, "low": 0.75, "high": 0.88}
    html = render_evidence(evaluation(lds=scores, surrogates=[alone, pairs | gain], short_cut=[itself, nearest]))
    assert the_table(html, "LDS of sums, of pairs and of v(S)") == {
        "Prediction": ["\N{GREEK SMALL LETTER ALPHA} = 0.5"],
        "Sparsified-FT Shapley (ours)": ["40.516.9 to 59.1"],
        "A sum of contributorsregression on the same coalitions": ["38.815.9 to 57.8"],
        "Contributors and pairsregression on the same coalitions": ["78.262.6 to 86.6"],
        "Sparsified FT itselfv(S) of the held-out coalitions": ["87.378.4 to 91.3"],
        "The nearest sum of contributorsto v(S) of the held-out coalitions": ["83.275.0 to 88.0"],
        "What pairs addpoints": ["39.422.4 to 55.7"],
    }


def test_figure_3_has_the_papers_changes_beside_ours():
    change = {"action": "remove", "share": 0.4, "n": 6, "change": -0.1234, "low": -0.2, "high": -0.01}
    kept = {"action": "keep", "share": 0.6, "n": 7, "change": 0.05, "low": np.nan, "high": np.nan}
    html = render_evidence(evaluation(counterfactuals=[{"attribution": OURS, **row} for row in (change, kept)]))
    table = the_table(html, "Change of the property")
    assert table["Method"][:2] == ["Top 40 % removed", "Top 60 % kept alone"]
    ours = ["-12.3-20.0 to -1.0", "5.0", "-23.23 / 16.98", "-7.83 / 20.00", f"-1.86 / {DASH}"]
    assert table["Sparsified-FT Shapley (ours)"] == ours
    assert table["D-TRAK"] == [DASH, DASH, DASH, DASH, f"0.58 / {DASH}"]
    said = " ".join(Page(html).texts["p"])
    assert (
        "There are left 6 contributors with the top 40 % removed, 7 contributors with the top 60 % kept alone." in said
    )


@pytest.mark.parametrize(
    ("found", "title"),
    [
        ({OURS: (0.8, 0.7, 0.9), "trak": (0.5, 0.4, 0.6)}, "Sparsified-FT Shapley predicts best"),
        (
            {OURS: (0.8, 0.7, 0.9), "trak": (0.7, 0.6, 0.8)},
            "predicts best cannot be told; the best other is TRAK, 70.0 %",
        ),
        ({OURS: (0.5, 0.4, 0.6), "trak": (0.8, 0.7, 0.9)}, "does not predict best what retraining shows: TRAK, 80.0 %"),
        ({OURS: (0.8, 0.7, 0.9)}, "predicts what retraining shows with an LDS of 80.0 %"),
        ({"trak": (0.8, 0.7, 0.9)}, "was not measured"),
    ],
)
def test_title_and_first_paragraph_are_told_by_the_result(found, title):
    result = evaluation(lds=lds(found), ceiling=0.5 * 0.8)
    html, verdicts = render_evidence(result), [claim.verdict for claim in claims(result)]
    assert title in plain(Page(html).texts["h1"][0])
    lead = plain(re.search(r'<p class="lead">(.*?)</p>', html, re.S)[1])
    counts = [verdicts.count(verdict) for verdict in ("holds", "does not hold", "cannot be told")]
    assert [
        int(number) for number in re.findall(r"(\d+) holds? here, (\d+) do(?:es)? not, and (\d+)", lead)[0]
    ] == counts
    if OURS in found:
        value, low, high = found[OURS]
        score = f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {100 * value / 0.4:.1f} % of what"
        assert f"sparsified-FT Shapley has an LDS of {score}" in lead
    assert lead.count(". ") == 1, "two sentences"


def test_every_claim_stands_there_with_its_verdict(whole, page, markdown):
    found = claims(whole)
    verdicts = re.findall(r'<span class="verdict [a-z-]+">(.*?)</span>', page)
    assert verdicts == [claim.verdict for claim in found]
    assert {*verdicts} == {"holds", "does not hold", "cannot be told"}
    texts = Page(page).texts
    assert [plain(text) for text in texts["strong"]] == [plain(claim.sentence) for claim in found]
    assert {plain(claim.measured) for claim in found} <= {plain(text) for text in texts["p"]}
    rows = [[plain(cell) for cell in row] for row in Page(markdown).rows]
    for claim in found:
        assert [plain(f"{claim.sentence} ({claim.source})"), claim.verdict, plain(claim.measured)] in rows


def test_markdown_says_what_the_page_says(whole, page, markdown):
    theirs = [[plain(cell) for cell in row] for row in Page(markdown).rows]
    ours = [row for caption, rows in tables(page).items() if caption != "Evaluation" for row in rows]
    assert len(ours) > 100
    assert [row for row in ours if row not in theirs] == []
    there, here = Page(markdown).texts, Page(page).texts
    assert here["h2"] == there["h2"]
    assert plain(here["h1"][0]) == plain(there["h1"][0])
    remarks = [plain(text) for text in here["li"] if not text.startswith(("holds", "does not", "cannot"))]
    assert remarks == [plain(text) for text in there["li"]]
    facts = {row[0]: row[1] for row in theirs if len(row) == 2}
    assert facts["machine"] == "x86_64"
    assert facts["seconds of train"] == "1 min 1 s"


def test_needs_nothing_else(page):
    elements = Page(page).elements
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in elements)
    (policy,) = [a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert not [a for _, a in elements if "src" in a]
    assert {a["href"][0] for _, a in elements if "href" in a} <= {"#"}
    headings = {a["id"] for tag, a in elements if tag == "h2"}
    assert {a["aria-labelledby"] for tag, a in elements if tag == "section"} == headings


def test_hostile_text_stays_text(hostile):
    result = evaluation(
        lds=lds({OURS: (0.8, 0.7, 0.9), **dict.fromkeys(hostile, (0.1, 0.0, 0.2))}),
        costs=[
            {"method": name, "n_coalitions": 3, "training_seconds": 1.0, "sampling_seconds": 1.0} for name in hostile
        ],
        refused={name: f"because of {name}" for name in hostile},
        facts={name: name for name in hostile},
        notes=list(hostile),
    )
    html = render_evidence(result)
    page = Page(html)
    assert page.elements.count(("script", {})) == 0
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    for name in hostile:
        shown = plain(visible(name))
        assert shown in the_table(html, "LDS, %; the paper")
        assert shown in the_table(html, "Time of a coalition")
        assert f"{shown}: because of {shown}" in [plain(text) for text in page.texts["li"]]
        assert shown in [plain(text) for text in page.texts["li"]]
    shown = in_html(evidence_markdown(result))
    assert "<script" not in shown and "<img src=x" not in shown
    rows = {plain(row[0]): row for row in Page(shown).rows}
    for name in hostile:
        assert len(rows[plain(visible(name))]) in (2, 7, 8, 9), "no cell was broken"
        assert plain(f"{visible(name)}: because of {visible(name)}") in [plain(t) for t in Page(shown).texts["li"]]


@given(st.text())
@example("a | b\n| c |\\| `d` *e* _f_ [g](h) <i> &amp; ~~j~~ $k$ \\")
def test_any_text_is_one_cell_of_markdown(text):
    page = Page(in_html(f"| a | b |\n|---|---|\n| x{markdown_text(text)}x | y |\n"))
    assert [plain(cell) for cell in page.rows[1]] == [plain(f"x{' '.join(visible(text).split())}x"), "y"]


def test_an_evaluation_that_measured_nothing_is_reported_too():
    result = evaluation()
    html = render_evidence(result)
    assert "was not measured" in Page(html).words("h1")
    assert evidence_figures(result) == {}
    assert len(the_table(html, "LDS, %; the paper")) == 18
    for said in (
        "No coalition was retrained twice",
        "No coalition of the valuation was retrained",
        "Nobody was removed",
    ):
        assert said in html
    assert "Over all coalitions" not in html
    assert not re.search(r"\bnan\b", html + evidence_markdown(result), re.IGNORECASE)
    assert in_html(evidence_markdown(result)).count("<table>") == html.count("<table") + 2  # tiles, and claims


def test_a_result_read_back_says_the_same(whole, tmp_path):
    whole.save(tmp_path)
    assert evidence_content(EvaluationResult.load(tmp_path)) == evidence_content(whole)


def test_figures_are_drawn_with_the_pages_colours(whole, page):
    pictures = evidence_figures(whole)
    assert set(pictures) == {"lds", "budget", "fidelity", "counterfactuals"}
    assert set(pictures) == set(re.findall(r"\]\(figures/(\w+)\.png\)", evidence_markdown(whole)))
    for data in pictures.values():
        image = Image.open(io.BytesIO(data))
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 10  # something was drawn
    drawn = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(drawn) == len(pictures)
    for drawing in drawn:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) == set(), "a colour of the dark scheme would be missing"


def test_dots_stand_at_the_scores():
    rows = lds({OURS: (0.8, 0.7, 0.9), "trak": (-0.1, -0.3, 0.1), BY_FINETUNING: (0.5, 0.4, 0.6)})
    axes = evidence_drawings.drawings(evaluation(lds=rows, ceiling=0.85))["lds"]().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "TRAK",
        "Sparsified-FT Shapley (ours)",
        "FT Shapley",
    ]
    dots, diamonds = (points.get_offsets() for points in axes.collections[1:])
    np.testing.assert_allclose(dots, [[-10, 0], [80, 1], [50, 2]])
    np.testing.assert_allclose(diamonds, [[7.94, 0], [61.48, 1]])
    np.testing.assert_allclose(
        [line[:, 0] for line in axes.collections[0].get_segments()], [[-30, 10], [70, 90], [40, 60]]
    )
    assert [line.get_xdata()[0] for line in axes.lines] == [0, 85]


def test_budgets_are_drawn_at_the_share_of_table_1():
    row = {"method": "retraining", "n_coalitions": 8, "lds": 0.5, "low": 0.4, "high": 0.6, "cost": 8.0}
    rows = [{**row, "alpha": 0.5}, {**row, "alpha": 0.5, "cost": 4.0, "lds": 0.3}, {**row, "alpha": 0.25, "lds": 0.9}]
    axes = evidence_drawings.drawings(evaluation(budget=rows))["budget"]().axes[0]
    (line,) = [line for line in axes.lines if line.get_label() == "Retraining"]
    np.testing.assert_allclose(line.get_xydata(), [[4, 30], [8, 50]])


def test_bars_of_a_panel_for_each_counterfactual():
    rows = [
        {"attribution": name, "action": action, "share": share, "n": 6, "change": x, "low": x - wide, "high": x + wide}
        for name, wide in ((OURS, 0.02), ("trak", 3.0))
        for action, share, x in (("remove", 0.4, -0.2), ("keep", 0.6, 0.1))
    ]
    figure = evidence_drawings.drawings(evaluation(counterfactuals=rows))["counterfactuals"]()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["top 40 % removed", "top 60 % kept alone"]
    for axes, x in zip(figure.axes, (-20, 10), strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [x, x])
        # An interval of three sets, 600 points wide, does not squeeze the bars.
        low, high = axes.get_xlim()
        assert low < -20 and high > 10 and high - low < 90


def test_points_and_intervals_as_people_read_them():
    assert formats.points(0.6148) == "61.5"
    assert [formats.points(None), formats.points(np.nan), formats.points(-0.0001)] == [DASH, DASH, "0.0"]
    assert formats.between(-0.1, 0.25) == "\N{MINUS SIGN}10.0 to 25.0"
    assert formats.between(np.nan, 0.25) == DASH
    assert [plain(formats.times(5.31)), formats.times(np.nan)] == ["5.3 ×", DASH]


def test_what_contradicts_itself_in_the_paper_is_said(page, markdown):
    assert {*paper.CONTRADICTIONS} <= {*Page(page).texts["li"]}
    assert {*paper.CONTRADICTIONS} <= {*Page(markdown).texts["li"]}


def test_the_least_of_facts_suffices():
    bare = replace(evaluation(), facts={"alpha": 0.5})
    assert "Evaluation of a valuation</p>" in render_evidence(bare)
