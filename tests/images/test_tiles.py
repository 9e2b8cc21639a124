import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage import measure

from nuclei.evaluation.metrics import image_score, match
from nuclei.images.tiles import tiled_maps, windows
from nuclei.segmentation.stitching import label_large

sizes = st.integers(1, 15).flatmap(
    lambda n: st.tuples(st.just(32 * n), st.integers(0, (n - 1) // 2).map(lambda h: 32 * h))
)


@settings(max_examples=200, deadline=None)
@given(st.tuples(st.integers(1, 1500), st.integers(1, 1500)), sizes)
def test_cores_tile_the_image_and_halos_lie_in_it(shape, size):
    tile, halo = size
    covered = np.zeros(shape, int)
    for window in windows(shape, tile, halo):
        covered[window.core] += 1
        for outer, core, inner, length in zip(window.outer, window.core, window.inner, shape, strict=True):
            assert outer.start % 32 == 0 and 0 <= outer.start < outer.stop <= length
            assert outer.stop - outer.start <= tile and core.start < core.stop
            assert core.start - outer.start >= halo or outer.start == core.start == 0
            assert outer.stop - core.stop >= halo or outer.stop == core.stop == length
            assert (inner.start, inner.stop) == (core.start - outer.start, core.stop - outer.start)
    assert (covered == 1).all()


def test_tiles_have_one_size_wherever_the_image_allows():
    outers = [window.outer for window in windows((1001, 999), 256, 64)]
    padded = {tuple(-(-(s.stop - s.start) // 32) * 32 for s in outer) for outer in outers}
    assert padded == {(256, 256)}, "so that a network is traced once"


@pytest.mark.parametrize("tile, halo", [(100, 32), (128, 30), (128, 64), (64, -32), (0, 0)])
def test_sizes_that_do_not_fit_the_network(tile, halo):
    with pytest.raises(ValueError, match="expected multiples of 32"):
        windows((300, 300), tile, halo)


def blur(image):
    """A stand-in for a network: it sees 28 pixels far and, as one with stride 32, counts from its corner."""
    grey = image.mean(axis=-1)
    far = ndi.gaussian_filter(grey, 7, truncate=4)
    grid = np.add.outer(np.arange(grey.shape[0]) % 32, np.arange(grey.shape[1]) % 32)
    return np.stack([far, far * grid], axis=-1).astype(np.float32)


@pytest.mark.parametrize("shape", [(20, 20), (1, 50), (128, 128), (129, 500), (317, 401)])
@pytest.mark.parametrize("tile", [96, 128, 224])
def test_maps_do_not_depend_on_the_tiles(shape, tile):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    maps = tiled_maps(blur, image, tile, halo=32)
    assert maps.dtype == np.float32 and np.array_equal(maps, blur(image))


def test_what_lies_beyond_the_halo_makes_a_difference():
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    assert not np.array_equal(tiled_maps(blur, image, 96, halo=0), blur(image))


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
def test_labels_do_not_depend_on_the_tiles(shape, tile, halo):
    image = drawn(shape, inner_seams(shape, tile, halo))
    labels = np.zeros(shape, np.uint32)
    count = label_large(image, by_brightness, labels, tile, halo)
    expected = by_brightness(image)
    assert count == labels.max() == expected.max() == np.unique(labels[labels > 0]).size
    assert image_score(match(expected, labels.astype(np.int32))) == 1
    assert np.array_equal(labels > 0, expected > 0)


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

    labels = np.zeros(shape, np.uint32)
    count = label_large(truth, shifted, labels, tile, halo)
    inside = np.s_[16:-16, 16:-16]  # what is rolled over the image's edge does not matter
    for nucleus in np.unique(truth[inside])[1:]:
        numbers = labels[inside][truth[inside] == nucleus]
        numbers = numbers[numbers > 0]
        assert numbers.size and (numbers == np.bincount(numbers).argmax()).mean() > 0.75
    assert np.array_equal(np.unique(labels), np.arange(count + 1))


def test_what_is_written_stays_and_a_nucleus_half_covered_is_dropped():
    labels = np.zeros((32, 32), np.uint32)
    image = np.zeros((32, 32), np.uint8)
    image[:10, :10], image[20:, 20:] = 1, 2
    labels[:10, :6] = labels[20:, 20:26] = 9
    added = []
    assert label_large(image, by_first, labels, 64, 0, lambda *seen: added.append(seen[-1])) == 1
    assert (labels[:10, :6] == 9).all() and (labels[:10, 6:10] == 0).all(), "six tenths were taken"
    assert (labels[20:, 26:] == 1).all() and (labels[20:, 20:26] == 9).all(), "one half was"
    assert np.array_equal(added[0] > 0, labels == 1)


def by_first(image):
    return image.astype(np.int32)


def test_each_nucleus_is_shown_once_and_whole():
    image = drawn((300, 300), inner_seams((300, 300), 96, 32))
    labels, areas = np.zeros((300, 300), np.uint32), {}

    def measured(window, part, added):
        assert np.array_equal(part, image[window.outer])
        for number, area in zip(*np.unique(added[added > 0], return_counts=True), strict=True):
            assert areas.setdefault(number, area) == area and np.count_nonzero(added == number) == area

    count = label_large(image, by_brightness, labels, 96, 32, measured)
    assert sorted(areas) == list(range(1, count + 1))
    assert np.bincount(labels.ravel())[1:].tolist() == [areas[k] for k in sorted(areas)]


def test_a_nucleus_wider_than_the_halo_is_reported():
    image = np.zeros((64, 300, 3), np.uint8)
    image[20:40, 50:250] = 1
    with pytest.warns(UserWarning, match="reach beyond the halo of 32 pixels"):
        label_large(image, by_brightness, np.zeros((64, 300), np.uint32), 128, 32)


def test_an_image_without_nuclei():
    labels = np.zeros((150, 150), np.uint32)
    assert label_large(np.zeros((150, 150, 3), np.uint8), by_brightness, labels, 96, 32) == 0
    assert not labels.any()
