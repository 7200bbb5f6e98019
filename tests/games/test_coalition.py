"""Keys of coalitions and of games."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.games.coalition import coalition_key
from shapley_core.games.identity import game_id

hashes = st.lists(st.text("0123456789abcdef", min_size=4, max_size=8), max_size=6)


def test_key_is_the_hash_of_the_sorted_fingerprints():
    assert coalition_key(["bb", "aa"]) == hashlib.sha256(b"aa\nbb").hexdigest()[:32]
    assert coalition_key([]) == hashlib.sha256(b"").hexdigest()[:32]


@given(hashes, st.randoms())
def test_key_does_not_depend_on_order(fingerprints, random):
    shuffled = random.sample(fingerprints, len(fingerprints))
    assert coalition_key(iter(shuffled)) == coalition_key(fingerprints)


@given(hashes, hashes)
def test_keys_differ_exactly_when_the_multisets_do(one, other):
    assert (coalition_key(one) == coalition_key(other)) == (sorted(one) == sorted(other))


def test_duplicates_count():
    assert coalition_key(["aa"]) != coalition_key(["aa", "aa"])


def test_game_id_is_the_hash_of_canonical_json():
    expected = hashlib.sha256(b'{"a":{"x":1,"y":[1,2]},"b":"\\u00fc"}').hexdigest()[:16]
    assert game_id({"b": "ü", "a": {"y": [1, 2], "x": 1}}) == expected
    assert game_id({"b": "ü", "a": {"y": [2, 1], "x": 1}}) != expected


def test_game_id_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="JSON"):
        game_id({"learning_rate": float("nan")})
