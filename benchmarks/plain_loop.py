"""Label images as a tutorial would: `predict` of the U-Net on each padded image, one pass, and a watershed.

    python benchmarks/plain_loop.py MODEL.keras IMAGES OUT

`speed.py` runs it beside `nuclei segment`. It imports nothing of this project.
"""

import sys
from pathlib import Path

import imageio.v3 as iio
import keras
import numpy as np
import tifffile
from skimage.measure import label
from skimage.segmentation import watershed

model, images, out = map(Path, sys.argv[1:])
network = keras.saving.load_model(model, compile=False)
out.mkdir(exist_ok=True)
for path in sorted(images.iterdir()):
    image = iio.imread(path)
    low, high = np.percentile(image, (1, 99.8))
    stretched = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255
    height, width = image.shape[:2]
    padded = np.pad(stretched, ((0, -height % 32), (0, -width % 32), (0, 0)), "symmetric")
    maps = network.predict(padded[None].astype(np.float32), verbose=0)[0, :height, :width]
    foreground, inner = maps[..., 0] > 0.5, maps[..., 1]
    labels = watershed(-inner, label(foreground & (inner > 0.5)), mask=foreground)
    tifffile.imwrite(out / f"{path.stem}_labels.tif", labels.astype(np.int32), compression="zlib")
