"""A small training of five epochs in the folder named on the command line; test_callbacks kills it.

A second word is the number of devices, processors that stand in for GPUs.
"""

import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from nuclei.data.samples import Sample
from nuclei.training import callbacks
from nuclei.training.batches import batches
from nuclei.training.hardware import seed_everything, strategy
from nuclei.training.unet import compile_unet

folder, devices = Path(sys.argv[1]), int([*sys.argv, 1][2])
one = [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], one * devices)
seed_everything(3)
rng = np.random.default_rng(0)
samples = [
    Sample(str(k), rng.integers(0, 255, (40, 40, 3)).astype(np.uint8), rng.integers(0, 2, (40, 40)))
    for k in range(6)
]
with strategy().scope():
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(1, 1, activation="sigmoid"),
        ]
    )
    compile_unet(network, steps_per_epoch=3, epochs=5, weight_average=0.9, devices=devices)
epoch = callbacks.EpochCounter()
network.fit(
    batches(samples, size=32, batch_size=2, seed=3, epoch=epoch),
    validation_data=batches(samples, size=32, batch_size=2, shuffle=False, augment=None),
    epochs=5,
    verbose=0,
    callbacks=callbacks.training_callbacks(
        folder,
        epoch,
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: print("begins epoch", epoch),
            on_epoch_end=lambda epoch, logs: logs.update(val_score=-logs["val_loss"]),
            on_train_batch_end=lambda batch, logs: time.sleep(0.1),  # time enough to be killed in
        ),
        monitor="val_score",
        average=True,
    ),
)
np.savez(folder / "last.npz", *network.get_weights())
network.load_weights(folder / "best.weights.h5")
np.savez(folder / "best.npz", *network.get_weights())
