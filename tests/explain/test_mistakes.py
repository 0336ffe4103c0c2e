"""Confusion and worst mistakes: counts by hand, order, pictures, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.explain import confusion, worst_mistakes

CLASSES = ("cat", "dog", "frog")
TRUTH = np.array([0, 0, 1, 2, 2, 2])
LOGITS = np.array(
    [[2.0, 0, 0], [0, 1, 0], [0, 3, 1], [5, 0, 0], [0, 0.5, 0], [9, 0, 9.5]], np.float32
)


def test_confusion_by_hand():
    found = confusion(TRUTH, LOGITS, CLASSES)
    assert found.values.tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 1]]
    assert found.accuracy == 0.5
    assert found.pairs(2) == [("cat", "dog", 1), ("frog", "cat", 1)]
    same = confusion(minicnn.Tensor(TRUTH), LOGITS.argmax(1), CLASSES)
    assert (same.values == found.values).all()
    assert found.png().startswith(b"\x89PNG")
    assert confusion([0], [0], ["a"]).pairs() == []


def test_the_worst_come_first():
    images = np.zeros((6, 3, 8, 8), np.uint8)
    found = worst_mistakes(images, TRUTH, LOGITS, CLASSES)
    assert found.values.tolist() == [3, 1, 4] and found.total == 3
    few = worst_mistakes(images, TRUTH, LOGITS, CLASSES, count=1)
    assert few.values.tolist() == [3] and few.total == 3
    assert "truth frog" in few.figure().axes[0].get_title()


def test_errors():
    images = np.zeros((6, 1, 8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"confusion: \(6,\) targets, \(5,\) guesses"):
        confusion(TRUTH, LOGITS[:5], CLASSES)
    with pytest.raises(ValueError, match="confusion: targets expects classes below 2, got 0 to 2"):
        confusion(TRUTH, LOGITS, CLASSES[:2])
    with pytest.raises(ValueError, match=r"expects images \(N, C, H, W\) .* got \(6, 2, 8, 8\)"):
        worst_mistakes(np.zeros((6, 2, 8, 8)), TRUTH, LOGITS, CLASSES)
    with pytest.raises(ValueError, match=r"and logits .N, classes., got .* and \(6,\)"):
        worst_mistakes(images, TRUTH, LOGITS.argmax(1), CLASSES)
    with pytest.raises(ValueError, match="count expects an integer of at least 1, got -1"):
        worst_mistakes(images, TRUTH, LOGITS, CLASSES, count=-1)
    with pytest.raises(ValueError, match="5 images, 6 targets"):
        worst_mistakes(images[:5], TRUTH, LOGITS, CLASSES)
