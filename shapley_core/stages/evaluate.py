"""evaluate: judges a valuation by what retraining showed, and writes the paper's tables and figures for it.

Needs the light half only: no torch.
"""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.evaluation.coalitions import middle_share
from shapley_core.evaluation.judgement import HeldOut, lds_table
from shapley_core.evaluation.lds import check_held_out
from shapley_core.evaluation.result import OURS, EvaluationResult
from shapley_core.evaluation.short_cut import short_cut_table
from shapley_core.evaluation.surrogates import surrogates_table
from shapley_core.evaluation.tables import ceiling, costs_table, counterfactuals_table, fidelity_table, fids_table
from shapley_core.games.measured import MeasuredGame
from shapley_core.games.plan import Plan
from shapley_core.mlflow_view import view_labels
from shapley_core.reporting.evidence import evidence_figures, evidence_markdown, render_evidence
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog, library_versions, stage_seconds
from shapley_core.stages.known_attributions import by_method, game_of, shapley_values, without_other_games
from shapley_core.stages.removal_files import read_purposes
from shapley_core.tracking import Tracked, log_run, safe_name, value_metrics, value_tags

#: Removal methods by which Shapley values are solved, for Table 4 and Figure 2.
_SOLVED = ("retraining", "finetuning", "sparsified_finetuning")
#: Shares of the measured coalitions that values are solved from, for the same.
_BUDGETS = (0.125, 0.25, 0.5, 0.75, 1.0)


def evaluate(
    config: Path,
    values: Path,
    plan: Path,
    baselines: Path,
    measured: Mapping[str, Path],
    counterfactuals: Path,
    logs: Sequence[Path],
    tracking_uri: str,
    *,
    results: Path,
) -> dict[str, float]:
    """Write the folder ``results`` (docs/evidence.md says what is in it).

    Args:
        config: the valuation's resolved configuration.
        values: the valuation's values.
        plan: the valuation's plan.
        baselines: what the stage ``attribute`` wrote.
        measured: removal method to its measurements.
        counterfactuals: the measurements of counterfactual coalitions.
        logs: stage logs.
        tracking_uri: MLflow, unless MLFLOW_TRACKING_URI says otherwise.
        results: output folder.

    Returns:
        ``lds/alpha_<alpha>`` and ``cost/<method>`` (seconds of a coalition), and more of the kind.

    Raises:
        UserError: a held-out coalition took part in the valuation, or there is nothing to judge by.
    """
    record = StageLog("evaluate")
    settings = ValuationConfig.load(config)
    valuation = Plan.load(plan)
    tables = {method: read_purposes(path) for method, path in measured.items()}
    retrained, again = tables["retraining"], read_purposes(counterfactuals)
    check_held_out(retrained.loc[retrained["purpose"] == "held_out", "key"], valuation.table["key"])
    with record.phase("solving"):
        judges = [HeldOut.of(retrained, alpha, len(valuation.contributors)) for alpha in settings.evaluation.alphas]
        known, refused = without_other_games(settings, valuation, values, baselines, retrained)
        games = {method: game_of(settings, valuation, tables[method]) for method in _SOLVED}
        known |= {name: tau for name, tau in by_method(games, settings).items() if name != OURS}
        seed = derive_seed(settings.evaluation.seed, "bootstrap")
        costs = costs_table(tables)
        result = EvaluationResult(
            lds=lds_table(known, judges, OURS, seed),
            budget=_budget(settings, games, costs, judges, seed),
            costs=costs,
            fidelity=fidelity_table(tables),
            fids=fids_table(tables),
            counterfactuals=counterfactuals_table(retrained, again),
            surrogates=surrogates_table(games["sparsified_finetuning"], judges, seed),
            short_cut=short_cut_table(tables["sparsified_finetuning"], judges, seed),
            ceiling=ceiling(retrained),
            refused=refused,
            facts=_facts(settings, valuation, tables, [StageLog.load(path) for path in logs]),
            notes=_notes(tables),
        )
    result.save(results)
    every = [table.assign(method=method) for method, table in tables.items()]
    measurements = pd.concat([*every, again.assign(method="retraining")], ignore_index=True)
    measurements.to_parquet(results / "measurements.parquet", index=False)
    frame = pd.DataFrame(known, index=pd.Index(valuation.contributors, name="contributor")).reset_index()
    frame.to_parquet(results / "attributions.parquet", index=False)
    (results / "evaluation.html").write_text(render_evidence(result), "utf-8")
    (results / "evaluation.md").write_text(evidence_markdown(result), "utf-8")
    (results / "figures").mkdir(exist_ok=True)
    for name, png in evidence_figures(result).items():
        (results / "figures" / f"{name}.png").write_bytes(png)
    metrics = evaluation_metrics(result)
    judged = json.loads((values / "values.json").read_text())
    _track(settings, result, metrics, judged, tracking_uri, results).tell(results)
    return metrics


def evaluation_metrics(result: EvaluationResult) -> dict[str, float]:
    """Numbers by which evaluations are compared, under MLflow's names."""
    alpha = float(result.facts["alpha"])
    metrics = {"lds/ceiling": result.ceiling}
    for row in result.lds.to_dict("records"):
        if row["attribution"] == OURS:
            metrics[f"lds/alpha_{row['alpha']:g}"] = row["lds"]
        if np.isclose(row["alpha"], alpha):
            metrics[f"lds/{safe_name(row['attribution'])}"] = row["lds"]
    for row in result.surrogates[np.isclose(result.surrogates["alpha"], alpha)].to_dict("records"):
        metrics[f"lds/regression_of_order_{row['order']:g}"] = row["lds"]
    for row in result.short_cut[np.isclose(result.short_cut["alpha"], alpha)].to_dict("records"):
        metrics[f"lds/short_cut{'' if row['prediction'] == 'v' else '_' + row['prediction']}"] = row["lds"]
    for row in result.costs.to_dict("records"):
        metrics[f"cost/{row['method']}"] = row["training_seconds"] + row["sampling_seconds"]
        metrics[f"times_cheaper/{row['method']}"] = row["times_cheaper"]
    for row in result.fidelity[result.fidelity["size"] == -1].to_dict("records"):
        metrics[f"fidelity/{row['method']}"] = row["spearman"]
    for row in result.fids.to_dict("records"):
        metrics[f"fid/{row['method']}"] = row["mean"]
    for row in result.counterfactuals.to_dict("records"):
        metrics[f"{row['action']}_{row['share']:g}/{safe_name(row['attribution'])}"] = row["change"]
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def _budget(
    settings: ValuationConfig,
    games: Mapping[str, MeasuredGame | None],
    costs: pd.DataFrame,
    judges: Sequence[HeldOut],
    seed: int,
) -> pd.DataFrame:
    """LDS of the values by each method from the first coalitions, against what those cost."""
    price = costs.set_index("method")[["training_seconds", "sampling_seconds"]].sum(axis=1)
    rows = []
    for method, game in games.items():
        if game is None or "retraining" not in price:
            continue
        for m in sorted({round(share * len(game.values)) for share in _BUDGETS}):
            tau = shapley_values(settings, game.first(m))
            if tau is None:
                continue
            cost = m * price[method] / price["retraining"]
            for row in lds_table({method: tau}, judges, method, seed).to_dict("records"):
                kept = {name: row[name] for name in ("alpha", "lds", "low", "high")}
                rows.append({"method": method, "n_coalitions": m, **kept, "cost": cost})
    return pd.DataFrame(rows, columns=["method", "n_coalitions", "alpha", "lds", "low", "high", "cost"])


def _facts(
    settings: ValuationConfig, plan: Plan, tables: Mapping[str, pd.DataFrame], logs: Sequence[StageLog]
) -> dict[str, str | float | int]:
    retrained = tables["retraining"]
    return {
        "preset": settings.preset,
        "property": settings.property.name,
        "contributors": len(plan.contributors),
        "alpha": middle_share(settings.evaluation),
        "sets": settings.evaluation.n_sets,
        "retrainings of a held-out coalition": settings.evaluation.n_seeds,
        "coalitions of the valuation": int((plan.table["kind"] == "sampled").sum()),
        "estimator": settings.game.estimator,
        "models retrained": len(retrained[retrained["status"] == "ok"].drop_duplicates(["key", "seed"])),
        "gradient timesteps": settings.evaluation.gradient_timesteps,
        "seed of the valuation": str(settings.seed),
        "seed of the evaluation": str(settings.evaluation.seed),
        **{f"seconds of {stage}": seconds for stage, seconds in stage_seconds(logs).items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {platform.system()}",
        **library_versions(logs),
    }


def _notes(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    notes = []
    for method, table in tables.items():
        if n := int((table.drop_duplicates(["key", "seed"])["status"] != "ok").sum()):
            notes.append(f"{n} coalitions could not be measured by {method.replace('_', ' ')}, and are left out.")
    return notes


def _track(
    settings: ValuationConfig,
    result: EvaluationResult,
    metrics: Mapping[str, float],
    judged: Mapping[str, Any],
    tracking_uri: str,
    results: Path,
) -> Tracked:
    # The values it judges stand in it, too, so that it compares with valuations and other evaluations by itself.
    cost = {"cost_per_coalition": metrics.get(f"cost/{settings.game.coalition_model}", math.nan)}
    return log_run(
        tracking_uri=tracking_uri,
        experiment=settings.run.experiment,
        run_name=f"evaluation of {settings.preset} {settings.property.name}",
        params=settings.model_dump(mode="json"),
        metrics={**metrics, **value_metrics(judged), **cost},
        curves={},
        tags={"kind": "evaluation", **value_tags(settings, judged)},
        tables={"lds": result.lds, "costs": result.costs, "counterfactuals": result.counterfactuals},
        artifacts=results,
        view=view_labels(judged),
    )
