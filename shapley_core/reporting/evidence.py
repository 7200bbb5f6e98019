"""The report of an evaluation: the paper's tables and figures beside ours, and which of its claims hold.

As one self-contained HTML page in the manner of the valuation's report, as Markdown for the documentation (its figures
are PNG files beside it), and the figures themselves.
"""

from shapley_core.evaluation.paper import CONTRADICTIONS
from shapley_core.evaluation.result import EvaluationResult
from shapley_core.reporting.evidence_content import evidence_content
from shapley_core.reporting.evidence_drawings import drawings
from shapley_core.reporting.figures import png, svg
from shapley_core.reporting.templates import markdown_environment, page_environment


def render_evidence(result: EvaluationResult) -> str:
    """The report as one self-contained HTML page."""
    page: str = (
        page_environment()
        .get_template("evidence.html.jinja")
        .render(
            content=evidence_content(result),
            contradictions=CONTRADICTIONS,
            figures={name: svg(name, draw) for name, draw in drawings(result).items()},
        )
    )
    return page


def evidence_markdown(result: EvaluationResult) -> str:
    """The same in GitHub's Markdown, which looks for its figures in the folder ``figures`` beside it."""
    text: str = (
        markdown_environment()
        .get_template("evidence.md.jinja")
        .render(content=evidence_content(result), contradictions=CONTRADICTIONS, figures=[*drawings(result)])
    )
    return text


def evidence_figures(result: EvaluationResult) -> dict[str, bytes]:
    """The figures as PNG files: name (``"lds"``, ``"budget"``, ...) to bytes."""
    return {name: png(draw) for name, draw in drawings(result).items()}
