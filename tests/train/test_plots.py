"""The pictures: that they show what they should, as far as numbers can tell."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from minicnn.train import plots

pytest.importorskip("matplotlib")


@pytest.fixture
def figures(monkeypatch):
    """The Matplotlib figures that were written, as objects."""
    written, write = [], plots._write

    def keep(figure, path):
        written.append(figure)
        write(figure, path)

    monkeypatch.setattr(plots, "_write", keep)
    return written


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_confusion_matrix():
    matrix = plots.confusion_matrix(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]), 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert plots.confusion_matrix(np.array([], int), np.array([], int), 2).tolist() == [
        [0, 0],
        [0, 0],
    ]


def test_confusion_picture(tmp_path, figures):
    matrix = np.array([[8, 2], [0, 0]])
    plots.save_confusion(matrix, ["cat", "dog"], tmp_path / "c.png")
    assert is_png(tmp_path / "c.png")
    (axes,) = figures[0].axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0, 0]])
    assert {text.get_text() for text in axes.texts} == {"8", "2"}
    assert axes.get_ylabel() == "truth" and axes.get_title() == "80.00% right"


def test_curves(tmp_path, figures):
    history = [
        {"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.9, "val_loss": 2 / e}
        for e in (1, 2, 3)
    ]
    plots.save_curves(history, tmp_path / "c.png")
    assert is_png(tmp_path / "c.png")
    loss, accuracy = figures[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert lines["training"] == [[1, 1], [2, 0.5], [3, 1 / 3]]
    assert lines["validation"] == [[1, 2], [2, 1], [3, 2 / 3]]
    assert [line.get_label() for line in accuracy.lines] == ["training"]
    plots.save_curves(history[:1], tmp_path / "one.png")
    plots.save_curves([], tmp_path / "none.png")
    assert is_png(tmp_path / "one.png") and is_png(tmp_path / "none.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_are_the_worst_first(channels, tmp_path, figures):
    images = np.zeros((5, channels, 4, 4), np.uint8)
    images[:, :, 0, 0] = np.arange(5)[:, None]
    targets = np.array([0, 1, 2, 0, 1])
    logits = np.array([[5, 0, 0], [3, 0, 0], [0, 9, 0], [0, 0, 1], [0, 1, 0]], float)
    count = plots.save_mistakes(images, targets, logits, "abc", tmp_path / "m.png", count=2)
    assert count == 3 and is_png(tmp_path / "m.png")
    shown = [int(axes.images[0].get_array()[0, 0].max()) for axes in figures[0].axes]
    assert shown == [2, 1]
    assert figures[0].axes[0].get_title() == "truth c guess b (100%)"


def test_no_mistakes(tmp_path, figures):
    images, logits = np.zeros((2, 1, 3, 3), np.uint8), np.eye(2)
    path = tmp_path / "m.png"
    assert plots.save_mistakes(images, np.array([0, 1]), logits, ["a", "b"], path) == 0
    assert figures[0].texts[0].get_text() == "no mistakes"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plots.save_confusion(np.eye(3, dtype=int), ["x", "y", "z"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need Matplotlib: pip install matplotlib"):
        plots.save_confusion(np.eye(2), ["a", "b"], tmp_path / "c.png")


def test_matplotlib_waits_until_it_is_needed():
    code = "import sys, minicnn.train.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
