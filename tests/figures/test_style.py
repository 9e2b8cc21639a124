import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from nuclei.figures.colours import BOTH, PREDICTION, TRUTH
from nuclei.figures.style import save, shortened


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_the_ending_chooses_the_format(tmp_path, suffix, start):
    path = save(Figure(), tmp_path / "new" / f"a.{suffix}")
    assert path.read_bytes().startswith(start) and len(list(path.parent.iterdir())) == 1


def test_the_same_figure_is_the_same_file(tmp_path):
    for suffix in ("png", "pdf", "svg"):
        figures = [Figure() for _ in range(2)]
        for figure in figures:
            figure.subplots().plot([1, 2])
        first, second = (save(f, tmp_path / f"{k}.{suffix}").read_bytes() for k, f in enumerate(figures))
        assert first == second


def test_a_palette_keeps_the_colour_language(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    colours = [np.round(np.multiply(to_rgb(c), 255)).astype(np.uint8) for c in (TRUTH, PREDICTION, BOTH)]
    figure = Figure(figsize=(4, 4))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(np.concatenate([noise[:40], *(np.full((40, 200, 3), c, np.uint8) for c in colours)]))
    picture = np.asarray(Image.open(save(figure, tmp_path / "a.png")).convert("RGB"))
    for colour in colours:
        assert (picture == colour).all(axis=-1).mean() > 0.1


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    figure = Figure()
    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError):
        save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_long_names_keep_their_beginning_and_end():
    assert shortened("dapi_01.tif") == "dapi_01.tif"
    assert shortened("4dbbb275960ab9e4ec2c66c8d3000f7c-r0c1") == "4dbbb275960ab9e4…-r0c1"
    assert len(shortened("n" * 50)) == 22
