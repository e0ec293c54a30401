"""Rendered sets as chunks for the crop store, and streams of them."""

import itertools

import numpy as np
import pytest

from fa_lib.data import manifests, rendered
from fa_lib.data.crops import stored_size
from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES


def first(name: str, split: str, count: int = 2, size: int = 32, frames: int = 4) -> dict:
    """The first chunk of a set of `count` faces or clips."""
    return next(rendered.plan(name, split, size, count, frames, 0)())


@pytest.mark.parametrize("name", rendered.splits())
def test_every_rendered_set_has_a_manifest_with_its_scheme_and_splits(name):
    manifest, splits = manifests.load(name), rendered.splits()[name]
    assert manifest.get == "rendered" and set(manifest.splits) == set(splits) - {"test"} | ({"test"} & set(manifest.splits))
    chunk = first(name, splits[0])
    assert chunk["landmarks"].shape[1] == manifest.scheme and chunk["truth"].shape[1] in SCHEMES
    assert len(chunk["names"]) == len(chunk["images"]) == len(chunk["truth"]) == len(chunk["subset"]) == len(chunk["matrix"])
    assert chunk["images"].shape[1:] == (stored_size(32), stored_size(32), 3)


def test_manifests_of_rendered_sets_all_can_be_drawn():
    assert {name for name in manifests.names() if name.startswith("synthetic/")} == set(rendered.splits())


def test_flags_and_box_sizes_come_where_the_real_set_has_them():
    keys = {
        name: set(first(f"synthetic/{name}", split)) for name, split in (("cofw", "test"), ("aflw", "full"), ("wflw", "test"))
    }
    assert "visible" in keys["cofw"] and "length" not in keys["cofw"]
    assert {"visible", "length"} <= keys["aflw"]
    assert not {"visible", "length"} & keys["wflw"] and "second" in keys["wflw"]
    assert "second" not in first("synthetic/celeba", "valid")


def test_truth_of_an_unlabelled_clip_moves_in_a_box_that_stays():
    chunk = first("synthetic/ddd", "train", 1, 32, 12)
    assert (chunk["matrix"] == chunk["matrix"][0]).all() and np.ptp(chunk["truth"], axis=0).max() > 0
    low, high = chunk["truth"][0].min(0), chunk["truth"][0].max(0)
    assert np.allclose((low + high) / 2, (stored_size(32) - 1) / 2, atol=1e-3)


def test_a_stream_goes_on_and_repeats():
    one, two = (rendered.stream("synthetic/celeba", 32, seed=3) for _ in range(2))
    chunks = list(itertools.islice(one, 2))
    names = np.concatenate([chunk["names"] for chunk in chunks])
    assert len(set(names)) == 2 * rendered.CHUNK and chunks[1]["progress"][0] == 2 * rendered.CHUNK
    assert (next(two)["images"] == chunks[0]["images"]).all()
    assert (next(two)["images"] == chunks[1]["images"]).all()


def test_the_beginning_of_a_stream_is_the_training_split():
    small = first("synthetic/celeba", "train", 3)
    assert (next(rendered.stream("synthetic/celeba", 32))["images"][:3] == small["images"]).all()


@pytest.mark.parametrize("name", ["synthetic/ddd", "synthetic/masked_300w", "celeba"])
def test_a_set_without_single_training_faces_cannot_be_streamed(name):
    with pytest.raises(InputError, match="choose one of synthetic/300w"):
        rendered.stream(name, 32)


def test_an_unknown_set_or_split_is_answered_with_all_there_are():
    with pytest.raises(InputError, match="synthetic/wflw with train, test; synthetic/cofw") as error:
        rendered.plan("synthetic/wflw", "valid", 32, 1, 1, 0)
    assert all(name in str(error.value) for name in rendered.splits())
