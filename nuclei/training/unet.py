"""The U-Net: a MobileNetV2 encoder that knows ImageNet, and a pix2pix-style decoder."""

from pathlib import Path

import keras
import tensorflow as tf
from keras import layers, ops

# Where the encoder's feature maps branch off to the decoder, from fine to coarse; at an input of
# 128 x 128 pixels they have sides of 64, 32, 16, 8, and 4 at the bottom.
SKIPS = ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu")

BOTTOM = "block_16_project"


def unet(
    *,
    channels: int = 1,
    decoder_filters: tuple[int, int, int, int] = (512, 256, 128, 64),
    detail_filters: int = 0,
    momentum: float = 0.99,
    encoder_weights: str | Path | None = "imagenet",
    encoder_trainable: bool = False,
) -> keras.Model:
    """Build the U-Net, new in every layer.

    Parameters
    ----------
    channels : int
        Maps that come out: 1 = foreground alone, as published.
    decoder_filters : four ints
        Filters of the upsample blocks, from the bottom up.
    detail_filters : int
        Filters of a last skip at full resolution, from the image itself: edges come out sharper. 0 leaves it
        out, as published; the map of half the size is then doubled at once.
    momentum : float
        Of the batch normalisation: its memory, in batches, is about 1 / (1 - momentum). It has no effect in
        the encoder, whose batch normalisation does not learn.
    encoder_weights : "imagenet", path or None
        "imagenet" downloads Keras' MobileNetV2 weights once; a path is a ``.weights.h5`` file of the same
        architecture; None starts from random numbers.
    encoder_trainable : bool
        Whether the encoder learns too. Its batch normalisation keeps the statistics it came with either way:
        those of a few small batches would be worse.

    Returns
    -------
    keras.Model
        (B, H, W, 3) float32 0-255 -> (B, H, W, channels) float32 0-1; H and W multiples of 32.

    Raises
    ------
    ValueError
        A frozen encoder without weights (it would be frozen noise), or weights that do not fit.
    FileNotFoundError
        The weights file is not there, or cannot be downloaded.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015. Sandler et al., "MobileNetV2", CVPR 2018.
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), CVPR 2017.
    """
    check_encoder(encoder_weights, encoder_trainable)
    image = keras.Input((None, None, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)  # the encoder wants [-1, 1]
    *skips, x = _encoder(encoder_weights)(scaled)
    for filters, skip in zip(decoder_filters, reversed(skips), strict=True):
        x = layers.Concatenate()([upsample(filters, 3)(x), skip])
    last = {"padding": "same", "activation": "sigmoid", "name": "maps"}
    if detail_filters:
        detail = layers.Conv2D(detail_filters, 3, padding="same", activation="relu", name="detail")(scaled)
        x = layers.Concatenate()([upsample(detail_filters, 3)(x), detail])
        x = layers.Conv2D(detail_filters, 3, padding="same", activation="relu", name="sharpen")(x)
        maps = layers.Conv2D(channels, 3, **last)(x)
    else:
        maps = layers.Conv2DTranspose(channels, 3, strides=2, **last)(x)
    model = keras.Model(image, maps, name="unet")
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
    freeze_encoder(model, not encoder_trainable)
    return model


def check_encoder(encoder_weights: str | Path | None, encoder_trainable: bool) -> None:
    """Raise what `unet` would raise for an encoder that cannot be: ValueError or FileNotFoundError."""
    if encoder_weights is None and not encoder_trainable:
        raise ValueError(
            "encoder_weights is None and encoder_trainable is False: the encoder would stay random noise. "
            'Expected encoder_weights "imagenet" or a path, or encoder_trainable True.'
        )
    if encoder_weights not in (None, "imagenet") and not Path(encoder_weights).is_file():
        raise FileNotFoundError(
            f"encoder_weights: no file {str(encoder_weights)!r}. "
            'Expected "imagenet" or the path of a MobileNetV2 .weights.h5 file.'
        )


def upsample(filters: int, size: int) -> keras.Sequential:
    """Return the pix2pix block: transposed convolution with stride 2, batch normalisation, ReLU.

    It is `tensorflow_examples`' own where that package is installed, else an equal one.
    """
    try:
        from tensorflow_examples.models.pix2pix.pix2pix import upsample as pix2pix_upsample
    except ImportError:
        return keras.Sequential(
            [
                layers.Conv2DTranspose(
                    filters,
                    size,
                    strides=2,
                    padding="same",
                    kernel_initializer=keras.initializers.RandomNormal(0.0, 0.02),
                    use_bias=False,
                ),
                layers.BatchNormalization(),
                layers.ReLU(),
            ]
        )
    return pix2pix_upsample(filters, size)


def freeze_encoder(model: keras.Model, frozen: bool = True) -> None:
    """Let the encoder of `model` learn, or not; its batch normalisation never does. Compile afterwards."""
    encoder = model.get_layer("encoder")
    encoder.trainable = not frozen
    for layer in encoder.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _encoder(weights: str | Path | None) -> keras.Model:
    """Return MobileNetV2 cut at its skips: (B, H, W, 3) -> five feature maps, fine to coarse."""
    try:
        backbone = keras.applications.MobileNetV2(
            input_shape=(None, None, 3), include_top=False, weights=None if weights is None else str(weights)
        )
    except Exception as error:  # Keras raises a bare Exception where the download fails
        if weights == "imagenet":
            raise FileNotFoundError(
                f'encoder_weights: "imagenet" could not be downloaded ({error}). Fetch the file on a machine '
                "with internet access and pass its path as encoder_weights, or put it into ~/.keras/models/."
            ) from error
        raise ValueError(
            f"encoder_weights: {str(weights)!r} does not hold MobileNetV2 weights ({error}). "
            "Expected a .weights.h5 file of keras.applications.MobileNetV2 without its top."
        ) from error
    outputs = [backbone.get_layer(name).output for name in (*SKIPS, BOTTOM)]
    return keras.Model(backbone.input, outputs, name="encoder")


def instance_loss(edge_weight: float = 0.0):
    """Return the loss of the foreground and of a second map: what the instance model is trained with.

    Parameters
    ----------
    edge_weight : float
        How much more a pixel counts in the cross-entropy that lies at most two pixels from an edge of its
        map; in the second map twice that where two nuclei touch, too far from the background for the first
        map to have an edge. 0 weighs all alike.

    Returns
    -------
    function (target, maps) -> (B,) float32
        `target` and `maps` are (B, H, W, 2) float32, 0-1: the foreground, and a map of each nucleus's inner
        part. The loss is the sum over both of the binary cross-entropy and of the soft Dice loss (Milletari
        et al., "V-Net", 3DV 2016), which weighs few nuclei as much as many.
    """

    def loss(target, maps):
        # bfloat16 cannot tell 1 - 1e-7, Keras' own bound, from 1, and the logarithm of 0 ends a training
        hit, miss = ops.log(maps + 0.005), ops.log(1 - maps + 0.005)
        weight = 1 + edge_weight * (_edges(target) + _contacts(target))
        cross_entropy = -weight * (target * hit + (1 - target) * miss)
        cross_entropy = ops.sum(cross_entropy, axis=(1, 2)) / ops.sum(weight, axis=(1, 2))
        overlap = 2 * ops.sum(target * maps, axis=(1, 2)) + 1
        dice = 1 - overlap / (ops.sum(target**2, axis=(1, 2)) + ops.sum(maps**2, axis=(1, 2)) + 1)
        return ops.sum(cross_entropy + dice, axis=-1)

    return loss


def _edges(maps):
    """(B, H, W, C) of 0 to 1 -> the same shape: largest minus smallest of the 5 x 5 pixels around."""
    return _largest(maps) + _largest(-maps)


def _largest(maps):
    """(B, H, W, C) -> the same shape: the largest of the 5 x 5 pixels around."""
    return ops.max_pool(maps, 5, strides=1, padding="same")


def _contacts(target):
    """(B, H, W, 2) -> the same shape, 0 to 1: in the second map, how low it is amid foreground alone."""
    foreground, inner = target[..., :1], target[..., 1:]
    all_around = -_largest(-foreground)
    return ops.concatenate([ops.zeros_like(foreground), all_around * (1 - inner)], axis=-1)


@keras.saving.register_keras_serializable("nuclei")
def accuracy(target, maps):
    """Return where the foreground is called rightly at 0.5: (B, H, W) float32, 0 or 1."""
    return ops.cast(ops.equal(target[..., 0] > 0.5, maps[..., 0] > 0.5), "float32")


def schedule(learning_rate: float, steps_per_epoch: int, epochs: int, warmup_epochs: int = 0):
    """Return a learning rate for an optimizer: rising for `warmup_epochs`, then falling to 0 along a cosine.

    With `warmup_epochs` 0 it stays the same throughout.
    """
    if not warmup_epochs:
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 100,
        decay_steps=(epochs - warmup_epochs) * steps_per_epoch,
        warmup_target=learning_rate,
        warmup_steps=warmup_epochs * steps_per_epoch,
    )


def use_bfloat16() -> None:
    """Let TensorFlow compute convolutions in bfloat16, where the CPU has instructions for it.

    Weights stay float32. With AMX instructions a training step takes half the time.
    """

    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def seed_everything(seed: int) -> None:
    """Make what follows repeatable: same seed, same machine, same weights after training."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
