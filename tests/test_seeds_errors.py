"""Named seeds, and the sentences that errors are told in."""

import errno
import itertools
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from shapley_core.errors import did_you_mean, unwritable
from shapley_core.seeds import derive_seed

names = st.lists(st.text("abcz019 é", min_size=0, max_size=4) | st.integers(0, 10**6), max_size=3)
seeds = st.integers(0, 2**63 - 1)


def test_seeds_are_the_same_for_ever():
    # Half of what the first 16 digits of `printf 0 | sha256sum` and `printf '7\037image\0373' | sha256sum` say.
    assert derive_seed(0) == 0x5FECEB66FFC86F38 >> 1
    assert derive_seed(7, "image", 3) == 0x0F46AF44D6BE9CDA >> 1


@given(seeds, names)
def test_a_seed_fits_63_bits_and_every_generator(seed, name):
    derived = derive_seed(seed, *name)
    assert derived == derive_seed(seed, *name)
    assert 0 <= derived < 2**63
    assert np.int64(derived) == derived
    torch.Generator().manual_seed(derived)


@given(seeds, names, seeds, names)
def test_other_names_or_seeds_give_other_seeds(seed, name, other_seed, other_name):
    # A number and its digits are the same name.
    same = (seed, *map(str, name)) == (other_seed, *map(str, other_name))
    assert (derive_seed(seed, *name) == derive_seed(other_seed, *other_name)) == same


def test_names_do_not_run_into_each_other():
    derived = [derive_seed(1, *name) for name in [(), ("",), ("ab",), ("a", "b"), ("b", "a"), ("a", "b", "")]]
    derived += [derive_seed(11), derive_seed(1, 1), derive_seed(1, 1, 1), derive_seed(1, 11), derive_seed(111)]
    assert len(set(derived)) == len(derived)


def test_streams_are_distinct_and_spread_over_all_63_bits():
    derived = [derive_seed(s, "image", i) for s, i in itertools.product(range(20), range(500))]
    assert len(set(derived)) == len(derived)
    ones = np.array([[value >> bit & 1 for bit in range(63)] for value in derived]).mean(axis=0)
    np.testing.assert_allclose(ones, 0.5, atol=0.03)  # six standard errors


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EFBIG, "the file is larger than"),
        (errno.EIO, "the disk or the network drive fails"),
        (errno.ESTALE, "the network drive is gone"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EPERM, "permission is denied"),
    ],
)
def test_what_cannot_be_written_is_told_with_its_place_and_a_way_out(code, reason):
    sentence = str(unwritable(OSError(code, "as the system says it", "/results/a.parquet")))
    assert reason in sentence
    assert "/results/a.parquet" in sentence
    assert "--out" in sentence and "what was already measured is kept" in sentence


def test_an_unwritable_place_without_a_name():
    assert str(unwritable(OSError(errno.ENOSPC, "no space"))).startswith("cannot write: the disk is full.")


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        OSError("1000000 requested and 983040 written"),  # numpy
    ],
)
def test_a_full_disk_is_recognised_in_what_libraries_make_of_it(error):
    assert "the disk is full" in str(unwritable(error))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "absent"), OSError("no number"), BrokenPipeError(), ValueError(28)]
)
def test_other_system_errors_stay_what_they_are(error):
    assert unwritable(error) is None


def test_the_nearest_name_or_all_of_them():
    known = ["colourfulness", "inception_score"]
    assert did_you_mean("colorfulness", known) == "did you mean 'colourfulness'?"
    assert did_you_mean("inception", known) == "did you mean 'inception_score'?"
    assert did_you_mean("xyz", reversed(known)) == "choose one of: colourfulness, inception_score."
