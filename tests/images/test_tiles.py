import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from nuclei.images.tiles import tiled_maps, windows

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
