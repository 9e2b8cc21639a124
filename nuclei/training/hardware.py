"""Set TensorFlow up for a training: the devices, their precision, reproducible results."""

import keras
import tensorflow as tf


def use_bfloat16() -> None:
    """Let TensorFlow compute convolutions in bfloat16 if the CPU can; weights stay float32."""
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def strategy(devices: int | None = None) -> tf.distribute.Strategy:
    """Return where a training runs: build, load and compile the model in its ``scope()``.

    `devices` is the number of GPUs, or of processors where there is no GPU; by default all. Each gets its
    share of every batch: the training is that of one GPU, but for rounding, where the batches are multiples
    of `devices`. Raises ValueError where there are fewer.
    """
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if (devices or 1) > len(found):
        there = f"{len(found)} {found[0].device_type}"
        raise ValueError(f"devices is {devices}, but {there} was found; use a smaller number, null for all")
    names = [device.name for device in found[:devices]]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def seed_everything(seed: int) -> None:
    """Make the training reproducible: the same seed on the same machine gives the same weights."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
