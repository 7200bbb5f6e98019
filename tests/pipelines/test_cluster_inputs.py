"""The pipeline's inputs, from what people fill in in the Kubeflow UI to the configuration that prepare writes."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl

from components.prepare.component import prepare
from components.prepare.inputs import as_settings
from pipelines.cluster import S3_SECRET_KEYS
from pipelines.compiling import specification
from shapley_core.config import ValuationConfig, preset_names, resolve

#: An input filled in, and the setting it stands for.
SETTINGS: list[tuple[str, Any, str]] = [
    ("coalitions", 200, "game.n_coalitions"),
    ("shard_size", 4, "run.shard_size"),
    ("property", "colourfulness", "property.name"),
    ("method", "retraining", "game.coalition_model"),
    ("seed", 7, "seed"),
    ("seed", 0, "seed"),
    ("experiment", "autumn", "run.experiment"),
]


def setting(config: ValuationConfig, key: str) -> Any:
    found: Any = config.model_dump()
    for part in key.split("."):
        found = found[part]
    return found


def of(**inputs: Any) -> dict[str, Any]:
    return as_settings(**inputs)


@pytest.mark.parametrize(("name", "value", "key"), SETTINGS)
def test_an_input_is_one_setting(name: str, value: Any, key: str) -> None:
    assert of(**{name: value}) == {key: value}
    assert setting(resolve("digits", of(**{name: value})), key) == value


@pytest.mark.parametrize("preset", [name for name in preset_names() if name not in ("celebahq", "cifar20", "artbench")])
def test_the_pipelines_defaults_say_what_the_preset_says(preset: str) -> None:
    parameters = specification()["root"]["inputDefinitions"]["parameters"]
    names = inspect.signature(as_settings).parameters
    defaults = {name: parameters[name].get("defaultValue", "") for name in names}
    assert of(**defaults) == {}
    assert resolve(preset, of(**defaults)) == resolve(preset)


def test_the_ui_names_every_preset() -> None:
    told = specification()["root"]["inputDefinitions"]["parameters"]["preset"]["description"]
    assert set(re.findall(r"[a-z0-9-]+", told)) >= set(preset_names())


@pytest.mark.parametrize(
    ("data", "source"),
    [("s3://bucket/images", "image_folder"), ("/data/images.CSV", "manifest"), ("s3://bucket/a.parquet", "manifest")],
)
def test_data(data: str, source: str) -> None:
    config = resolve("digits", of(data=data)).data
    assert (config.source, config.path) == (source, data)


def call(folder: Path, **inputs: Any) -> dict[str, Any]:
    """The configuration that the component writes for these inputs."""
    outputs = {
        name: kind(uri=str(folder / name))
        for name, kind in (("dataset", dsl.Dataset), ("config", dsl.Artifact), ("log", dsl.Artifact))
    }
    given = {"preset": "digits", "overrides": {}, "store": str(folder / "store")} | inputs
    prepare.python_func(**given, **outputs, metrics=dsl.Metrics(uri=str(folder / "metrics")))
    config: dict[str, Any] = yaml.safe_load((folder / "config").read_text())
    return config


def test_a_setting_counts_before_an_input(tmp_path: Path) -> None:
    config = call(tmp_path, coalitions=40, seed=3, overrides={"game.n_coalitions": 30, "run.threads": 1})
    assert (config["game"]["n_coalitions"], config["seed"], config["run"]["threads"]) == (30, 3, 1)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"preset": "digitz"}, "there is no preset 'digitz'; did you mean 'digits'?"),
        ({"preset": ""}, "there is no preset ''; choose one of: artbench, "),
        ({"property": "colorfulness"}, "'colorfulness'"),
        ({"method": "magic"}, "game.coalition_model: Input should be 'sparsified_finetuning'"),
        ({"coalitions": -5}, "game.n_coalitions: Input should be greater than or equal to 1 (got -5)"),
        ({"seed": -2}, "seed: Input should be greater than or equal to 0 (got -2)"),
        ({"data": "/no/such/folder"}, "/no/such/folder"),
        ({"overrides": {"game": 5}}, "there is no setting 'game'"),
    ],
)
def test_what_is_wrong_is_one_line_of_the_tasks_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inputs: dict[str, Any], told: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(tmp_path, **inputs)
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ERROR: "))
    assert told in line
    assert not (tmp_path / "dataset").exists() and not (tmp_path / "config").exists()


def test_a_missing_secret_is_one_line_of_the_tasks_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is optional to the pod (pipelines/cluster.py), so that it starts and says this."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as stop:
        call(tmp_path, store="s3://valuations/store")
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ERROR: "))
    assert "cannot use s3://valuations/store: Unable to locate credentials." in line
    assert f"above all {' and '.join(S3_SECRET_KEYS)}" in line
    assert not (tmp_path / "dataset").exists() and not (tmp_path / "config").exists()
