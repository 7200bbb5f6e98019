"""Forecasts: from the times a run measured to what another would take."""

import json
from pathlib import Path

import pandas as pd
import pytest
from command_line import CommandLine

from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.forecast import Cost, in_words, size_in_words


def run_folder(folder: Path, n: int, seconds: dict[str, float]) -> Path:
    values = {"seconds": seconds, "contributors": [{}] * 10, "parameters": {"full": 160_000, "pruned": 40_000}}
    (folder / "values.json").write_text(json.dumps(values))
    resolve("digits", {"run.shard_size": 8}).save(folder / "config.yaml")
    once = pd.DataFrame({"key": [f"{i:032x}" for i in range(n)], "seed": range(n)})
    once = once.assign(training_seconds=1.0, sampling_seconds=0.5, scoring_seconds=0.25)
    # Two properties of the same images: two rows, of a coalition that was trained once.
    rows = [once.assign(property=name) for name in ("inception_score", "diversity")]
    pd.concat(rows, ignore_index=True).to_parquet(folder / "utilities.parquet")
    return folder


def test_a_run_s_own_cost_comes_out_again(tmp_path: Path) -> None:
    seconds = {"train": 60.0, "estimate": 4.0, "finetune_subset": 36.0, "generate": 30.0, "score": 10.0}
    cost = Cost.of_run(run_folder(tmp_path, 32, seconds))
    size = 4 * 40_000 + 512 * 8 * 8  # weights, and grey images of 8 by 8 pixels
    per_shard = (76 - 32 * 1.75) / 4
    assert cost == Cost(once=64.0, per_shard=per_shard, per_coalition=1.75, shard_size=8, artifact_bytes=size)
    assert cost.process_seconds(30) == pytest.approx(sum(seconds.values()))
    assert cost.wall_seconds(30, parallel=1) == pytest.approx(sum(seconds.values()))
    assert cost.wall_seconds(30, parallel=2) == pytest.approx(64 + 76 / 2)
    assert cost.wall_seconds(30, parallel=3) == pytest.approx(64 + 76 / 2)  # four shards, three at once: two rounds


def test_there_are_never_more_than_64_shards_to_start() -> None:
    cost = Cost(once=0.0, per_shard=10.0, per_coalition=1.0, shard_size=8, artifact_bytes=0)
    assert cost.process_seconds(100_000) == 640 + 100_002


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(192_768, "0.2 MB"), (31_457_280, "31 MB"), (9.9e9, "9900 MB"), (102e9, "102 GB")]
)
def test_sizes_are_said_as_people_say_them(n_bytes: float, words: str) -> None:
    assert size_in_words(n_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(48.4, "48 s"), (720, "12 min"), (12_240, "3.4 h"), (181_440, "2.1 days")]
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_folder_without_results_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no results .*values\.json is missing"):
        Cost.of_run(tmp_path)


def test_results_of_an_earlier_release_are_a_sentence(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, 32, {})
    (folder / "values.json").write_text(json.dumps({"seconds": {}, "contributors": [{}] * 10}))
    with pytest.raises(UserError, match="of an earlier release"):
        Cost.of_run(folder)


def test_a_run_that_measured_nothing_itself_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from the store"):
        Cost.of_run(run_folder(tmp_path, 32, {"finetune_subset": 5.0, "generate": 5.0, "score": 5.0}))


def test_the_command_tells_times_and_pods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"train": 60.0, "estimate": 4.0, "finetune_subset": 36.0, "generate": 30.0, "score": 10.0}
    run = run_folder(tmp_path, 32, seconds)
    options = ("--contributors", "20", "--coalitions", "500", "--shard-size", "16")
    told = " ".join(CommandLine(capsys).lines("cost", "--run", run, *options))
    assert "500" in told and "239" in told  # 32 shards of seven pods, and 15 besides
    assert "A coalition takes 1.8 s of a process" in told
    assert "96 MB" in told  # 500 times 192,768 bytes
