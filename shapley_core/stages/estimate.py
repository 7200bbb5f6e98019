"""estimate: solves for the values, and writes everything a valuation leaves: values, utilities, report, MLflow run.

Needs the light half only: no torch.
"""

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.estimators import Attribution, get_estimator
from shapley_core.estimators.convergence import convergence
from shapley_core.estimators.default import chosen_estimator
from shapley_core.games.measured import MeasuredGame, measured_game
from shapley_core.games.plan import Plan
from shapley_core.games.utilities import merge_utilities, read_utilities, write_utilities
from shapley_core.history import PastValuation, compare, earlier, remember, series_of
from shapley_core.mlflow_view import view_labels
from shapley_core.payout import Payout, pay_out
from shapley_core.reporting.figures import figures
from shapley_core.reporting.report import ReportData, render_report
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog, library_versions, stage_seconds, time_split
from shapley_core.stages.game_files import (
    log_folder,
    read_contributors,
    read_game_id,
    read_grids,
    sample_key,
    utility_file,
)
from shapley_core.stages.stopping import first_measured
from shapley_core.storage import open_store
from shapley_core.tracking import (
    Tracked,
    coalition_curves,
    cost_metrics,
    history_curves,
    log_run,
    value_metrics,
    value_tags,
)

logger = logging.getLogger(__name__)

#: Members named in the title of a coalition's sample grid; the rest are counted.
_NAMED_MEMBERS = 4
#: Facts of a task that are none of the run's.
_OF_A_TASK = ("reused", "fine_tuned")


def estimate(
    config: Path,
    plan: Path,
    reference: Path,
    logs: Sequence[Path],
    utilities: Sequence[Path],
    store: str,
    tracking_uri: str,
    *,
    results: Path,
) -> dict[str, float]:
    """Solve for the values and write the folder ``results``; its files are an interface (see docs/results.md).

    Args:
        config: the resolved configuration.
        plan: the coalitions that were to be measured.
        reference: the game's reference.
        logs: stage logs of the tasks before the loop.
        utilities: one folder per shard, with its utility table and the logs of its tasks.
        store: where the coalitions' sample grids are kept.
        tracking_uri: MLflow, unless MLFLOW_TRACKING_URI says otherwise.
        results: output folder.

    Raises:
        UserError: null, full or too many other coalitions could not be measured.
    """
    record = StageLog("estimate")
    settings = ValuationConfig.load(config)
    drawn = Plan.load(plan)
    records = [StageLog.load(path) for path in logs]
    records += [StageLog.load(path) for shard in utilities for path in sorted(log_folder(shard).glob("*.json"))]
    stopped = next((str(log.facts["stopped"]) for log in records if "stopped" in log.facts), "")
    with record.phase("solving"):
        table = merge_utilities(read_utilities(utility_file(shard)) for shard in utilities)
        begun = first_measured(drawn, table, settings) if stopped else drawn
        game = measured_game(begun, table, settings.property.name, settings.game.min_measured)
        estimator = get_estimator(chosen_estimator(settings.game.estimator, game))
        attribution = estimator(
            game,
            confidence=settings.game.confidence,
            seed=derive_seed(settings.seed, "estimator"),
        )
        curve = convergence(game, estimator)
        payout, refusal = _payout(settings, attribution)
        n_drawn = int((drawn.table["kind"] == "sampled").sum())
        if stopped and begun is not drawn:
            attribution.diagnostics["stopped"] = f"Stopped after {game.n_planned} of {n_drawn} coalitions: {stopped}."

    root = open_store(store)
    now = _record(settings, attribution, drawn, records, reference)
    past = earlier(root, now)
    since = compare(past.shown[-1], now, **_effort(records, table, game)) if past.shown else None
    for warning in since.warnings() if since else []:
        logger.warning("%s", warning)
        attribution.diagnostics["warnings"].append(warning)

    record.finished = time.time()
    records.append(record)
    seconds = stage_seconds(records)
    facts = _facts(settings, records, reference)
    report = ReportData(
        attribution=attribution,
        contributors=read_contributors(reference),
        game=game,
        n_planned=n_drawn,
        utilities=table[table["property"] == settings.property.name],
        convergence=curve,
        grids=read_grids(reference) | _extreme_grids(drawn, game, table, reference, store),
        curves={name: points for log in records for name, points in log.curves.items()},
        source={name: str(facts[name]) for name in ("origin", "licence") if name in facts},
        facts=facts,
        stage_seconds=seconds,
        time_split=time_split(records, min(log.started for log in records), record.finished),
        config_yaml=config.read_text(),
        notes=[
            *([attribution.diagnostics["stopped"]] if "stopped" in attribution.diagnostics else []),
            *attribution.diagnostics.get("warnings", []),
            *(payout.warnings if payout else refusal),
        ],
        payout=payout,
        unions=_of_unions(settings, attribution),
        since=since,
    )
    _write_results(results, report, table, config)
    remember(root, now)
    _track(settings, report, history_curves(past, now), now.series, tracking_uri, results).tell(results)
    return value_metrics(attribution.to_dict())


def _record(
    settings: ValuationConfig, attribution: Attribution, drawn: Plan, logs: Sequence[StageLog], reference: Path
) -> PastValuation:
    """What the next valuation of the series will be compared with."""
    return PastValuation.of(
        attribution,
        dict(zip(drawn.contributors, drawn.fingerprints, strict=True)),
        series_of(settings, attribution.estimator),
        read_game_id(reference),
        next(str(log.facts["dataset"]) for log in logs if "dataset" in log.facts),
    )


def _effort(logs: Sequence[StageLog], table: pd.DataFrame, game: MeasuredGame) -> dict[str, int]:
    """How many coalitions this run measured, and of how many the utility was known."""
    status = table.loc[table["property"] == game.property, "status"]
    measured = sum(int(log.facts.get("fine_tuned", 0)) for log in logs) - int((status != "ok").sum())
    return {"measured": max(measured, 0), "reused": int((status == "ok").sum()) - max(measured, 0)}


def _of_unions(settings: ValuationConfig, attribution: Attribution) -> dict[str, float]:
    """What the members of each union are worth together, the largest first; empty where there are no unions."""
    sums: dict[str, float] = {}
    for contributor, union in (settings.game.unions or {}).items():
        value = attribution.values[attribution.contributors.index(contributor)]
        sums[union] = sums.get(union, 0.0) + float(value)
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _payout(settings: ValuationConfig, attribution: Attribution) -> tuple[Payout | None, list[str]]:
    """The payout, where one is asked for; or why there is none."""
    if settings.payout.pool is None:
        return None, []
    seed = derive_seed(settings.seed, "payout")
    try:
        return pay_out(attribution, settings.payout.pool, negative=settings.payout.negative, seed=seed), []
    except UserError as error:  # the values stand all the same
        sentence = f"{str(error)[0].upper()}{str(error)[1:]}."
        logger.warning("%s", sentence)
        return None, [sentence]


def _extreme_grids(
    plan: Plan, game: MeasuredGame, table: pd.DataFrame, reference: Path, store: str
) -> dict[str, bytes]:
    """Sample grids of everybody's coalition, and of the best and the worst of the others."""
    root = open_store(store)
    ok = table[(table["status"] == "ok") & (table["property"] == game.property)].set_index("key")["value"]
    rows = plan.table[plan.table["key"].isin(ok.index)]
    sampled = rows[rows["kind"] == "sampled"]
    sampled = sampled.assign(value=sampled["key"].map(ok)).sort_values("value", kind="stable")
    chosen = {"Full coalition": rows[rows["kind"] == "full"].iloc[0]}
    if len(sampled):
        chosen |= {"Best coalition": sampled.iloc[-1], "Worst coalition": sampled.iloc[0]}
    grids = {}
    for title, row in chosen.items():
        png = root.read(sample_key(reference, row["key"]))
        if png is not None:
            grids[f"{title}{_members(plan, row)}: {ok[row['key']]:.3f}"] = png
    return grids


def _members(plan: Plan, row: pd.Series) -> str:
    if row["kind"] == "full":
        return ""
    names = [plan.contributors[i] for i in row["members"][:_NAMED_MEMBERS]]
    more = len(row["members"]) - len(names)
    return f" ({', '.join(names)}{f' and {more} more' if more else ''})"


def _facts(settings: ValuationConfig, logs: Sequence[StageLog], reference: Path) -> dict[str, str | float | int]:
    facts: dict[str, str | float | int] = {
        "preset": settings.preset,
        "property": settings.property.name,
        "seed": str(settings.seed),
        "game id": read_game_id(reference),
    }
    for log in logs:
        facts |= {name.replace("_", " "): value for name, value in log.facts.items() if name not in _OF_A_TASK}
    facts |= {"machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {platform.system()}"}
    # This task's image has no torch; those that trained and sampled tell theirs.
    return facts | library_versions(logs)


def _write_results(results: Path, report: ReportData, utilities: pd.DataFrame, config: Path) -> None:
    results.mkdir(parents=True, exist_ok=True)
    values = report.attribution.to_dict() | {
        "seconds": dict(report.stage_seconds),
        "game_id": report.facts["game id"],
        "dataset": report.facts["dataset"],
        "parameters": {"full": report.facts["parameters before"], "pruned": report.facts["parameters after"]},
    }
    if report.since:
        values["since_last_time"] = report.since.to_dict()
    if report.unions:
        values["unions"] = [{"union": union, "value": value} for union, value in report.unions.items()]
    (results / "values.json").write_text(
        json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
    )
    report.attribution.to_frame().to_parquet(results / "values.parquet", index=False)
    report.contributors.facts.to_parquet(results / "contributors.parquet", index=False)
    write_utilities(utilities, results / "utilities.parquet")
    (results / "report.html").write_text(render_report(report), "utf-8")
    if report.payout:
        report.payout.to_frame().to_csv(results / "payout.csv", index=False)
    shutil.copyfile(config, results / "config.yaml")


def _track(
    settings: ValuationConfig,
    report: ReportData,
    history: Mapping[str, Mapping[str, list[float]]],
    series: str,
    tracking_uri: str,
    results: Path,
) -> Tracked:
    pictures = results / "figures"
    pictures.mkdir(exist_ok=True)
    for name, png in figures(report).items():
        (pictures / f"{name}.png").write_bytes(png)
    attribution: Attribution = report.attribution
    values = attribution.to_dict() | {"game_id": report.facts["game id"]}
    numbers = {name: float(value) for name, value in report.facts.items() if isinstance(value, int | float)}
    return log_run(
        tracking_uri=tracking_uri,
        experiment=settings.run.experiment,
        run_name=f"{settings.preset} {attribution.property} {attribution.design} m={attribution.n_coalitions}",
        params=settings.model_dump(mode="json"),
        metrics=value_metrics(values)
        | cost_metrics(report.utilities)
        | numbers
        | {f"seconds/{stage}": seconds for stage, seconds in report.stage_seconds.items()}
        | {f"wall_seconds/{kind}": seconds for kind, seconds in report.time_split.items()},
        curves={**report.curves, **history, **coalition_curves(report.utilities)},
        tags={"kind": "valuation", "series": series, **value_tags(settings, values)},
        tables={"values": attribution.to_frame()},
        artifacts=results,
        view=view_labels(values),
    )
