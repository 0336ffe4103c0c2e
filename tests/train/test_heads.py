"""Losses and accuracies of networks with several outputs, and a Trainer around them."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, optim
from minicnn.data import DataLoader, TensorDataset
from minicnn.functional import cross_entropy
from minicnn.train import Trainer, heads_accuracies, heads_loss
from minicnn.train.plots import said, save_mistakes

rng = np.random.default_rng(0)


class Outputs(NamedTuple):
    logits: Any
    aux_logits2: Any
    aux_logits1: Any


def logits(n=6, classes=4):
    return Tensor(rng.standard_normal((n, classes)).astype(np.float32), requires_grad=True)


def test_losses():
    a, b, c = logits(), logits(), logits()
    y = Tensor(rng.integers(0, 4, 6))
    both = Tensor(rng.integers(0, 4, (6, 2)))
    plain = [cross_entropy(x, y).item() for x in (a, b, c)]
    assert heads_loss(a, y).item() == plain[0]
    assert heads_loss(Outputs(a, b, c), y).item() == pytest.approx(
        plain[0] + 0.3 * plain[1] + 0.3 * plain[2]
    )
    assert heads_loss(Outputs(a, None, None), y).item() == plain[0]
    columns = [cross_entropy(x, both[:, k]).item() for k, x in enumerate((a, b))]
    assert heads_loss((a, b), both).item() == pytest.approx(sum(columns))
    with pytest.raises(ValueError, match=r"with 2 outputs needs targets \(N, 2\), got \(6,\)"):
        heads_loss((a, b), y)


def test_accuracies():
    hits = Tensor(np.eye(4, dtype=np.float32))
    y = Tensor(np.array([0, 1, 2, 0]))
    assert heads_accuracies(hits, y) == {"accuracy": 0.75}
    assert heads_accuracies(Outputs(hits, None, None), y) == {"accuracy": 0.75}
    both = Tensor(np.array([[0, 0], [1, 0], [2, 2], [0, 3]]))
    found = heads_accuracies((hits, hits), both)
    assert found == {"accuracy": 0.5, "digit_accuracy": 0.75}
    assert heads_accuracies(hits, Tensor(np.ones(4, np.float32))) == {}


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.a(x), self.b(x)


def test_a_trainer_with_two_heads():
    minicnn.manual_seed(0)
    x = rng.standard_normal((120, 8)).astype(np.float32)
    y = np.stack([x[:, :3].argmax(1), x[:, 3:6].argmax(1)], 1)
    loader, model = DataLoader(TensorDataset(Tensor(x), Tensor(y)), 20), Two()
    trainer = Trainer(model, optim.Adam(model.parameters(), 0.05))
    row = trainer.fit(loader, loader, epochs=15)[-1]
    assert row["val_accuracy"] > 0.85 and row["val_digit_accuracy"] > row["val_accuracy"]
    outputs = trainer.predict(loader)
    assert [head.shape for head in outputs] == [(120, 3), (120, 3)]
    guesses = np.stack([head.numpy().argmax(1) for head in outputs], 1)
    assert (guesses == y).all(1).mean() == pytest.approx(row["val_accuracy"])


def test_pictures_of_strings(tmp_path):
    pytest.importorskip("matplotlib")
    classes = ["0", "1", "2", "none"]
    assert said(np.array([1, 0, 3]), classes) == "10"
    assert said(np.array([3, 3, 3]), classes) == "nothing" and said(np.int64(3), classes) == "none"
    targets = rng.integers(0, 4, (7, 3))
    scores = np.where(np.arange(4) == targets[..., None], 5.0, 0.0)
    scores[2, 1] *= -1
    images = rng.integers(0, 256, (7, 3, 8, 8), np.uint8)
    assert save_mistakes(images, targets, scores, classes, tmp_path / "m.png") == 1
    assert (tmp_path / "m.png").stat().st_size > 1000
