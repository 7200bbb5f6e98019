"""Keep a run's results as an example in the documentation: its values as a table, its figures, and a page about it.

make run PRESET=openmoji OUT=runs/openmoji
.venv/bin/python -m benchmarks.example runs/openmoji docs/examples/openmoji
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd

from shapley_core.config import ValuationConfig, resolve
from shapley_core.tracking import flatten

#: The figures that are kept, and what they show.
FIGURES = {
    "samples": "What the models generate. The full model and the pruned one, then models of coalitions.",
    "values": "Each contributor's value with its 95 % interval.",
    "contributors": "Images of those with the largest and the smallest values.",
    "utilities": "The property of every coalition's model against the size of the coalition.",
    "convergence": "The values solved from the first m coalitions.",
}


def keep(results: Path, folder: Path, wall: str) -> None:
    """Write the example of a run to ``folder``; ``wall`` says what machine it was and how long it took."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = ValuationConfig.load(results / "config.yaml")
    found = json.loads((results / "values.json").read_text())
    values = pd.read_parquet(results / "values.parquet").sort_values("rank")
    facts = pd.read_parquet(results / "contributors.parquet")
    facts = facts.drop(columns=[name for name in facts if name.endswith("_shares")])  # lists
    values.merge(facts, on="contributor").round(6).to_csv(folder / "values.csv", index=False)
    shown = [name for name in FIGURES if (results / "figures" / f"{name}.png").is_file()]
    for name in shown:
        shutil.copyfile(results / "figures" / f"{name}.png", folder / f"{name}.png")
    name = folder.name
    of_preset = flatten(resolve(settings.preset).model_dump(mode="json"))
    chosen = flatten(settings.model_dump(mode="json")).items() - of_preset.items()
    changed = [f"{key}={value}" for key, value in sorted(chosen)]
    arguments = f' ARGS="{" ".join(f"--set {change}" for change in changed)}"' if changed else ""
    utilities = pd.read_parquet(results / "utilities.parquet")
    own = utilities[(utilities["property"] == found["property"]) & (utilities["status"] == "ok")]
    folder.joinpath("README.md").write_text(
        f"""# {settings.description}{f", with {', '.join(changed)}" if changed else ""}

```
make run PRESET={settings.preset} OUT=runs/{name}{arguments}
.venv/bin/python -m benchmarks.example runs/{name} docs/examples/{name}
```

{wall}

| | |
|---|---|
| contributors | {len(values)} |
| property | {found["property"]} |
| coalitions | {len(own)}, null and full among them |
| v(null), v(N) | {found["null_value"]:.3f}, {found["full_value"]:.3f} |
| estimator | {found["estimator"]}, design {found["design"]} |

All values, with their intervals and facts about the images: [values.csv](values.csv).

"""
        + "\n".join(f"{FIGURES[name]}\n\n![{name}]({name}.png)\n" for name in shown)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wall", default="", help="a sentence: the machine, the date, and how long the run took")
    arguments = parser.parse_args()
    keep(arguments.results, arguments.folder, arguments.wall)
