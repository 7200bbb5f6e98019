"""What the report of an evaluation says, before it is HTML or Markdown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shapley_core.evaluation.claims import Claim, claims, highest_lds, lds_of
from shapley_core.evaluation.labels import OTHERS
from shapley_core.evaluation.result import OURS, EvaluationResult
from shapley_core.formats import between, duration, fact, percent, times
from shapley_core.reporting.evidence_sections import Section, sections
from shapley_core.reporting.figures import words


@dataclass(frozen=True)
class Content:
    """The report.

    Attributes:
        title: what was found, in a line.
        subject: the preset and the property, as far as the facts name them.
        lead: what was found, in two sentences.
        tiles: label to (number, what stands behind it in small letters).
        claims: the claims with their verdicts.
        sections: the tables and figures, in the paper's order of subjects.
        notes: what to know before relying on it.
        facts: what was judged, by how much, on which machine.
    """

    title: str
    subject: str
    lead: str
    tiles: dict[str, tuple[str, str]]
    claims: Sequence[Claim]
    sections: Sequence[Section]
    notes: Sequence[str]
    facts: dict[str, str]


def evidence_content(result: EvaluationResult) -> Content:
    """Everything that the report says."""
    found = claims(result)
    return Content(
        title=_title(result),
        subject=", ".join(words(str(result.facts[name])) for name in ("preset", "property") if name in result.facts),
        lead=f"{_scores(result)}. {_verdicts(found)}",
        tiles=_tiles(result, found),
        claims=found,
        sections=sections(result),
        notes=result.notes,
        facts={key: _fact(key, value) for key, value in result.facts.items()},
    )


def _title(result: EvaluationResult) -> str:
    alpha = float(result.facts["alpha"])
    ours, others = lds_of(result, alpha, [OURS]), lds_of(result, alpha, OTHERS)
    if not ours:
        return "The LDS of sparsified-FT Shapley was not measured"
    score = percent(ours[0].value)
    if not others:
        return f"Sparsified-FT Shapley predicts what retraining shows with an LDS of {score}"
    best = f"{others[0].label}, {percent(others[0].value)}"
    match highest_lds(result, alpha).verdict:
        case "holds":
            return f"Sparsified-FT Shapley predicts best what retraining shows: its LDS is {score}; next is {best}"
        case "does not hold":
            return f"Sparsified-FT Shapley, with an LDS of {score}, does not predict best what retraining shows: {best}"
    return (
        f"Whether sparsified-FT Shapley, with an LDS of {score}, predicts best cannot be told; the best other is {best}"
    )


def _scores(result: EvaluationResult) -> str:
    """The LDS of ours, of the ceiling, and of the best other method."""
    alpha = float(result.facts["alpha"])
    said = [f"At α = {alpha:g}, sparsified-FT Shapley has no LDS"]
    for estimate in lds_of(result, alpha, [OURS]):
        interval = between(estimate.low, estimate.high)
        said = [f"At α = {alpha:g}, sparsified-FT Shapley has an LDS of {percent(estimate.value)} ({interval})"]
        if result.ceiling > 0:
            said += [f"{percent(estimate.value / result.ceiling)} of what the noise of retraining allows"]
    others = lds_of(result, alpha, OTHERS)
    if others:
        said += [f"and the best of {len(others)} other methods is {others[0]}"]
    return ", ".join(said)


def _verdicts(found: Sequence[Claim]) -> str:
    count = Counter(claim.verdict for claim in found)
    return (
        f"Of {len(found)} claims, the paper’s and the targets of this project, {count['holds']} "
        f"{'holds' if count['holds'] == 1 else 'hold'} here, {count['does not hold']} "
        f"{'does' if count['does not hold'] == 1 else 'do'} not, and {count['cannot be told']} cannot be told."
    )


def _tiles(result: EvaluationResult, found: Sequence[Claim]) -> dict[str, tuple[str, str]]:
    alpha = float(result.facts["alpha"])
    tiles = {}
    for estimate in lds_of(result, alpha, [OURS]):
        tiles[f"LDS at α = {alpha:g}"] = percent(estimate.value), between(estimate.low, estimate.high)
    tiles["ceiling by the noise of retraining"] = percent(result.ceiling), ""
    for estimate in lds_of(result, alpha, OTHERS)[:1]:
        tiles["best other method"] = percent(estimate.value), estimate.label
    for cheaper in result.costs.loc[result.costs["method"] == "sparsified_finetuning", "times_cheaper"]:
        tiles["cheaper than retraining"] = times(cheaper), ""
    tiles["claims that hold"] = fact(sum(claim.verdict == "holds" for claim in found)), f"of {len(found)}"
    return tiles


def _fact(key: str, value: str | float | int) -> str:
    is_time = key.startswith("seconds") and not isinstance(value, str)
    return duration(float(value)) if is_time else fact(value)
