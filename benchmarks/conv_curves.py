"""Does it matter to a training how its convolutions are computed?

    python -m benchmarks.conv_curves --data-dir DATA --out FOLDER

VGG-11 with batch norm learns CIFAR-10, from the same initial weights and with the same batches,
once for each algorithm and seed; the seeds tell how far two trainings are apart anyway. Writes
conv-curves.json after every run (one that is there is not run again), and a table and a picture of
all that are there.

Winograd's rounding differs from im2col's in the seventh digit. In a deep ReLU network that is
amplified until two runs of one seed have nothing but their statistics in common: so curves are
compared, and the spread over seeds is the unit of measure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import models, optim
from minicnn.backends import cpu
from minicnn.datasets import CIFAR10
from minicnn.nn import functional as F

from .common import machine

ALGORITHMS = ("im2col", "winograd2", "winograd4", "auto")
SEEDS = (0, 1, 2)
BATCH = 64
RATE = 3e-4

Images = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """The runs that are missing, then the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", help="where the binary CIFAR-10 is", required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--images", type=int, default=6_400, help="training images used")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "conv-curves.json"
    settings = {"images": options.images, "epochs": options.epochs, "batch": BATCH}
    record: dict[str, Any] = {"machine": machine(), "settings": settings, "runs": {}}
    if path.exists():
        record = json.loads(path.read_text())
        if record["settings"] != settings:
            parser.error(f"{path} holds runs with {record['settings']}")
    if not options.report_only:
        train, test = [_images(options.data_dir, part) for part in (True, False)]
        train = (train[0][: options.images], train[1][: options.images])
        for algorithm in ALGORITHMS:
            for seed in SEEDS:
                name = f"{algorithm} {seed}"
                if name not in record["runs"]:
                    record["runs"][name] = training(algorithm, seed, train, test, options.epochs)
                    path.write_text(json.dumps(record))
                    print(name, _summary(record["runs"][name]), flush=True)
    (options.out / "conv-curves.md").write_text(_table(record))
    _draw(record, options.out / "conv-curves.png")


def _images(folder: str, train: bool) -> Images:
    """Normalised images (N,3,32,32) float32, and their classes."""
    data = CIFAR10(folder, train=train)
    x = np.asarray(data.data).transpose(0, 3, 1, 2).astype(np.float32)
    return (x - 121) / 63, np.asarray(data.targets)


def training(algorithm: str, seed: int, train: Images, test: Images, epochs: int) -> dict[str, Any]:
    """The loss of every step and the share of test images that are right at the end."""
    minicnn.manual_seed(seed)
    net = models.vgg11_bn(num_classes=10, image_size=32)
    optimizer = optim.Adam(net.parameters(), lr=RATE)
    steps = epochs * (len(train[0]) // BATCH)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    losses = []
    began = time.perf_counter()
    with cpu.use_conv_algorithm(algorithm):
        for _ in range(epochs):
            order = rng.permutation(len(train[0]))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                batch = order[start : start + BATCH]
                optimizer.zero_grad()
                loss = F.cross_entropy(
                    net(minicnn.Tensor(train[0][batch])), minicnn.Tensor(train[1][batch])
                )
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(round(loss.item(), 5))
        seconds = time.perf_counter() - began
        accuracy = _accuracy(net, test)
    return {"losses": losses, "accuracy": accuracy, "seconds": round(seconds, 1)}


def _accuracy(net: Any, test: Images) -> float:
    net.eval()
    right = 0
    with minicnn.no_grad():
        for start in range(0, len(test[0]), 500):
            logits = net(minicnn.Tensor(test[0][start : start + 500]))
            right += int((logits.argmax(1).array == test[1][start : start + 500]).sum())
    net.train()
    return right / len(test[0])


def _last(run: dict[str, Any]) -> float:
    """The mean loss of the last fifth of the steps."""
    losses = run["losses"]
    return float(np.mean(losses[-max(1, len(losses) // 5) :]))


def _summary(run: dict[str, Any]) -> str:
    return f"loss {_last(run):.4f}, {run['accuracy']:.2%} of the test images, {run['seconds']} s"


def _table(record: dict[str, Any]) -> str:
    """Markdown: a row a run, and for each algorithm the mean and the spread over seeds."""
    settings = record["settings"]
    lines = [
        "# VGG-11-BN on CIFAR-10 under each algorithm of convolution",
        "",
        f"{settings['images']:,} training images, {settings['epochs']} epochs, batches of "
        f"{settings['batch']}; Adam, the rate falling from {RATE} as a cosine.",
        f"{record['machine']}.",
        "",
        "`python -m benchmarks.conv_curves --data-dir DATA`; the pictures' curves are means over "
        "20 steps.",
        "",
        "| algorithm | seeds | loss of the last fifth | test images right |",
        "|---|---|---|---|",
    ]
    for algorithm in ALGORITHMS:
        runs = [run for name, run in record["runs"].items() if name.split()[0] == algorithm]
        if runs:
            losses = ", ".join(f"{_last(run):.3f}" for run in runs)
            right = ", ".join(f"{run['accuracy']:.1%}" for run in runs)
            lines.append(f"| {algorithm} | {len(runs)} | {losses} | {right} |")
    return "\n".join(lines) + "\n"


def _draw(record: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SEEDS), figsize=(12, 3.6), sharey=True)
    for seed, axis in zip(SEEDS, axes, strict=True):
        for algorithm in ALGORITHMS:
            run = record["runs"].get(f"{algorithm} {seed}")
            if run is not None:
                smooth = np.convolve(run["losses"], np.ones(20) / 20, "valid")
                axis.plot(smooth, label=algorithm, linewidth=1)
        axis.set_title(f"seed {seed}")
        axis.set_xlabel("step")
    axes[0].set_ylabel("training loss")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
