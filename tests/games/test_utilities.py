"""The utility table: its file, and how tables are merged."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.games.utilities import UTILITY_SCHEMA, merge_utilities, read_utilities, write_utilities


def utilities(*rows):
    """A utility table of rows (key, value, status), all of one property and seed."""
    return pd.DataFrame(
        {
            "key": [key for key, _, _ in rows],
            "property": "score",
            "value": [value for _, value, _ in rows],
            "seed": 1,
            "status": [status for _, _, status in rows],
            "training_seconds": 1.5,
            "sampling_seconds": 0.5,
            "scoring_seconds": 0.25,
            "device": "cpu",
        }
    )


def test_round_trip(tmp_path):
    table = utilities(("a", 1.25, "ok"), ("b", np.nan, "out of memory"))
    write_utilities(table, tmp_path / "u.parquet")
    assert pq.read_schema(tmp_path / "u.parquet").equals(UTILITY_SCHEMA)
    pd.testing.assert_frame_equal(read_utilities(tmp_path / "u.parquet"), table, check_dtype=False)


def test_values_survive_to_the_last_digit():
    values = np.nextafter(np.linspace(0, 1, 50), 2)
    buffer = io.BytesIO()
    write_utilities(utilities(*((str(i), v, "ok") for i, v in enumerate(values))), buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(read_utilities(buffer)["value"], values)


def test_a_missing_column_is_refused(tmp_path):
    with pytest.raises(KeyError, match="status"):
        write_utilities(utilities(("a", 1.0, "ok")).drop(columns="status"), tmp_path / "u.parquet")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "u.parquet"
    write_utilities(utilities(("a", 1.0, "ok")), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(pa.ArrowInvalid):
        read_utilities(path)


def test_ok_wins_over_failed_in_either_order():
    failed, ok = utilities(("a", np.nan, "killed")), utilities(("a", 2.0, "ok"))
    for tables in ([failed, ok], [ok, failed]):
        merged = merge_utilities(tables)
        assert merged[["value", "status"]].to_numpy().tolist() == [[2.0, "ok"]]


def test_the_first_of_two_measured_values_stays_and_that_is_logged(caplog):
    one, other = utilities(("a", 1.0, "ok"), ("b", 3.0, "ok")), utilities(("a", 2.0, "ok"), ("b", 3.0, "ok"))
    assert merge_utilities([one, other])["value"].tolist() == [1.0, 3.0]
    assert merge_utilities([other, one])["value"].tolist() == [2.0, 3.0]
    first, _ = caplog.messages
    assert first == (
        "more than one value was measured of 1 coalitions, and the first is taken; of a, score is from 1 to 2"
    )


def test_other_properties_and_seeds_stand_beside():
    one = utilities(("a", 1.0, "ok"))
    merged = merge_utilities([one, one.assign(property="other"), one.assign(seed=2), one])
    assert merged[["property", "seed"]].to_numpy().tolist() == [["other", 1], ["score", 1], ["score", 2]]


def test_nothing_merges_to_an_empty_table():
    for tables in ([], [utilities()]):
        merged = merge_utilities(tables)
        assert len(merged) == 0
        assert list(merged.columns) == UTILITY_SCHEMA.names


rows = st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 1), st.sampled_from(["ok", "failed"])))


@given(st.lists(rows, max_size=4))
def test_merging_keeps_one_row_per_key_and_is_idempotent(tables):
    merged = merge_utilities([utilities(*table) for table in tables])
    everything = [row for table in tables for row in table]
    assert merged["key"].tolist() == sorted({key for key, _, _ in everything})
    for row in merged.itertuples():
        candidates = [r for r in everything if r[0] == row.key]
        best = next((r for r in candidates if r[2] == "ok"), candidates[0])
        assert (row.key, row.value, row.status) == best
    pd.testing.assert_frame_equal(merge_utilities([merged, merged]), merged)
