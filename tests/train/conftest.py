"""A small training that uses everything random: shuffling, dropout, initial weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.data import DataLoader, TensorDataset
from minicnn.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau
from minicnn.train import Trainer


def make_data(n=48, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, 1, 6, 6)).astype(np.float32) + y[:, None, None, None].astype(np.float32)
    return TensorDataset(minicnn.Tensor(x), minicnn.Tensor(y))


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(48, 3),
    )


EPOCHS, BATCHES = 4, 6  # of 8 samples


def make_trainer(run_dir=None, optimizer="adamw", scheduler="onecycle", seed=3, **options):
    """(trainer, train_loader, val_loader), always the same."""
    minicnn.manual_seed(seed)
    model = make_model()
    kinds = {kind.lower(): getattr(optim, kind) for kind in optim.__all__ if kind != "lr_scheduler"}
    settings = {"sgd": {"momentum": 0.9}, "lbfgs": {"max_iter": 3}}.get(optimizer, {})
    opt = kinds[optimizer](model.parameters(), lr=1e-2, **settings)
    plan = None
    if scheduler == "onecycle":
        plan = OneCycleLR(opt, max_lr=2e-2, total_steps=EPOCHS * BATCHES)
    elif scheduler == "cosine":
        plan = CosineAnnealingLR(opt, T_max=EPOCHS)
    elif scheduler == "plateau":
        plan = ReduceLROnPlateau(opt, patience=0)
    trainer = Trainer(model, opt, scheduler=plan, run_dir=run_dir, **options)
    loader = DataLoader(make_data(), batch_size=8, shuffle=True)
    return trainer, loader, DataLoader(make_data(16, seed=1), batch_size=16)


def bits(model):
    """All of a model's state, as bytes."""
    return {name: value.array.tobytes() for name, value in model.state_dict().items()}


def without_times(history):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in history
    ]


@pytest.fixture
def lab():
    """The functions and sizes above: in importlib's mode tests cannot import a conftest."""
    return SimpleNamespace(
        make_data=make_data,
        make_model=make_model,
        make_trainer=make_trainer,
        bits=bits,
        without_times=without_times,
        epochs=EPOCHS,
        batches=BATCHES,
    )


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"
