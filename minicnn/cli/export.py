"""A run as an ONNX file, with what its users have to know in the file's metadata."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor
from ..functional import softmax
from .runs import Run


class Prepare(nn.Module):
    """Pixels 0 ... 255, (N, C, H, W) of type uint8, to (x / 255 - mean) / std in float32."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, Tensor(np.array(values, np.float32).reshape(-1, 1, 1)))

    def forward(self, x: Any) -> Any:
        return (x.float() / 255 - self.mean) / self.std


class Probabilities(nn.Module):
    """The softmax of logits (N, classes), or of each of a tuple of them."""

    def forward(self, y: Any) -> Any:
        return tuple([softmax(head, 1) for head in y]) if isinstance(y, tuple) else softmax(y, 1)


def export_run(run: Run, path: Path, preprocessing: bool, chances: bool, opset: int) -> None:
    """Writes the network of `run` to `path`, checked; what it raises is onnx.export's.

    With `preprocessing` the graph takes pixels as they are, with `chances` it gives probabilities;
    parameters are then named "network." and their name in the state_dict. The output is "logits" or
    "probabilities", of several heads "logits_1" and so on.
    """
    from ..onnx import export

    data = run.data
    sample = np.zeros((1, data.channels, data.image_size, data.image_size), np.float32)
    model = run.model
    if preprocessing or chances:
        parts = OrderedDict({"network": model})
        if preprocessing:
            parts = OrderedDict({"prepare": Prepare(data.mean, data.std), **parts})
            sample = np.random.default_rng(0).integers(0, 256, sample.shape).astype(np.uint8)
        if chances:
            parts["probabilities"] = Probabilities()
        model = nn.Sequential(parts)
    output = "probabilities" if chances else "logits"
    heads = range(1, data.heads + 1)
    export(
        model,
        Tensor(sample),
        path,
        output_names=[output] if data.heads == 1 else [f"{output}_{k}" for k in heads],
        opset_version=opset,
        metadata=_metadata(run, preprocessing),
    )


def _metadata(run: Run, preprocessing: bool) -> dict[str, str]:
    data = run.data
    pixels = "as they are" if preprocessing else "as (x / 255 - mean) / std"
    values = {
        "network": run.name,
        "dataset": data.name,
        "epoch": run.epoch,
        "classes": data.classes,
        "image_size": data.image_size,
        "channels": data.channels,
        "mean": data.mean,
        "std": data.std,
        "input": f"(N, C, H, W), pixels 0 ... 255 {pixels}",
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
