"""Takes the place of a model in each process that imports it: what is bright is a nucleus.

Imported by every worker first; see test_cluster.py. As a program, it is `nuclei`. Files in the folder that
the environment variable FAKE names tell it to do more.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.measure import label

import nuclei.images.ome_zarr
import nuclei.images.tiff
from nuclei.images.intensity import as_rgb8
from nuclei.output import formats
from nuclei.segmentation.segmenter import Maps, Prediction, Segmenter
from nuclei.segmentation.watershed import confidence
from nuclei.workflows import large_images

ORDERS = Path(os.environ["FAKE"])
DEADLY = 251  # the brightest grey value of an image on which a worker dies


def die(kind):
    """Die once for each order."""
    if orders := sorted(ORDERS.glob(f"die on the {kind}*")):
        orders[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)


class Fake:
    settings = {"thresholds": {}, "resize": None}

    def check_scale(self, scale): ...

    def check_size(self, diameter, scales): ...

    def find_scales(self, images):
        return [1]

    def strangeness(self, images, scales): ...

    def multiscale_maps(self, image, scales=(1,), augment=False):
        if image.max() == DEADLY and image.shape[0] > 60:
            die("tile")
        if (ORDERS / "slow").exists():
            time.sleep(1)
        return image[..., :1] / np.float32(255)

    def predict(self, image, **options):
        seen = as_rgb8(image)
        return self.label(Maps(seen, self.multiscale_maps(seen)))

    def label(self, predicted):
        labels = label(predicted.maps[..., 0] > 0.5).astype(np.int32)
        return Prediction(labels, confidence(labels, predicted.maps[..., 0]), *predicted[:2])


def write_labels(path, result):
    formats.write_labels(path, result.labels, result.image.pixel_size)
    if result.name == "3":  # written, but not yet under its own name
        die("image")


Segmenter.load = lambda *_: Fake()
formats.FORMATS["labels"] = replace(formats.FORMATS["labels"], write=write_labels)
nuclei.images.tiff.LARGE = nuclei.images.ome_zarr.LARGE = 60_000  # pixels
large_images.CHUNK, large_images.TILE, large_images.HALO = 64, 128, 32

if __name__ == "__main__":
    from nuclei.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.exit(main())
