import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuclei.training import image_changes as change
from nuclei.training.augmentation import (
    colour_jitter,
    colour_jitter_half,
    crop,
    flip,
    scale_to_diameter,
    strong,
)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(0, 9))
def test_crop_has_its_size_and_keeps_image_and_labels_together(height, width, size, seed):
    labels = np.arange(height * width).reshape(height, width) % 251
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1)
    image, labels = crop(image, labels, size, np.random.default_rng(seed))
    assert image.shape == (size, size, 3) and np.array_equal(image[..., 0] > 0, labels > 0)
    pairs = np.unique(np.stack([labels.ravel(), image[..., 0].ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "each number is one grey value"


def test_mirror_images_of_a_nucleus_get_numbers_of_their_own():
    labels = np.array([[1, 0, 2, 2]])
    _, cropped = crop(np.zeros((1, 4, 3), np.uint8), labels, 8, np.random.default_rng(0))
    assert cropped[0].tolist() == [1, 0, 2, 2, 2, 2, 0, 3]


def test_crops_reach_every_corner():
    labels = np.arange(9).reshape(3, 3)
    image = np.zeros((3, 3, 3), np.uint8)
    rng = np.random.default_rng(0)
    assert {int(crop(image, labels, 2, rng)[1][0, 0]) for _ in range(60)} == {0, 1, 3, 4}


def test_flip_draws_all_eight_orientations_and_moves_both_alike():
    labels = np.arange(4).reshape(2, 2)
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1)
    seen = set()
    for seed in range(100):
        turned, moved = flip(image, labels, np.random.default_rng(seed))
        assert np.array_equal(turned[..., 0], moved)
        seen.add(tuple(moved.ravel()))
    assert len(seen) == 8


def test_colour_jitter_changes_the_image_but_not_the_labels(squares):
    image, labels = squares[0].image, squares[0].labels
    seen, brighter = set(), []
    for seed in range(40):
        changed, moved = colour_jitter(image, labels, np.random.default_rng(seed))
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert np.array_equal(np.bincount(moved.ravel()), np.bincount(labels.ravel()))
        brighter.append(changed[moved == 3].mean() > changed[moved == 0].mean())
        seen.add(changed.tobytes())
    assert len(seen) == 40
    assert all(brighter), "never inverted"


def test_half_of_the_images_keep_their_colours(squares):
    image, labels = squares[0].image, squares[0].labels
    colours = {tuple(colour) for colour in image.reshape(-1, 3)}
    as_they_were = 0
    for seed in range(60):
        picture, moved = colour_jitter_half(image, labels, np.random.default_rng(seed))
        if {tuple(colour) for colour in picture.reshape(-1, 3)} == colours:
            as_they_were += 1
            assert all(len(np.unique(picture[moved == k], axis=0)) == 1 for k in np.unique(labels))
    assert 20 <= as_they_were <= 40


@pytest.mark.parametrize("scale, area", [(0.5, 100), (1, 400), (2, 1600)])
def test_crop_rescales(scale, area):
    labels = np.zeros((128, 128), np.int32)
    labels[54:74, 54:74] = 1
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1) * 100
    size = round(128 * scale)  # the whole image, so that all of the nucleus is seen
    image, labels = crop(image, labels, size, np.random.default_rng(0), (scale, scale))
    assert image.shape == (size, size, 3) and labels.shape == (size, size)
    assert labels.sum() == area


def test_the_scale_brings_the_median_nucleus_to_the_diameters(squares):
    labels = squares[0].labels  # nuclei of 63 pixels, so a diameter of 9
    rng = np.random.default_rng(0)
    drawn = [9 * scale_to_diameter(labels, (5, 12, 20), rng) for _ in range(200)]
    assert 4.9 < min(drawn) < 7 and 17 < max(drawn) < 20.1
    assert scale_to_diameter(labels, (400, 400, 401), rng) == 2.5, "no more than that"
    assert scale_to_diameter(np.zeros_like(labels), (9, 9, 9.001), rng) == pytest.approx(1, abs=1e-3)


def test_a_crop_by_diameter_avoids_squares_without_nuclei():
    labels = np.zeros((96, 32), int)
    labels[:32, 4:28] = 1  # in half of the places that a square of 32 pixels can have
    image = np.zeros((96, 32, 3), np.uint8)
    rng = np.random.default_rng(0)
    diameter = 2 * np.sqrt(32 * 24 / np.pi)
    crops = [
        crop(image, labels, 32, rng, diameters=(diameter, diameter, diameter + 1e-6)) for _ in range(200)
    ]
    assert 0.6 < np.mean([part.any() for _, part in crops]) < 0.9, "three quarters, not half"


@pytest.fixture
def stained():
    """Pink tissue with two purple nuclei."""
    image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int32)
    image[:] = (230, 180, 210)
    for number, corner in enumerate((8, 40), start=1):
        window = np.s_[corner : corner + 14, corner : corner + 12]
        image[window], labels[window] = (110, 70, 150), number
    return image, labels


@pytest.mark.parametrize("kind", ["fluorescent", "stained"])
def test_strong_augmentation_keeps_the_nuclei(kind, squares, stained):
    image, labels = stained if kind == "stained" else (squares[0].image, squares[0].labels)
    areas = np.bincount(labels.ravel())[1:]
    seen = set()
    for seed in range(60):
        changed, moved = strong(image, labels, np.random.default_rng(seed))
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert np.bincount(moved.ravel())[1 : len(areas) + 1].tolist() == areas.tolist()
        assert kind == "fluorescent" or moved.max() == len(areas), "nothing is pasted into tissue"
        again, _ = strong(image, labels, np.random.default_rng(seed))
        assert np.array_equal(changed, again), "same seed, same result"
        seen.add(changed.tobytes())
    assert len(seen) > 40


STEPS = {
    "stain": (change.stain, ()),
    "white_balance": (change.white_balance, ()),
    "hue": (change.hue, ()),
    "tint": (change.tint, ()),
    "haze": (change.haze, ()),
    "uneven_light": (change.uneven_light, ()),
    "defocus": (change.defocus, (12.0,)),
    "downsample": (change.downsample, (12.0,)),
    "noise": (change.noise, ()),
    "outliers": (change.outliers, ()),
    "gamma": (change.gamma, ()),
    "contrast": (change.contrast, ()),
    "jpeg": (change.jpeg, ()),
    "stretch": (change.stretch, ()),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_change_keeps_shape_and_dtype_and_inverts_nothing(name, stained):
    step, arguments = STEPS[name]
    image, labels = stained[0].astype(np.float32) / 255, stained[1]
    before = image.copy()
    for seed in range(20):
        changed = step(image, *arguments, np.random.default_rng(seed))
        assert changed.shape == image.shape and changed.dtype == np.float32 and np.isfinite(changed).all()
        grey = np.clip(changed, 0, 1).mean(axis=2)
        assert np.median(grey[labels > 0]) < np.median(grey[labels == 0]), "nuclei stay darker"
    assert np.array_equal(image, before), "the input is not written to"


def test_grey_has_three_equal_channels(stained):
    changed = change.grey(stained[0] / np.float32(255))
    assert np.ptp(changed, axis=2).max() == 0 and changed.shape == stained[0].shape


def test_dimmed_nuclei_stay_above_the_background(squares):
    image, labels = squares[0].image / np.float32(255), squares[0].labels
    ratios = []
    for seed in range(10):
        changed = change.dim_some_nuclei(image, labels, np.random.default_rng(seed))
        ratios += [changed[labels == k].mean() / image[labels == k].mean() for k in (1, 2, 3)]
        assert not changed[image == 0].any()
    assert min(ratios) < 0.7 and max(ratios) <= 1.001 and min(ratios) > 1 / 8


def test_pasted_nuclei_have_new_numbers_and_their_light(squares):
    image, labels = squares[0].image / np.float32(255), squares[0].labels
    changed, merged = change.crowd(image, labels, np.random.default_rng(0))
    assert np.array_equal(merged[labels > 0], labels[labels > 0])
    pasted = (merged > 0) & (labels == 0)
    assert set(np.unique(merged[pasted])) <= {4, 5, 6} and pasted.any()
    assert changed[pasted].min() > 0.1 and not image[pasted].any()
