import numpy as np
import pytest

from nuclei.images.intensity import normalize
from nuclei.images.resizing import resize_image, resize_labels
from nuclei.training.augmentation import flip
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


def test_weights_draw_some_samples_more_often(squares):
    images, _ = draw_batch(squares, 0, size=64, augment=None, weights=[0, 0, 1, 0])
    assert np.array_equal(images, np.stack([squares[2].image] * 4))


def test_an_epoch_of_so_many_steps_has_full_batches(squares):
    options = {"size": 32, "batch_size": 3, "steps": 4}
    assert batches(squares, **options).cardinality() == 4
    assert [len(draw_batch(squares, step, **options)[0]) for step in range(4)] == [3] * 4


def test_crops_bring_nuclei_to_a_wanted_diameter(squares):
    """The squares' nuclei have 63 pixels: a diameter of 9, so twice the scale gives four times the area."""
    images, targets = draw_batch(squares, 0, size=128, diameters=(17.9, 17.9, 17.91))
    assert images.shape == (4, 128, 128, 3)
    assert targets.sum(axis=(1, 2, 3)).tolist() == pytest.approx([4 * 3 * 63] * 4, rel=0.02)


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


@pytest.mark.filterwarnings("ignore:only one grey value")
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
