"""The U-Net (MobileNetV2 encoder, pix2pix decoder): architecture, loss and optimizer."""

import math
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers, ops

LAYERS = (*(f"block_{k}_expand_relu" for k in (1, 3, 6, 13)), "block_16_project")
"""Layers of the encoder whose feature maps the decoder takes, at 1/2 to 1/32 of the image's side."""


def unet(
    *,
    channels: int = 1,
    decoder_filters: tuple[int, int, int, int] = (512, 256, 128, 64),
    detail_filters: int = 0,
    encoder_weights: str | Path | None = "imagenet",
    encoder_trainable: bool = False,
) -> keras.Model:
    """Build a U-Net: (B, H, W, 3) float32 0-255 -> (B, H, W, channels) float32 0-1; sides multiples of 32.

    `channels` are the maps; 1 is the foreground alone. `decoder_filters` are those of the upsampling blocks,
    from the bottom up, `detail_filters` those of a skip connection from the image itself, for sharper edges;
    0 for none. The defaults are as published. `encoder_weights` are "imagenet", a MobileNetV2 ``.weights.h5``
    file, the folder of a model whose encoder is copied, or None for random ones.

    Raises ValueError for a frozen encoder of random weights, or weights that do not fit; FileNotFoundError
    where there is no such file, or the download failed.

    Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015. Sandler et al., "MobileNetV2", CVPR 2018.
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), CVPR 2017.
    """
    check_encoder(encoder_weights, encoder_trainable)
    image = keras.Input((None, None, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)  # the encoder expects [-1, 1]
    *skips, x = _encoder(encoder_weights)(scaled)
    for filters, skip in zip(decoder_filters, reversed(skips), strict=True):
        x = layers.Concatenate()([upsample(filters, 3)(x), skip])
    # 32 bits also in mixed precision: 16 would round probabilities near 1
    last = {"padding": "same", "activation": "sigmoid", "dtype": "float32", "name": "maps"}
    if detail_filters:
        detail = layers.Conv2D(detail_filters, 3, padding="same", activation="relu", name="detail")(scaled)
        x = layers.Concatenate()([upsample(detail_filters, 3)(x), detail])
        x = layers.Conv2D(detail_filters, 3, padding="same", activation="relu", name="sharpen")(x)
        maps = layers.Conv2D(channels, 3, **last)(x)
    else:
        maps = layers.Conv2DTranspose(channels, 3, strides=2, **last)(x)
    model = keras.Model(image, maps, name="unet")
    freeze_encoder(model, not encoder_trainable)
    return model


def check_encoder(encoder_weights: str | Path | None, encoder_trainable: bool) -> None:
    """Raise ValueError or FileNotFoundError as `unet` would, before anything is built."""
    if encoder_weights is None and not encoder_trainable:
        found = "encoder_weights is None and encoder_trainable is False: the encoder would stay random"
        raise ValueError(f'{found}; expected encoder_weights "imagenet" or a path, or encoder_trainable True')
    if encoder_weights in (None, "imagenet"):
        return
    path = Path(encoder_weights)
    if not (file := path / "model.keras" if path.is_dir() else path).is_file():
        expected = 'expected "imagenet", the path of a MobileNetV2 .weights.h5 file, or a model folder'
        raise FileNotFoundError(f"encoder_weights: no file {str(file)!r}, {expected}")


def upsample(filters: int, size: int) -> keras.Sequential:
    """Return the pix2pix block: transposed convolution with stride 2, batch normalisation, ReLU.

    It is the one of `tensorflow_examples` if that is installed, and an identical one otherwise.
    """
    try:
        from tensorflow_examples.models.pix2pix.pix2pix import upsample as pix2pix_upsample
    except ImportError:
        normal = keras.initializers.RandomNormal(0.0, 0.02)
        options = {"strides": 2, "padding": "same", "kernel_initializer": normal, "use_bias": False}
        up = layers.Conv2DTranspose(filters, size, **options)
        return keras.Sequential([up, layers.BatchNormalization(), layers.ReLU()])
    return pix2pix_upsample(filters, size)


def freeze_encoder(model: keras.Model, frozen: bool = True) -> None:
    """Freeze the encoder of `model`, or train all of it but batch normalisation; compile afterwards."""
    encoder = model.get_layer("encoder")
    encoder.trainable = not frozen
    for layer in _batch_normalisations(encoder):
        layer.trainable = False  # statistics of a few small batches would be worse


def set_momentum(model: keras.Model, momentum: float) -> None:
    """Let every batch normalisation that is trained remember about 1 / (1 - `momentum`) batches."""
    for layer in _batch_normalisations(model):
        layer.momentum = momentum


def _batch_normalisations(model: keras.Model) -> list[layers.BatchNormalization]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]


def _encoder(weights: str | Path | None) -> keras.Model:
    """Return MobileNetV2 without its top: (B, H, W, 3) -> the five feature maps of `LAYERS`."""
    from_model = weights not in (None, "imagenet") and Path(weights).is_dir()
    own = None if weights is None or from_model else str(weights)
    try:
        backbone = keras.applications.MobileNetV2(input_shape=(None, None, 3), include_top=False, weights=own)
        outputs = [backbone.get_layer(name).output for name in LAYERS]
        encoder = keras.Model(backbone.input, outputs, name="encoder")
        if weights and from_model:
            trained = keras.saving.load_model(Path(weights) / "model.keras", compile=False)
            encoder.set_weights(trained.get_layer("encoder").get_weights())
    except Exception as error:  # Keras raises a bare Exception where the download fails
        if weights == "imagenet":
            found = f'encoder_weights: "imagenet" could not be downloaded ({error})'
            raise FileNotFoundError(f"{found}; fetch the file elsewhere and pass its path") from error
        found = f"encoder_weights: {str(weights)!r} does not hold MobileNetV2 weights ({error})"
        expected = "expected a .weights.h5 file of Keras's MobileNetV2, no top, or the folder of a U-Net"
        raise ValueError(f"{found}, {expected}") from error
    return encoder


def compile_unet(
    model: keras.Model,
    *,
    steps_per_epoch: int,
    epochs: int,
    learning_rate: float = 0.001,
    warmup_epochs: int = 0,
    decay_epochs: int | None = None,
    weight_average: float = 0.0,
    weight_decay: float = 0.0,
    edge_weight: float = 0.0,
    devices: int = 1,
) -> None:
    """Compile the U-Net with Adam at the rate of `schedule`, its loss, and pixel accuracy as metric.

    One map has the binary cross-entropy, two have `instance_loss`. `weight_average` is the memory of an
    exponential moving average of the weights, such as 0.998; 0 for none. Each step takes the learning rate
    times `weight_decay` off every kernel, as a fraction; 0 for none (Loshchilov and Hutter, "Decoupled Weight
    Decay Regularization", ICLR 2019). `devices` is how many share a batch: it is normalised as a whole.
    """
    for layer in _batch_normalisations(model):
        layer.synchronized = devices > 1
    average = {"use_ema": True, "ema_momentum": weight_average} if weight_average else {}
    rate = schedule(learning_rate, steps_per_epoch, epochs, warmup_epochs, decay_epochs)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0, weight_decay=weight_decay or None, **average)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer,
        loss="binary_crossentropy" if model.output_shape[-1] == 1 else instance_loss(edge_weight),
        metrics=[accuracy],
    )


def instance_loss(edge_weight: float = 0.0) -> Callable:
    """Return an edge-weighted loss for two maps: function (target, maps), (B, H, W, 2) each -> (B,) float32.

    It is the sum over both maps of the binary cross-entropy and the soft Dice loss (Milletari et al.,
    "V-Net", 3DV 2016). In the former a pixel at most two pixels from an edge of its map counts 1 +
    `edge_weight` times, and in the second map where nuclei touch 1 + 2 `edge_weight` times. That is for maps
    of 0 and 1: in a map of distances, every pixel counts the more, the more its surroundings differ.
    """

    def loss(target, maps):
        # Keras clips at 1 - 1e-7, which is 1 in bfloat16: the logarithm of 0 would ruin the training
        hit, miss = ops.log(maps + 0.005), ops.log(1 - maps + 0.005)
        foreground, inner = target[..., :1], target[..., 1:]
        edges = _maximum(target) + _maximum(-target)
        contacts = -_maximum(-foreground) * (1 - inner)  # amid foreground, where the second map is low
        weight = 1 + edge_weight * (edges + ops.concatenate([ops.zeros_like(foreground), contacts], axis=-1))
        cross_entropy = -weight * (target * hit + (1 - target) * miss)
        cross_entropy = ops.sum(cross_entropy, axis=(1, 2)) / ops.sum(weight, axis=(1, 2))
        overlap = 2 * ops.sum(target * maps, axis=(1, 2)) + 1
        dice = 1 - overlap / (ops.sum(target**2, axis=(1, 2)) + ops.sum(maps**2, axis=(1, 2)) + 1)
        return ops.sum(cross_entropy + dice, axis=-1)

    return loss


def _maximum(maps):
    """(B, H, W, C) -> the same shape: the maximum of the surrounding 5 x 5 pixels."""
    return ops.max_pool(maps, 5, strides=1, padding="same")


@keras.saving.register_keras_serializable("nuclei")
def accuracy(target, maps):
    """Return where the foreground is right at a threshold of 0.5: (B, H, W) float32, 1 or 0."""
    return ops.cast(ops.equal(target[..., 0] > 0.5, maps[..., 0] > 0.5), "float32")


def schedule(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: int = 0,
    decay_epochs: int | None = None,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a learning rate that rises from a hundredth for `warmup_epochs`, then falls to 0 along a cosine.

    Without warm-up it is constant. With `decay_epochs` it stays high between the warm-up and these last
    epochs, in which it falls along a cosine to a fiftieth.
    """
    if decay_epochs is not None:
        steps = [count * steps_per_epoch for count in (epochs, warmup_epochs, decay_epochs)]
        return _RiseHoldDecay(learning_rate, *steps)
    if not warmup_epochs:
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 100,
        decay_steps=(epochs - warmup_epochs) * steps_per_epoch,
        warmup_target=learning_rate,
        warmup_steps=warmup_epochs * steps_per_epoch,
    )


@keras.saving.register_keras_serializable("nuclei")
class _RiseHoldDecay(keras.optimizers.schedules.LearningRateSchedule):
    """See `schedule`; all times are in steps."""

    def __init__(self, rate: float, steps: int, warmup_steps: int, decay_steps: int):
        super().__init__()
        self.values = {"rate": rate, "steps": steps, "warmup_steps": warmup_steps, "decay_steps": decay_steps}

    def __call__(self, step):
        rate, steps, warmup_steps, decay_steps = self.values.values()
        step = ops.cast(step, "float32")
        rise = 0.01 + 0.99 * ops.clip(step / warmup_steps, 0, 1) if warmup_steps else 1.0
        done = ops.clip((step - (steps - decay_steps)) / max(decay_steps, 1), 0, 1)
        fall = 0.02 + 0.98 * (1 + ops.cos(math.pi * done)) / 2
        return rate * rise * fall

    def get_config(self):
        return self.values
