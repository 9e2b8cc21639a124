import json
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from nuclei.figures import diagram
from nuclei.training.batches import draw_batch
from nuclei.training.hardware import seed_everything
from nuclei.training.iou_network import MEMBERS, fit_iou_network, iou_network
from nuclei.training.targets import interior_target
from nuclei.training.unet import (
    compile_unet,
    freeze_encoder,
    instance_loss,
    schedule,
    set_momentum,
    unet,
    upsample,
)


def test_the_learning_rate_rises_then_falls():
    rate = schedule(0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1)
    assert [float(rate(step)) for step in (0, 5, 10, 30, 50)] == pytest.approx(
        [0.001, 0.0505, 0.1, 0.05, 0],
        abs=1e-6,  # halfway up, at the top, halfway down, at the end
    )
    assert schedule(0.1, 10, 5) == 0.1


def test_the_learning_rate_may_stay_high_until_the_last_epochs():
    rate = schedule(0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1, decay_epochs=2)
    steps = (0, 5, 10, 30, 40, 50)  # halfway up, at the top, where the decay begins, halfway down, at the end
    assert [float(rate(step)) for step in steps] == pytest.approx([0.001, 0.0505, 0.1, 0.1, 0.051, 0.002])
    assert float(schedule(0.1, 10, 5, decay_epochs=2)(0)) == pytest.approx(0.1)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(40)) == float(rate(40))


@pytest.fixture(scope="module")
def small_unet():
    """A whole U-Net with a narrow decoder and random weights."""
    keras.utils.set_random_seed(0)
    return unet(encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 8, 8))


def described(block):
    """Class and configuration of each layer, as far as tests/training/pix2pix_upsample.json tells it."""
    expected = json.loads((Path(__file__).parent / "pix2pix_upsample.json").read_text())
    found = []
    for layer, (_, keys) in zip(block.layers, expected, strict=True):
        config = json.loads(json.dumps(layer.get_config()))
        values = {key: config[key] for key in keys}
        if "kernel_initializer" in values:
            initializer = config["kernel_initializer"]
            values["kernel_initializer"] = [initializer["class_name"], initializer["config"]]
        found.append([type(layer).__name__, values])
    return found, expected


def test_upsample_is_the_pix2pix_block():
    found, expected = described(upsample(64, 3))
    assert found == expected


def test_tensorflow_examples_own_block_is_used_where_it_is_installed(monkeypatch):
    asked = []
    package = "tensorflow_examples"
    for name in (
        package,
        f"{package}.models",
        f"{package}.models.pix2pix",
        f"{package}.models.pix2pix.pix2pix",
    ):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[name].upsample = lambda filters, size: asked.append((filters, size))
    upsample(64, 3)
    assert asked == [(64, 3)]


def test_tensorflow_examples_own_block_is_the_same():
    pix2pix = pytest.importorskip("tensorflow_examples.models.pix2pix.pix2pix")
    found, expected = described(pix2pix.upsample(64, 3))
    assert found == expected


def test_the_published_network_has_its_size():
    network = unet(encoder_weights=None, encoder_trainable=True)
    assert network.count_params() == 6_501_345
    freeze_encoder(network)
    assert (
        sum(w.size if hasattr(w, "size") else np.prod(w.shape) for w in network.trainable_weights)
        == 4_657_441
    )


@pytest.mark.parametrize("shape", [(32, 32), (64, 96)])
def test_maps_are_as_large_as_the_image(small_unet, shape):
    maps = small_unet(np.zeros((1, *shape, 3), np.float32))
    assert maps.shape == (1, *shape, 1)
    assert 0 <= np.min(maps) and np.max(maps) <= 1


@pytest.mark.parametrize("detail_filters", [0, 8])
def test_the_drawing_tells_the_sizes_of_the_network(detail_filters):
    network = unet(encoder_weights=None, encoder_trainable=True, detail_filters=detail_filters, channels=2)
    (axis,) = diagram.architecture(network, 64).axes
    texts = {text.get_text() for text in axis.texts}
    assert {"32 × 32 × 96", "2 × 2 × 320", "4 × 4 × 512", "32 × 32 × 64"} <= texts
    assert "probability maps\n64 × 64 × 2" in texts


def test_the_image_itself_reaches_the_last_layers():
    network = unet(encoder_weights=None, encoder_trainable=True, detail_filters=8, channels=2)
    assert network(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32, 64, 2)
    assert network.get_layer("detail").input is network.get_layer("rescaling").output


def test_raw_pixels_are_scaled_inside_the_model(small_unet):
    scaled = small_unet.get_layer("rescaling")(np.array([[[[0.0, 127.5, 255.0]]]], np.float32))
    assert np.allclose(scaled, [[[[-1, 0, 1]]]])


def test_two_models_share_no_layer(small_unet):
    def layers(network):
        return {id(layer) for layer in network._flatten_layers()}

    assert not layers(small_unet) & layers(unet(encoder_weights=None, encoder_trainable=True))


def test_freezing_the_encoder(small_unet):
    def encoder_learns():
        return {w.path.split("/")[0] for w in small_unet.get_layer("encoder").trainable_weights}

    freeze_encoder(small_unet, True)
    assert not encoder_learns()
    freeze_encoder(small_unet, False)
    assert "Conv1" in encoder_learns() and not any(name.lower().endswith("bn") for name in encoder_learns())


def test_encoder_weights_come_from_a_file(tmp_path):
    keras.utils.set_random_seed(1)
    backbone = keras.applications.MobileNetV2(input_shape=(None, None, 3), include_top=False, weights=None)
    backbone.save_weights(tmp_path / "encoder.weights.h5")
    network = unet(encoder_weights=tmp_path / "encoder.weights.h5")
    loaded = network.get_layer("encoder").get_layer("Conv1").get_weights()[0]
    assert np.array_equal(loaded, backbone.get_layer("Conv1").get_weights()[0])


def test_the_encoder_of_another_model_is_copied(small_unet, tmp_path):
    small_unet.save(tmp_path / "model.keras")
    network = unet(encoder_weights=tmp_path)
    same = zip(
        network.get_layer("encoder").get_weights(), small_unet.get_layer("encoder").get_weights(), strict=True
    )
    assert all(np.array_equal(own, other) for own, other in same)
    assert not network.get_layer("encoder").trainable_weights


@pytest.mark.parametrize("channels, loss", [(1, "binary_crossentropy"), (2, None)])
def test_the_loss_follows_from_the_maps(channels, loss):
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(channels, 1)])
    compile_unet(network, steps_per_epoch=2, epochs=3, weight_average=0.9)
    assert (network.loss == loss) == (loss is not None)
    assert network.optimizer.use_ema and network.optimizer.ema_momentum == 0.9


def test_weight_decay_shrinks_kernels_alone():
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(1, 1, bias_initializer="ones")])
    compile_unet(network, steps_per_epoch=1, epochs=1, learning_rate=0.1, weight_decay=0.5)
    kernel, bias = network.get_weights()
    variables = network.trainable_variables
    network.optimizer.apply([keras.ops.zeros_like(each) for each in variables], variables)
    np.testing.assert_allclose(network.get_weights()[0], kernel * (1 - 0.1 * 0.5), rtol=1e-6)
    assert (network.get_weights()[1] == bias).all()


def test_one_batch_can_be_learned_by_heart(squares):
    seed_everything(0)
    network = unet(encoder_weights=None, encoder_trainable=True, decoder_filters=(32, 16, 16, 16))
    set_momentum(network, 0.5)  # sixty steps are few for a running mean
    network.compile(keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    images, targets = draw_batch(squares, 0, size=64, augment=None)
    before = network.evaluate(images, targets, verbose=0)
    network.fit(images, targets, epochs=60, verbose=0)
    predicted = network.predict(images, verbose=0) > 0.5
    assert network.evaluate(images, targets, verbose=0) < before / 5
    assert np.mean(predicted == (targets > 0.5)) > 0.97


# --- bad input ------------------------------------------------------------------------------------------


def test_a_frozen_encoder_without_weights_is_refused():
    with pytest.raises(ValueError, match="encoder_weights is None and encoder_trainable is False"):
        unet(encoder_weights=None)


def test_missing_encoder_weights():
    with pytest.raises(FileNotFoundError, match="encoder_weights: no file 'nowhere.weights.h5'"):
        unet(encoder_weights="nowhere.weights.h5")


def test_weights_of_something_else(tmp_path):
    (tmp_path / "other.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="other.weights.h5' does not hold MobileNetV2 weights"):
        unet(encoder_weights=tmp_path / "other.weights.h5")


def test_a_model_whose_encoder_cannot_be_copied(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="encoder_weights: .* does not hold .* or the folder of a U-Net"):
        unet(encoder_weights=tmp_path)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="encoder_weights: .* does not hold .*No such layer: encoder"):
        unet(encoder_weights=tmp_path)


def test_imagenet_without_network(monkeypatch):
    def unreachable(*_, **__):
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    with pytest.raises(FileNotFoundError, match='"imagenet" could not be downloaded.*pass its path'):
        unet(encoder_weights="imagenet")


def square(side=16, corner=4, size=8):
    target = np.zeros((1, side, side, 2), np.float32)
    target[0, corner : corner + size, corner : corner + size] = 1
    return target


def test_the_loss_of_a_guess_is_the_sum_of_its_parts_over_both_maps():
    target = square()
    maps = np.full(target.shape, 0.5, np.float32)
    cross_entropy = -np.log(0.505)
    dice = 1 - (2 * 64 * 0.5 + 1) / (64 + 256 * 0.25 + 1)
    loss = np.asarray(instance_loss()(target, maps))
    assert loss.shape == (1,) and loss[0] == pytest.approx(2 * (cross_entropy + dice), rel=1e-5)


def test_no_maps_lose_less_than_the_target():
    target = square()
    for edge_weight in (0, 4):
        loss = instance_loss(edge_weight)
        perfect = float(loss(target, target)[0])
        assert -0.01 < perfect < 0.001  # log(1.005) below 0 for each map
        assert perfect < float(loss(target, np.clip(target, 0.1, 0.9))[0])


def test_an_error_at_the_edge_weighs_more_where_edges_do():
    target = square(32, 8, 16)
    at_edge, inside = target.copy(), target.copy()
    at_edge[0, 8, 16, 0] = inside[0, 16, 16, 0] = 0
    alike, weighed = instance_loss(), instance_loss(edge_weight=4)
    assert float(alike(target, at_edge)[0]) == pytest.approx(float(alike(target, inside)[0]))
    assert float(weighed(target, at_edge)[0]) > float(weighed(target, inside)[0]) + 0.01


def test_the_line_between_two_nuclei_weighs_most():
    labels = np.zeros((32, 32), int)
    labels[4:28, 4:16], labels[4:28, 16:28] = 1, 2
    target = interior_target(labels)[None]
    assert target[0, 16, 12:20, 1].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    between, beside, loss = target.copy(), target.copy(), instance_loss(edge_weight=4)
    between[0, 12:20, 15, 1] = 1
    beside[0, 12:20, 4, 1] = 1
    assert float(loss(target, between)[0]) > float(loss(target, beside)[0]) > float(loss(target, target)[0])


def test_the_iou_network_learns_what_features_tell():
    rng = np.random.default_rng(0)
    features = [rng.normal(50, 9, (count, 3)).astype(np.float32) for count in (400, 300, 0, 500)]
    ious = [1 / (1 + np.exp(-(each[:, 0] - 50) / 9)) for each in features]
    network = fit_iou_network(features, ious)
    unseen = rng.normal(50, 9, (200, 3)).astype(np.float32)
    predicted = np.asarray(network(unseen))
    assert predicted.shape == (200, MEMBERS) and predicted.min() >= 0 and predicted.max() <= 1
    true = 1 / (1 + np.exp(-(unseen[:, 0] - 50) / 9))
    assert all(np.corrcoef(member, true)[0, 1] > 0.95 for member in predicted.T)
    assert (np.ptp(predicted, axis=1) > 0).all(), "each member starts from weights of its own"
    again = fit_iou_network(features, ious)
    np.testing.assert_array_equal(np.asarray(again(unseen)), predicted)
    far = np.float32([[50, 50, 1e6], [50, 50, 1e9]])
    first, second = np.asarray(network(far))
    assert np.array_equal(first, second), "beyond what it knows, it stops at the edge of that"


def test_how_much_an_image_counts():
    alike = [np.zeros((count, 2), np.float32) for count in (100, 900)]
    ious = [np.ones(100), np.zeros(900)]
    network = iou_network(np.concatenate(alike), members=1)
    for _ in range(6):  # until nothing changes any more
        network = fit_iou_network(alike, ious, network=network)
    expected = 10 / (10 + 30)  # the roots of 100 and 900
    assert np.asarray(network(alike[0][:1])) == pytest.approx(expected, abs=0.03)


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no candidates to train on"):
        fit_iou_network([np.zeros((0, 3))], [np.zeros(0)])
