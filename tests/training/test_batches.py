import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuclei.images.intensity import normalize
from nuclei.images.resizing import resize_image, resize_labels
from nuclei.training.augmentation import crop, disturb, disturb_half, flip
from nuclei.training.batches import batches, draw_batch, normalize_samples


def belong_together(image, labels):
    """Whether every pixel still has the brightness of its nucleus in the squares."""
    return np.array_equal(image.astype(int) // 60, labels)


def test_resize_labels_takes_the_nearest():
    labels = np.arange(16).reshape(4, 4)
    assert resize_labels(labels, (2, 2)).tolist() == [[5, 7], [13, 15]]
    assert resize_labels(labels, (4, 4)).tolist() == labels.tolist()
    assert resize_labels(np.array([[1, 2]]), (2, 4)).tolist() == [[1, 1, 2, 2]] * 2


def test_resize_image_is_bilinear():
    image = np.array([[0, 100]], np.uint8).repeat(2, axis=0)[..., None].repeat(3, axis=-1)
    assert resize_image(image, (2, 4))[0, :, 0].tolist() == [0, 25, 75, 100]
    assert resize_image(image, (1, 1)).ravel().tolist() == [50, 50, 50]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(0, 9))
def test_crop_has_its_size_and_keeps_image_and_labels_together(height, width, size, seed):
    labels = np.arange(height * width).reshape(height, width) % 251
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1)
    image, labels = crop(image, labels, size, np.random.default_rng(seed))
    assert image.shape == (size, size, 3)
    assert np.array_equal(image[..., 0], labels)


def test_crops_reach_every_corner():
    labels = np.arange(9).reshape(3, 3)
    image = np.zeros((3, 3, 3), np.uint8)
    rng = np.random.default_rng(0)
    assert {int(crop(image, labels, 2, rng)[1][0, 0]) for _ in range(60)} == {0, 1, 3, 4}


def test_flip_draws_all_eight_ways_and_moves_both_alike():
    labels = np.arange(4).reshape(2, 2)
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1)
    seen = set()
    for seed in range(100):
        turned, moved = flip(image, labels, np.random.default_rng(seed))
        assert np.array_equal(turned[..., 0], moved)
        seen.add(tuple(moved.ravel()))
    assert len(seen) == 8


def test_disturb_changes_the_picture_but_not_the_labels(squares):
    image, labels = squares[0].image, squares[0].labels
    seen, brighter = set(), []
    for seed in range(40):
        changed, moved = disturb(image, labels, np.random.default_rng(seed))
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert np.array_equal(np.bincount(moved.ravel()), np.bincount(labels.ravel()))
        brighter.append(changed[moved == 3].mean() > changed[moved == 0].mean())
        seen.add(changed.tobytes())
    assert len(seen) == 40
    assert all(brighter), "never inverted"


def test_disturb_half_leaves_the_colours_of_about_every_other_picture(squares):
    image, labels = squares[0].image, squares[0].labels
    colours = {tuple(colour) for colour in image.reshape(-1, 3)}
    as_they_were = 0
    for seed in range(60):
        picture, moved = disturb_half(image, labels, np.random.default_rng(seed))
        if {tuple(colour) for colour in picture.reshape(-1, 3)} == colours:
            as_they_were += 1
            assert all(len(np.unique(picture[moved == k], axis=0)) == 1 for k in np.unique(labels))
    assert 20 <= as_they_were <= 40


@pytest.mark.parametrize("scale, area", [(0.5, 100), (1, 400), (2, 1600)])
def test_crop_magnifies(scale, area):
    labels = np.zeros((128, 128), np.int32)
    labels[54:74, 54:74] = 1
    image = labels.astype(np.uint8)[..., None].repeat(3, axis=-1) * 100
    size = round(128 * scale)  # the whole image, so that all of the nucleus is seen
    image, labels = crop(image, labels, size, np.random.default_rng(0), (scale, scale))
    assert image.shape == (size, size, 3) and labels.shape == (size, size)
    assert labels.sum() == area


def test_weights_draw_some_samples_more_often(squares):
    images, _ = draw_batch(squares, 0, size=64, augment=None, weights=[0, 0, 1, 0])
    assert np.array_equal(images, np.stack([squares[2].image] * 4))


def test_a_batch_holds_each_sample_once_an_epoch(squares):
    options = {"size": 64, "batch_size": 3, "augment": None}
    images = np.concatenate([draw_batch(squares, step, **options)[0] for step in range(2)])
    assert images.shape == (4, 64, 64, 3) and images.dtype == np.float32 and images.max() > 1
    assert {tuple(i.ravel()) for i in images.astype(int)} == {
        tuple(s.image.ravel().astype(int)) for s in squares
    }


def test_squeezed_batches_show_whole_images(squares):
    images, targets = draw_batch(squares, 0, size=32, squeeze=True, shuffle=False)
    assert np.array_equal(images, np.stack([resize_image(s.image, (32, 32)) for s in squares]))
    assert np.array_equal(targets[..., 0], np.stack([resize_labels(s.labels, (32, 32)) > 0 for s in squares]))


def test_draws_depend_on_seed_epoch_and_step_alone(squares):
    def draw(**options):
        return draw_batch(squares, 0, size=32, **options)[0]

    assert np.array_equal(draw(seed=1, epoch=2), draw(seed=1, epoch=2))
    assert not np.array_equal(draw(seed=1, epoch=2), draw(seed=1, epoch=3))
    assert not np.array_equal(draw(seed=1, epoch=2), draw(seed=2, epoch=2))


# --- the pipeline as tf.data runs it --------------------------------------------------------------------


def test_tf_data_gives_what_draw_batch_draws(squares):
    options = {"size": 32, "batch_size": 3, "seed": 5}
    dataset = batches(squares, **options)
    assert dataset.cardinality() == 2
    assert dataset.element_spec[0].shape.as_list() == [None, 32, 32, 3]
    for step, (images, targets) in enumerate(dataset):
        expected = draw_batch(squares, step, **options)
        assert np.array_equal(images, expected[0]) and np.array_equal(targets, expected[1])


@pytest.mark.parametrize(
    "options", [{"size": 48}, {"size": 48, "augment": flip}, {"size": 64, "squeeze": True}]
)
def test_image_and_labels_stay_together_through_tf_data(squares, options):
    def as_they_are(labels):
        return labels[..., None].astype(np.float32)

    dataset = batches(squares, batch_size=2, target=as_they_are, **options)
    pairs = [
        pair for images, targets in dataset for pair in zip(images.numpy(), targets.numpy(), strict=True)
    ]
    assert len(pairs) == 4
    for image, target in pairs:
        assert belong_together(image[..., 0], target[..., 0])


def test_same_seed_same_batches_and_each_epoch_its_own(squares):
    now = 0
    dataset = batches(squares, size=32, epoch=lambda: now)

    def images():
        return np.concatenate([images for images, _ in dataset])

    first, again = images(), images()
    now = 1
    other = images()
    now = 0
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(first, images()), "an epoch can be repeated"


def test_validation_batches_stay_in_order(squares):
    ((images, _),) = batches(squares, size=64, shuffle=False, augment=None)
    assert np.array_equal(images, np.stack([s.image for s in squares]))


def test_normalize_stretches_between_percentiles():
    ramp = np.arange(100, 200).astype(np.uint8).repeat(10)
    image = np.repeat(ramp.reshape(25, 40, 1), 3, axis=-1)
    low, high = np.percentile(image, (1, 99.8))
    stretched = normalize(image)
    assert stretched.dtype == np.uint8 and stretched.min() == 0 and stretched.max() == 255
    expected = np.clip((image - low) / (high - low), 0, 1) * 255
    assert np.abs(stretched - expected).max() <= 0.5


def test_normalize_makes_dim_and_bright_alike():
    image = np.random.default_rng(0).integers(0, 60, (40, 50, 3)).astype(np.uint8)
    assert np.array_equal(normalize(image), normalize(image * 3 + 20))


def test_normalize_keeps_the_order_of_colours_and_blackens_what_is_constant():
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = (10, 20, 90)
    red, green, blue = normalize(image)[0, 0]
    assert red < green < blue
    assert not normalize(np.full((8, 8, 3), 77, np.uint8)).any()


def test_normalized_samples_keep_ids_and_labels(squares):
    (seen, *_), (sample, *_) = normalize_samples(squares), squares
    assert seen.id == sample.id and seen.labels is sample.labels
    assert np.array_equal(seen.image, normalize(sample.image))
