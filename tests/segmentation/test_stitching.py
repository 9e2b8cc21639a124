"""Labels tile by tile: the same whatever the tiles, and in whatever order those of a phase come."""

import numpy as np
import pytest
from skimage import measure

from nuclei.evaluation.metrics import image_score, match
from nuclei.images.tiles import CHUNK, HALO, TILE, edge_labels, windows
from nuclei.segmentation.stitching import Renumbered, Tiling


def label_large(image, segment, tile, halo, chunk=32, seed=None, labels=None):
    """Label an image phase by phase; return labels from 1, their number, and what each tile has added.

    `seed` shuffles the tiles of each phase.
    """
    shape = image.shape[:2]
    labels = np.zeros(shape, np.uint64) if labels is None else labels
    tiling, added = Tiling(shape, tile, halo, chunk), {}
    for numbers in tiling.phases():
        if seed is not None:
            np.random.default_rng(seed).shuffle(numbers)
        for k in numbers:
            added[k] = tiling.add(k, segment(image[tiling.tile(k).outer]), labels)
    numbers = [tiling.first(k) + n for k in sorted(added) for n in range(added[k].max())]
    final = Renumbered(labels.__getitem__, shape, np.array(numbers, np.uint64))[:, :]
    return final, len(numbers), added


def drawn(shape, seams=((), ())):
    """Return an image whose touching nuclei differ in brightness: random discs, and some over the seams."""
    rng = np.random.default_rng(0)
    image = np.zeros((*shape, 3), np.uint8)
    centres = rng.uniform(0, shape, (shape[0] * shape[1] // 400, 2)).tolist()
    centres += [(row, column) for row in seams[0] for column in seams[1]]
    centres += [(row, rng.uniform(0, shape[1])) for row in seams[0]]
    centres += [(rng.uniform(0, shape[0]), column) for column in seams[1]]
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for row, column in centres:
        image[np.hypot(rows - row, columns - column) < rng.uniform(2, 14)] = rng.integers(1, 256)
    return image


def by_brightness(image):
    return measure.label(image[..., 0], connectivity=1)


def inner_seams(shape, tile, halo):
    cores = [window.core for window in windows(shape, tile, halo)]
    return [sorted({core[axis].start for core in cores} - {0}) for axis in (0, 1)]


@pytest.mark.parametrize("shape", [(20, 30), (128, 128), (301, 457)])
@pytest.mark.parametrize("tile, halo", [(96, 32), (128, 32), (256, 96)])
def test_labels_do_not_depend_on_the_tiles_nor_on_their_order(shape, tile, halo):
    image = drawn(shape, inner_seams(shape, tile, halo))
    labels, count, _ = label_large(image, by_brightness, tile, halo)
    expected = by_brightness(image)
    assert count == labels.max() == expected.max() == np.unique(labels[labels > 0]).size
    assert image_score(match(expected, labels.astype(np.int32))) == 1
    assert np.array_equal(labels > 0, expected > 0)
    assert np.array_equal(label_large(image, by_brightness, tile, halo, seed=0)[0], labels)


@pytest.mark.parametrize("shape, tile, halo", [((700, 611), 128, 32), ((70, 611), 96, 32), ((9, 999), 64, 0)])
@pytest.mark.parametrize("chunk", [32, 50, 128])
def test_tiles_of_one_phase_share_no_chunk(shape, tile, halo, chunk):
    tiling = Tiling(shape, tile, halo, chunk)
    phases = tiling.phases()
    tiles = windows(shape, tile, halo)
    assert sorted(sum(phases, [])) == list(range(len(tiles)))
    assert [tiling.tile(k) for k in range(len(tiles))] == tiles
    for numbers in phases:
        written = np.zeros([side // chunk + 1 for side in shape], int)
        for k in numbers:
            outer = tiling.tile(k).outer
            written[tuple(slice(s.start // chunk, (s.stop - 1) // chunk + 1) for s in outer)] += 1
        assert written.max() == 1


def test_few_phases_are_enough():
    assert len(Tiling((12_000, 12_000), TILE, HALO, CHUNK).phases()) <= 9


@pytest.mark.parametrize("seed", range(5))
def test_tiles_that_disagree_neither_lose_nor_double_a_nucleus(seed):
    """Every tile sees each nucleus shifted a little, so that two tiles may both claim it, or neither."""
    rng = np.random.default_rng(seed)
    shape, tile, halo = (256, 256), 128, 32
    truth = np.zeros(shape, np.uint8)
    for k, (row, column) in enumerate(np.ndindex(11, 11)):  # 23 pixels apart, so that some lie on a seam
        truth[23 * row + 1 : 23 * row + 12, 23 * column + 1 : 23 * column + 12] = k + 1

    def shifted(part):
        return measure.label(np.roll(part, rng.integers(-2, 3, 2), (0, 1)), connectivity=1)

    labels, count, _ = label_large(truth, shifted, tile, halo)
    inside = np.s_[16:-16, 16:-16]  # what is rolled over the image's edge does not matter
    for nucleus in np.unique(truth[inside])[1:]:
        numbers = labels[inside][truth[inside] == nucleus]
        numbers = numbers[numbers > 0]
        assert numbers.size and (numbers == np.bincount(numbers).argmax()).mean() > 0.75
    assert np.array_equal(np.unique(labels), np.arange(count + 1))


def test_what_is_written_stays_and_a_nucleus_half_covered_is_dropped():
    labels = np.zeros((32, 32), np.uint64)
    image = np.zeros((32, 32), np.uint8)
    image[:10, :10], image[20:, 20:] = 1, 2
    labels[:10, :6] = labels[20:, 20:26] = 9
    _, count, added = label_large(image, by_first, 64, 0, labels=labels)
    assert count == 1
    assert (labels[:10, :6] == 9).all() and (labels[:10, 6:10] == 0).all(), "six tenths were taken"
    assert (labels[20:, 26:] > 9).all() and (labels[20:, 20:26] == 9).all(), "one half was"
    assert np.array_equal(added[0] > 0, labels > 9)


def test_a_tile_that_was_stopped_amid_its_work_is_done_again():
    image = drawn((300, 300), inner_seams((300, 300), 128, 32))
    expected, *_ = label_large(image, by_brightness, 128, 32)
    tiling, labels = Tiling((300, 300), 128, 32, 32), np.zeros((300, 300), np.uint64)
    for k in sum(tiling.phases(), []):
        outer = tiling.tile(k).outer
        before, found = labels.copy(), by_brightness(image[outer])
        tiling.add(k, found, labels)
        labels[150:], complete = before[150:], labels.copy()  # half of its chunks were not written
        tiling.add(k, found, labels)
        assert np.array_equal(labels, complete)
    assert np.array_equal(expected > 0, labels > 0)


def by_first(image):
    return image.astype(np.int32)


def test_each_nucleus_is_added_once_and_whole():
    image = drawn((300, 300), inner_seams((300, 300), 96, 32))
    labels, count, added = label_large(image, by_brightness, 96, 32)
    areas = [area for k in sorted(added) for area in np.bincount(added[k].ravel())[1:]]
    assert len(areas) == count and np.bincount(labels.ravel())[1:].tolist() == areas


def test_a_nucleus_that_a_tile_cuts_lies_at_its_edge():
    labels = np.zeros((64, 128), int)
    labels[20:40, 50:] = 1
    labels[:5, :5] = 2
    outer = (slice(0, 64), slice(0, 128))
    assert edge_labels(labels, outer, (64, 300), border=False).tolist() == [1]
    assert edge_labels(labels, outer, (64, 300), border=True).tolist() == [2]


def test_an_image_without_nuclei():
    labels, count, _ = label_large(np.zeros((150, 150, 3), np.uint8), by_brightness, 96, 32)
    assert count == 0 and not labels.any()
