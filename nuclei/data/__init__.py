"""A data set: images and their labelled nuclei, and how they are split."""
