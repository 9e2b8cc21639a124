"""One picture: files, grey values, sizes, windows."""

from nuclei.images.reading import Image, open_image

__all__ = ["Image", "open_image"]
