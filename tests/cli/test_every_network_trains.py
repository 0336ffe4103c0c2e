"""`minicnn train NAME --data digits` for every network, at the size and rates that it chooses."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import models, nn
from minicnn.cli import runs
from minicnn.train import RunFolder

_MANY = 100_000  # numbers, from which drawing them takes longer than the training
_NORMAL = np.random.default_rng(0).normal(size=_MANY).astype(np.float32)


@pytest.fixture
def quick(monkeypatch):
    """Large weights repeat the same numbers, of He's size; checkpoints, of gigabytes, stay away."""
    for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, _repeating(getattr(nn.init, name)))
    monkeypatch.setattr(RunFolder, "save", lambda *args: None)


def _repeating(draw):
    def fill(tensor, *args, **kwargs):
        if tensor.numel() < _MANY:
            return draw(tensor, *args, **kwargs)
        flat, deviation = tensor.array.reshape(-1), (2 / tensor[0].numel()) ** 0.5
        for k in range(0, flat.size, _MANY):
            part = flat[k : k + _MANY]
            np.multiply(_NORMAL[: part.size], deviation, out=part)
        return tensor

    return fill


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models())
def test_it_trains(name, tmp_path, quick):
    """Two steps on two images each, one of the largest networks, then one image to validate on."""
    info = models.info(name)
    steps = 1 if info.parameters > 20e6 else 2
    # A schedule's rate is near 0 at its end, which a single step is.
    given = {"limit": 2 * steps + 1, "batch_size": 2, "epochs": 1, "scheduler": "none"}
    job = runs.new_job(name, runs.usual_data(name), None, given, {}, tmp_path / "run")
    run = runs.Training(job, [])
    assert job.data.image_size == next(s for s in info.image_sizes if s >= job.data.native_size)
    assert job.data.image_size <= 40 and len(run.loader) == steps
    parameters = dict(run.trainer.model.named_parameters())
    before = {key: p.array.ravel()[:1000].copy() for key, p in parameters.items()}
    run.run()
    row = run.trainer.history[-1]
    assert np.isfinite(row["val_loss"])
    assert 0 < row["train_loss"] < 30 * job.data.heads
    for key, p in parameters.items():
        assert np.isfinite(p.grad.array).all(), key
        assert (p.array.ravel()[:1000] != before[key]).any(), key
