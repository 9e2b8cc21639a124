import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from nuclei.training import callbacks
from nuclei.training.callbacks import (
    EpochCounter,
    InstanceScore,
    PredictionPlot,
    delete_backup,
    training_callbacks,
)

TRAINING = Path(__file__).parent / "training_to_kill.py"


def tiny_model():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[keras.metrics.BinaryAccuracy(name="accuracy")])
    return model


def fit(model, folder, epochs, *more, **options):
    x, y = np.zeros((4, 8, 8, 3)), np.zeros((4, 8, 8, 1))
    listed = training_callbacks(folder, *more, **options)
    model.fit(x, y, validation_data=(x, y), epochs=epochs, callbacks=listed, verbose=0)


def test_a_training_leaves_its_log_its_best_weights_and_a_backup(tmp_path):
    fit(tiny_model(), tmp_path, 2)
    files = {"best.weights.h5", "history.csv", "logs", "parameters.json"}
    assert {p.name for p in tmp_path.iterdir()} == files | {".backup"}
    delete_backup(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == files
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["epoch"].tolist() == [0, 1] and {"accuracy", "val_accuracy", "loss"} <= set(history)
    assert list((tmp_path / "logs" / "validation").glob("events.out.tfevents.*")), "for TensorBoard"


def test_without_tensorflow_a_training_has_all_callbacks_but_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else name)
    kinds = [type(each).__name__ for each in training_callbacks(tmp_path)]
    assert "TensorBoard" not in kinds and {"CSVLogger", "ModelCheckpoint", "BackupAndRestore"} <= {*kinds}


def test_the_average_of_the_weights_is_validated_kept_and_not_trained_on(tmp_path):
    model = tiny_model()
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5), "binary_crossentropy")
    trained, averaged = [], []
    in_training = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: trained.append(model.get_weights()[1].item())
    )
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: averaged.append(model.get_weights()[1].item())
    )
    score = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(val_score=-logs["val_loss"])
    )
    fit(model, tmp_path, 4, in_training, seen, score, average=True, monitor="val_score")
    expected, mean = [], trained[0]
    for bias in trained:
        mean = (mean + bias) / 2
        expected.append(mean)
    assert averaged == pytest.approx(expected, rel=1e-5)
    model.load_weights(tmp_path / "best.weights.h5")
    assert model.get_weights()[1].item() == pytest.approx(expected[-1], rel=1e-5)


def test_a_training_that_stopped_early_is_not_continued(tmp_path):
    for _ in range(2):
        model = tiny_model()
        model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy", metrics=["accuracy"])
        fit(model, tmp_path, 9, patience=2)
        assert len(pd.read_csv(tmp_path / "history.csv")) == 3


def test_a_log_that_no_training_wrote_is_not_replaced(tmp_path):
    (tmp_path / "history.csv").write_text("mine")
    with pytest.raises(ValueError, match="holds history.csv, which no training wrote"):
        training_callbacks(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]


@pytest.mark.parametrize("average", [False, True])
def test_until_its_backup_is_deleted_a_finished_training_is_not_repeated(tmp_path, average):
    def trained():
        model = tiny_model()
        optimizer = keras.optimizers.SGD(0.5, use_ema=average, ema_momentum=0.5)
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        fit(model, tmp_path, 2, average=average)
        model.load_weights(tmp_path / "best.weights.h5")
        return pd.read_csv(tmp_path / "history.csv"), model.get_weights()

    history, weights = trained()
    again, kept = trained()
    assert again.equals(history) and all(map(np.array_equal, weights, kept))
    delete_backup(tmp_path)
    fit(tiny_model(), tmp_path, 1)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1


def test_an_interrupted_training_does_not_resume_with_other_parameters(tmp_path):
    training_callbacks(tmp_path, parameters={"epochs": 2, "size": [1, 2]})
    (tmp_path / ".backup").mkdir()
    training_callbacks(tmp_path, parameters={"epochs": 2, "size": (1, 2)})
    with pytest.raises(ValueError, match=r"interrupted training with other parameters \(epochs, seed\)"):
        training_callbacks(tmp_path, parameters={"epochs": 3, "size": [1, 2], "seed": 0})


def test_training_stops_when_patience_ends(tmp_path):
    fit(
        tiny_model(), tmp_path, 20, patience=3, monitor="val_accuracy"
    )  # accuracy stays 1 from the start, or rises to it
    history = pd.read_csv(tmp_path / "history.csv")
    assert len(history) == history["val_accuracy"].idxmax() + 1 + 3


def test_early_stopping_counts_the_epochs_before_the_interruption():
    stopping = callbacks.EarlyStopping(past=[0.5, 0.9, 0.8], monitor="val_accuracy", mode="max", patience=5)
    stopping.set_model(tiny_model())
    stopping.on_train_begin()
    assert (stopping.best, stopping.wait) == (0.9, 1)


def test_epoch_counter(tmp_path):
    seen, counter = [], EpochCounter()
    note = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(counter()))
    fit(tiny_model(), tmp_path, 3, counter, note)
    assert seen == [0, 1, 2]


def test_predictions_are_drawn_at_the_epochs_asked_for(tmp_path, capsys):
    images, targets = np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 8, 8, 1), np.float32)
    shown = []
    drawing = PredictionPlot(
        images, targets, [1, 3, 10, 20], tmp_path / "plot", titles=list("ab"), show=shown.append
    )
    fit(tiny_model(), tmp_path, 4, drawing)
    assert {p.name for p in (tmp_path / "plot").iterdir()} == {
        "epoch1_predictions.png",
        "epoch3_predictions.png",
    }
    assert len(shown) == 2 and [axis.get_ylabel() for axis in shown[0].axes[::4]] == ["a", "b"]
    assert "no predictions were drawn for epochs [10, 20]" in capsys.readouterr().out


# --- a training that is killed --------------------------------------------------------------------------


def train(folder, devices=1, kill_after=None):
    """Run a training, or kill it amid the epoch that follows so many; return what it printed."""
    command = [sys.executable, TRAINING, folder, str(devices)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = folder / "history.csv"
    while kill_after and process.poll() is None:
        if log.exists() and log.read_text().count("\n") > kill_after:
            process.kill()
        time.sleep(0.01)
    printed = process.communicate()[0]
    assert process.returncode == (-9 if kill_after else 0), printed
    return printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_training_ends_with_the_weights_it_would_have_had(tmp_path, whole, kill_after):
    train(tmp_path, kill_after=kill_after)
    epochs_run = train(tmp_path).count("begins epoch")
    assert 5 - kill_after <= epochs_run <= 5 - kill_after + 1, "at most one epoch is repeated"
    pd.testing.assert_frame_equal(*(pd.read_csv(run / "history.csv") for run in (whole, tmp_path)))
    for name in ("last.npz", "best.npz"):
        a, b = (np.load(run / name) for run in (whole, tmp_path))
        assert all(np.array_equal(a[key], b[key]) for key in a.files)


def test_two_devices_train_as_one_does_also_after_a_kill(tmp_path, whole):
    train(tmp_path, devices=2, kill_after=2)
    assert train(tmp_path, devices=2).count("begins epoch") in (3, 4)
    one, two = (pd.read_csv(run / "history.csv") for run in (whole, tmp_path))
    assert one["loss"].nunique() == 5
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


class Oracle:
    """A stand-in for a network that predicts the truth with some probability."""

    def __init__(self, labels, probability):
        foreground = np.stack(labels)[..., None] > 0
        self.maps = np.repeat(foreground * np.float32(probability), 2, axis=-1)

    def predict(self, images, **options):
        assert images.shape == (len(self.maps), 64, 64, 3)
        return self.maps


@pytest.mark.parametrize("probability, score", [(1, 1), (0.55, 1), (0.3, 0)])
def test_the_instance_score_counts_nuclei_at_the_best_threshold(squares, probability, score):
    callback = InstanceScore(squares, 64)
    callback.set_model(Oracle([s.labels for s in squares], probability))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == {"val_score": score}
