"""Callbacks: keep the best weights, stop early, log, back up, draw predictions."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from keras import callbacks

from nuclei.common import replacing, write_json
from nuclei.data.samples import Sample
from nuclei.evaluation import tuning
from nuclei.figures import pictures
from nuclei.training.batches import draw_batch

BACKUP = ".backup"  # folder of an interrupted training


def training_callbacks(
    folder: str | Path,
    *first: callbacks.Callback,
    monitor: str = "val_accuracy",
    patience: int = 5,
    average: bool = False,
    parameters: dict | None = None,
) -> list[callbacks.Callback]:
    """Return the callbacks that `model.fit` needs, in their order.

    `first` come before the log is written, so that they can add to it. Below `folder` they write
    ``best.weights.h5``, those of the epoch with the highest `monitor`; ``history.csv``, one row per epoch;
    ``parameters.json``; ``logs/`` for TensorBoard, where TensorFlow is installed; and ``.backup/``, from
    which an interrupted training resumes when the same code runs again, until `delete_backup`. After
    `patience` epochs without improvement the training stops.

    With `average` the optimizer must average the weights (``use_ema``): the average is what is validated,
    kept, and seen by `first`. `parameters` are everything that the training depends on: ValueError where
    `folder` holds an interrupted training with others, or files of these names that no training wrote.
    """
    folder = Path(folder)
    _check_parameters(folder, parameters or {})
    past = past_epochs(folder)
    values = past[monitor].tolist() if monitor in past else []
    kept: dict = {"monitor": monitor, "mode": "max"}
    best: dict = {"save_best_only": True, "initial_value_threshold": max(values, default=None), **kept}
    used = [
        *first,
        callbacks.CSVLogger(folder / "history.csv", append=bool(len(past))),
        callbacks.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True, **best),
        EarlyStopping(values, patience=patience, **kept),
    ]
    if importlib.util.find_spec("tensorflow"):
        used.append(callbacks.TensorBoard(folder / "logs", profile_batch=0))
    if average:
        swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
        swap_back = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_epoch_begin(epoch))
        used = [swap, *used, swap_back]  # the backup is that of the training, not of the average
    # last, so that whatever belongs to an epoch is on disk before the epoch counts as done
    backup = BackupAndRestore(folder / BACKUP, delete_checkpoint=False)
    return [*used, backup]


def delete_backup(folder: str | Path) -> None:
    """Delete the backup of a training, once all that follows from it is saved."""
    shutil.rmtree(Path(folder) / BACKUP)


def _check_parameters(folder: Path, parameters: dict) -> None:
    file = folder / "parameters.json"
    parameters = json.loads(json.dumps(parameters))  # as they will be read back
    foreign = [name for name in ("history.csv", "best.weights.h5") if (folder / name).exists()]
    if foreign and not file.exists():
        raise ValueError(f"{folder}: it holds {foreign[0]}, which no training wrote; name another folder")
    if (folder / BACKUP).exists() and file.exists():
        before = json.loads(file.read_text())
        changed = [name for name in {**before, **parameters} if before.get(name) != parameters.get(name)]
        if changed:
            found = f"holds an interrupted training with other parameters ({', '.join(changed)})"
            raise ValueError(f"{folder}: {found}; use those in parameters.json, or name another folder")
    write_json(file, parameters)


def past_epochs(folder: Path) -> pd.DataFrame:
    """Return the log of an interrupted training up to its backup, one row per epoch, and cut its file there.

    Without a backup nothing resumes: the table is empty, and the log of an earlier training is deleted.
    """
    log, state = folder / "history.csv", folder / BACKUP / "training_metadata.json"
    if not (log.exists() and state.exists()):
        log.unlink(missing_ok=True)
        return pd.DataFrame()
    # a kill between log and backup leaves a row of an epoch that will be repeated
    past = pd.read_csv(log).query(f"epoch < {json.loads(state.read_text())['epoch']}")
    with replacing(log) as temporary:
        past.to_csv(temporary, index=False)
    return past


class BackupAndRestore(callbacks.BackupAndRestore):
    """A backup whose epoch and weights belong together, also after a kill between the two.

    Keras's own replaces the weights of one epoch by those of the next before the number of the epoch. The
    names with an underscore but `_weights` are those of Keras 3. A training that had stopped early stays so.
    """

    def on_train_begin(self, logs=None):
        if (state := Path(self._training_metadata_path)).exists():
            self._weights_path = str(self._weights(json.loads(state.read_text())["epoch"]))
        super().on_train_begin(logs)
        if self.model.stop_training:  # it had ended early
            self.model._initial_epoch = self.params["epochs"]

    def _weights(self, epoch: int) -> Path:
        return Path(self.backup_dir) / f"{epoch}.weights.h5"

    def _save_model(self):
        weights = self._weights(self._current_epoch)
        weights.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(weights, overwrite=True)
        write_json(self._training_metadata_path, {"epoch": self._current_epoch, "batch": 0})
        for older in set(weights.parent.glob("*.weights.h5")) - {weights}:
            older.unlink()


class EarlyStopping(callbacks.EarlyStopping):
    """Early stopping that first counts `past`, the values of the epochs before an interruption."""

    def __init__(self, past: list[float], **options):
        super().__init__(**options)
        self.past = past

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for epoch, value in enumerate(self.past):
            self.on_epoch_end(epoch, {self.monitor: value})


class EpochCounter(callbacks.Callback):
    """Hold the current epoch, also after a restart, and return it when called: see `batches`."""

    epoch = 0

    def __call__(self) -> int:
        return self.epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


class InstanceScore(callbacks.Callback):
    """Add ``val_score`` to the log: the competition score on a crop of `size` pixels of each sample.

    It is the best over a few thresholds, as calibration changes from epoch to epoch.
    """

    def __init__(self, samples: list[Sample], size: int):
        super().__init__()
        self.images, self.labels = draw_batch(
            samples, 0, size=size, batch_size=len(samples), shuffle=False, target=lambda labels: labels
        )

    def on_epoch_end(self, epoch, logs=None):
        maps = self.model.predict(self.images, batch_size=16, verbose=0)
        grid = {"foreground_threshold": [0.4, 0.5, 0.6], "marker_threshold": [0.5, 0.7]}
        grid |= {"min_area": [0.1], "smoothing": [1.0]}
        _, scores = tuning.tune(maps, self.labels, grid)
        logs["val_score"] = float(scores.mean(axis=1).max())


@dataclass(eq=False)
class PredictionPlot(callbacks.Callback):
    """Draw image, truth and prediction of fixed samples into `folder`, after some epochs, counted from 1.

    Epochs that were not reached are printed. `show` displays a figure in a notebook.
    """

    images: np.ndarray  # (B, H, W, 3) float32, 0-255
    targets: np.ndarray  # (B, H, W, C) float32, 0-1; channel 0 is the foreground
    epochs: list[int]
    folder: str | Path
    titles: list[str] | None = None
    show: Callable | None = None

    def __post_init__(self):
        super().__init__()
        self.last = 0

    def on_epoch_end(self, epoch, logs=None):
        self.last = epoch + 1
        if self.last in self.epochs:
            self.draw(f"epoch{self.last}_predictions.png", f"after epoch {self.last}")

    def on_epoch_begin(self, epoch, logs=None):
        self.last = epoch

    def on_train_end(self, logs=None):
        if self.last and (missed := [epoch for epoch in self.epochs if epoch > self.last]):
            print(f"Ended after epoch {self.last}: no predictions were drawn for epochs {missed}.")

    def draw(self, name: str, when: str) -> None:
        """Draw the samples with the model's current weights and save the figure as `name`."""
        maps = np.asarray(self.model(self.images, training=False))
        figure = pictures.predictions(
            list(self.images.astype(np.uint8)),
            [target[..., 0] > 0.5 for target in self.targets],
            list(maps[..., 0]),
            self.titles,
            title=f"Predictions {when}",
        )
        pictures.save(figure, f"{self.folder}/{name}")
        if self.show:
            self.show(figure)
