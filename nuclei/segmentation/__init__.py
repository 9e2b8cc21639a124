"""From an image to its nuclei."""
