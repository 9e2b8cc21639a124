import runpy
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage as ndi
from synthetic import draw

from nuclei.data.image_types import IMAGE_TYPES, image_type

DATA = Path(__file__).resolve().parents[1] / "data"
MAKE_SAMPLE = runpy.run_path(str(DATA / "make_sample.py"))  # its functions and constants; makes nothing


def id_of(kind, seed):
    return f"synthetic-{kind.replace(' ', '-')}-{seed}"


@pytest.mark.parametrize("kind", IMAGE_TYPES)
@pytest.mark.parametrize("size", (64, 150))
def test_images_and_labels_have_the_promised_form(kind, size):
    for seed in range(5):
        image, labels = draw(kind, seed, size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        assert labels.shape == (size, size) and labels.dtype == np.int32
        count = labels.max()
        assert count >= 1 and labels.min() >= 0
        assert np.all(np.bincount(labels.ravel())[1:] > 0)  # 1..N without gaps
        pieces = [ndi.label(labels == k)[1] for k in range(1, count + 1)]
        assert pieces == [1] * count


@pytest.mark.parametrize("kind", IMAGE_TYPES)
def test_the_same_arguments_give_the_same_drawing(kind):
    image, labels = draw(kind, 3, 96)
    again, labels_again = draw(kind, 3, 96)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)
    other, _ = draw(kind, 4, 96)
    assert np.any(image != other)


@pytest.mark.parametrize("kind", IMAGE_TYPES)
def test_nuclei_touch_and_differ_in_size(kind):
    touching, areas = 0, []
    for seed in range(3):
        _, labels = draw(kind, seed)
        areas += np.bincount(labels.ravel())[1:].tolist()
        for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            touching += np.count_nonzero((one != other) & (one > 0) & (other > 0))
    assert touching > 0
    assert np.std(areas) > 0.2 * np.mean(areas)


@pytest.mark.parametrize("kind", IMAGE_TYPES)
def test_drawings_are_taken_for_what_they_depict(kind):
    recognised = [image_type(draw(kind, seed)[0]) == kind for seed in range(5)]
    assert sum(recognised) >= 4  # a few real images, too, are sorted under the neighbouring type


@pytest.mark.parametrize("kind", IMAGE_TYPES)
def test_labels_lie_on_the_nuclei(kind):
    image, labels = draw(kind, 1)
    brightness = image.mean(axis=-1)
    inside, outside = brightness[labels > 0].mean(), brightness[labels == 0].mean()
    assert inside > 1.3 * outside if kind.endswith("fluorescent") else inside < 0.8 * outside


def test_grey_types_are_grey_and_stained_types_coloured():
    for kind in IMAGE_TYPES:
        image, _ = draw(kind, 0, 64)
        coloured = bool(np.ptp(image, axis=-1).max() > 0)
        assert coloured == ("purple" in kind)


def test_an_unknown_type_is_named_together_with_the_choices():
    with pytest.raises(ValueError, match="'green tissue'.*'small fluorescent'.*'grayscale tissue'"):
        draw("green tissue", 0)


def test_a_size_without_room_for_a_nucleus_is_refused():
    with pytest.raises(ValueError, match="size: found 31 pixels, expected at least"):
        draw("purple tissue", 0, 31)


@pytest.mark.parametrize(("kind", "seed", "size"), MAKE_SAMPLE["SYNTHETIC"])
def test_the_committed_sample_is_what_the_code_draws(kind, seed, size):
    """If this fails after a change to data/synthetic.py, run data/make_sample.py."""
    folder = DATA / "sample" / id_of(kind, seed)
    image, labels = draw(kind, seed, size)
    kept = iio.imread(folder / "images" / f"{folder.name}.png")
    kept = np.broadcast_to(kept.reshape(size, size, -1), image.shape)
    masks = sorted((folder / "masks").glob("*.png"))
    assert len(masks) == labels.max()
    kept_labels = np.zeros_like(labels)
    for k, mask in enumerate(masks, start=1):
        kept_labels[iio.imread(mask) > 0] = k
    # Another processor may round a last digit otherwise, so a pixel may differ here and there.
    assert np.mean(kept_labels != labels) < 0.001
    assert np.mean(np.abs(kept.astype(int) - image) > 1) < 0.01


def test_the_sample_holds_the_real_field_in_four_tiles_and_the_drawn_images():
    tiles = {f"{MAKE_SAMPLE['FIELD']}-r{row}c{column}" for row in (0, 1) for column in (0, 1)}
    drawn = {id_of(kind, seed) for kind, seed, _ in MAKE_SAMPLE["SYNTHETIC"]}
    assert {folder.name for folder in (DATA / "sample").iterdir() if folder.is_dir()} == tiles | drawn
    assert {kind for kind, _, _ in MAKE_SAMPLE["SYNTHETIC"]} == set(IMAGE_TYPES)
    assert sum(file.stat().st_size for file in (DATA / "sample").rglob("*") if file.is_file()) < 3e6
