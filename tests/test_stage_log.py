"""The record of a task, and how the wall time is shared out among phases of tasks that ran side by side."""

import json
import os
import time

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.stage_log import PHASES, STARTING, StageLog, library_versions, stage_seconds, time_split


def log(started, finished, *phases, stage="train"):
    return StageLog(stage, started=started, finished=finished, phases=list(phases))


def test_one_task_by_hand():
    # 0..2 starting, 2..5 training, 5..6 neither, 6..9 sampling, 9..10 writing.
    split = time_split([log(0.0, 10.0, ("training", 2.0, 5.0), ("sampling", 6.0, 9.0))], 0.0, 10.0)
    assert split == {"training": 3, "sampling": 3, "scoring": 0, "solving": 0, "starting": 4}


def test_overlapping_tasks_by_hand():
    first = log(0.0, 8.0, ("training", 2.0, 6.0))
    second = log(4.0, 12.0, ("sampling", 5.0, 10.0))
    # 0-2 starting 2 · 2-4 training 2 · 4-5 half training, half starting · 5-6 half training, half sampling
    # 6-8 half starting, half sampling · 8-10 sampling 2 · 10-12 starting 2 · 12-13 nobody: starting 1
    split = time_split([first, second], 0.0, 13.0)
    assert split == {"training": 3, "sampling": 3.5, "scoring": 0, "solving": 0, "starting": 6.5}


def test_only_the_time_asked_for_counts():
    before, after = log(0.0, 10.0, ("training", 0.0, 10.0)), log(30.0, 40.0, ("scoring", 30.0, 40.0))
    through = log(5.0, 35.0, ("solving", 5.0, 35.0))
    split = time_split([before, through, after], 8.0, 12.0)
    assert split == {"training": 1, "sampling": 0, "scoring": 0, "solving": 3, "starting": 0}


def test_no_task_at_all():
    assert time_split([], 3.0, 5.0) == {"training": 0, "sampling": 0, "scoring": 0, "solving": 0, "starting": 2}


@st.composite
def stage_logs(draw):
    """A task whose phases follow each other, with whole seconds."""
    edges = sorted(draw(st.lists(st.integers(0, 30), min_size=2, max_size=8, unique=True)))
    within = edges[1:-1]
    phases = [
        (draw(st.sampled_from(PHASES)), float(a), float(b)) for a, b in zip(within[::2], within[1::2], strict=False)
    ]
    return log(float(edges[0]), float(edges[-1]), *phases)


@given(st.lists(stage_logs(), max_size=5), st.integers(0, 15), st.integers(1, 20))
def test_split_is_what_counting_second_by_second_gives(logs, start, length):
    expected = dict.fromkeys((*PHASES, STARTING), 0.0)
    for second in range(start, start + length):
        middle = second + 0.5
        running = [task for task in logs if task.started < middle < task.finished]
        for task in running:
            kinds = [kind for kind, a, b in task.phases if a < middle < b]
            expected[kinds[0] if kinds else STARTING] += 1 / len(running)
        if not running:
            expected[STARTING] += 1
    split = time_split(logs, float(start), float(start + length))
    assert split == pytest.approx(expected)
    assert sum(split.values()) == pytest.approx(length)


def test_seconds_of_a_stage_are_summed_over_its_tasks():
    logs = [log(0.0, 2.0, stage="score"), log(1.0, 4.5, stage="score"), log(3.0, 4.0, stage="estimate")]
    assert stage_seconds(logs) == {"score": 5.5, "estimate": 1.0}


def test_a_log_comes_back_as_it_was_saved(tmp_path):
    record = StageLog("train")
    with record.phase("training"):
        time.sleep(0.01)
    record.facts |= {"parameters": 123, "loss": 0.1 + 0.2, "device": "cpu"}
    record.curves["training loss"] = {"step": [1.0, 2.0], "value": [0.5, 0.25]}
    path = tmp_path / "not yet there" / "train.json"
    record.save(path)
    loaded = StageLog.load(path)
    for name in ("stage", "started", "finished", "facts", "curves"):
        assert getattr(loaded, name) == getattr(record, name)
    assert [tuple(phase) for phase in loaded.phases] == record.phases
    assert loaded.seconds == record.finished - record.started
    # Any program reads it.
    assert json.loads(path.read_text())["facts"]["parameters"] == 123


def test_a_task_began_with_its_process():
    record = StageLog("train")
    assert record.started == psutil.Process(os.getpid()).create_time()
    assert record.started < time.time()


def test_a_phase_is_booked_in_order_and_even_when_its_work_fails():
    record, before = StageLog("train"), time.time()
    with record.phase("training"):
        pass
    with pytest.raises(RuntimeError, match="work"), record.phase("sampling"):
        raise RuntimeError("work")
    (first, a, b), (second, c, d) = record.phases
    assert (first, second) == ("training", "sampling")
    assert before <= a <= b <= c <= d <= time.time()


def test_there_are_only_the_known_phases():
    with pytest.raises(ValueError, match="unknown phase 'starting'"), StageLog("train").phase(STARTING):
        pass


def test_a_log_recalls_what_is_known_of_a_model_that_is_used_again(tmp_path):
    kept = StageLog("train")
    kept.facts |= {"parameters": 5}
    kept.curves["loss"] = {"step": [1.0], "value": [2.0]}
    kept.phases.append(("training", 1.0, 2.0))
    kept.save(tmp_path / "kept.json")
    record = StageLog("train")
    record.facts |= {"images": 3}
    record.recall(tmp_path / "kept.json")
    assert record.facts == {"images": 3, "parameters": 5}
    assert record.curves == kept.curves
    assert record.phases == []  # the time was spent by the other task


def test_versions_are_those_of_the_tasks_that_had_the_libraries(tmp_path):
    """A report is written where there is no torch, of a model that was trained where there was."""
    kept = StageLog("train", versions={"numpy": "2.0", "torch": "2.1"})
    kept.save(tmp_path / "kept.json")
    trained = StageLog("train", versions={"numpy": "3.0", "torch": "4.1"})
    trained.recall(tmp_path / "kept.json")
    estimated = StageLog("estimate", versions={"numpy": "3.0"})
    assert library_versions([estimated, trained]) == {"torch": "2.1", "numpy": "2.0, 3.0"}


def test_a_log_tells_the_versions_of_its_process():
    assert StageLog("train").versions["numpy"] == np.__version__


def test_a_log_of_before_versions_were_told_has_none(tmp_path):
    (tmp_path / "log.json").write_text('{"stage": "train", "started": 1.0}')
    assert StageLog.load(tmp_path / "log.json").versions == {}
