"""Stage `training`: networks learn on the GPU, through minicnn's public functions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import minicnn as torch  # as code that was written for PyTorch would

from .device import open_device
from .nets import lenet5, small_vgg
from .run import Run, Unavailable

Images = tuple[np.ndarray, np.ndarray]


def training(run: Run) -> None:
    """LeNet to its accuracy, and a VGG with batch norm some epochs."""
    device = open_device(run.device)
    run.attempt("LeNet on digits", lambda: run.note("lenet_digits", _lenet(run, device, "digits")))
    run.attempt("LeNet on MNIST", lambda: run.note("lenet_mnist", _lenet(run, device, "mnist")), 10)
    run.attempt("small VGG", lambda: run.note("small_vgg", _vgg(run, device)), 5)


def _lenet(run: Run, device: Any, data: str) -> dict[str, Any]:
    """Adam for a fixed number of epochs, the rate falling as a cosine; the test set is asked once.

    An accuracy below what LeNet reaches is noted as a failure.
    """
    train, test = _digits() if data == "digits" else _mnist(run)
    epochs, batch, least = (40, 32, 0.97) if data == "digits" else (12, 128, 0.99)
    if run.quick:
        epochs, least = epochs // 4, 0.9
    if not device.is_gpu:
        train, test = _some(train, 64), _some(test, 64)
        epochs, batch, least = 1, 16, 0.0
    torch.manual_seed(1)
    net = lenet5(torch).to(device.where)
    losses, seconds, done = _fit(run, device, net, train, epochs, batch, lr=2e-3)
    accuracy = _accuracy(device, net, test)
    result = {
        "data": data,
        "images": len(train[0]),
        "epochs": f"{done} of {epochs}",
        "batch": batch,
        "seconds": seconds,
        "images_per_s": done * len(train[0]) / seconds,
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-20:])),
        "test_accuracy": accuracy,
    }
    if done < epochs:
        run.skip(f"LeNet on {data}, the rest of its epochs", f"no time left after {done}")
    elif accuracy < least:
        run.fail(f"LeNet on {data}", f"accuracy {accuracy:.4f}, expected at least {least}")
    return result


def _vgg(run: Run, device: Any) -> dict[str, Any]:
    train, name = _cifar(run)
    width, side, epochs = (32, 32, 4) if device.is_gpu else (4, 8, 2)
    if not device.is_gpu:
        train = _some((train[0][:, :, ::4, ::4], train[1]), 48)
    torch.manual_seed(1)
    net = small_vgg(torch, width, side=side).to(device.where)
    losses, seconds, done = _fit(run, device, net, train, epochs, 64 if device.is_gpu else 16, 2e-3)
    first, last = [float(np.mean(part)) for part in (losses[:3], losses[-3:])]
    if done == epochs and not last < 0.9 * first:
        run.fail("small VGG", f"its loss does not fall: {first:.3f} to {last:.3f}")
    return {
        "data": name,
        "images": len(train[0]),
        "epochs": f"{done} of {epochs}",
        "seconds": seconds,
        "images_per_s": done * len(train[0]) / seconds,
        "first_loss": first,
        "last_loss": last,
    }


def _fit(
    run: Run, device: Any, net: Any, train: Images, epochs: int, batch: int, lr: float
) -> tuple[list[float], float, int]:
    """(loss of each step, seconds, epochs done). Stops after an epoch when no time is left."""
    images, labels = train
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    rng, losses, done = np.random.default_rng(1), [], 0
    net.train()
    device.synchronize()
    start = time.perf_counter()
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for at in range(0, len(order) - batch + 1, batch):
            rows = order[at : at + batch]
            x = torch.from_numpy(images[rows]).to(device.where)
            target = torch.from_numpy(labels[rows]).to(device.where)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), target)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        done += 1
        if run.left() < (time.perf_counter() - start) / done + 2:
            break
    values = [float(loss.item()) for loss in losses]
    return values, time.perf_counter() - start, done


def _accuracy(device: Any, net: Any, test: Images) -> float:
    images, labels = test
    net.eval()
    right = 0
    with torch.no_grad():
        for at in range(0, len(images), 500):
            x = torch.from_numpy(images[at : at + 500]).to(device.where)
            found = net(x).argmax(1).to("cpu").numpy()
            right += int((found == labels[at : at + 500]).sum())
    return right / len(images)


# Data: float32 images (N,C,H,W) and int64 classes (N,)


def _some(data: Images, count: int) -> Images:
    return data[0][:count].copy(), data[1][:count].copy()


def _arrays(part: Any) -> Images:
    return np.asarray(part.data.numpy()), np.asarray(part.targets.numpy()).astype(np.int64)


def _digits() -> tuple[Images, Images]:
    """The digits that ship, each pixel as 3x3, on 28x28."""
    parts = []
    for train in (True, False):
        images, labels = _arrays(torch.datasets.Digits(train=train))
        large = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        parts.append((_normalised(large[:, None]), labels))
    return parts[0], parts[1]


def _mnist(run: Run) -> tuple[Images, Images]:
    if run.data_dir is None:
        raise Unavailable("its files are not given: --data-dir FOLDER, with mnist/ in it")
    try:
        both = [torch.datasets.MNIST(run.data_dir, train=train) for train in (True, False)]
    except RuntimeError as error:
        raise Unavailable(str(error)) from None
    train, test = [(_normalised(x[:, None]), y) for x, y in map(_arrays, both)]
    return train, test


def _cifar(run: Run) -> tuple[Images, str]:
    """CIFAR-10's binary files from the data folder, or else patterns in noise, of ten classes."""
    files = sorted(Path(run.data_dir or "/nowhere").glob("**/data_batch_[1-5].bin"))
    if files:
        records = np.concatenate([np.fromfile(f, np.uint8) for f in files]).reshape(-1, 3073)
        images = records[:, 1:].reshape(-1, 3, 32, 32)
        return (_normalised(images), records[:, 0].astype(np.int64)), "CIFAR-10"
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4096)
    patterns = rng.standard_normal((10, 3, 8, 8)).repeat(4, 2).repeat(4, 3)
    images = patterns[labels] + rng.standard_normal((4096, 3, 32, 32))
    return (images.astype(np.float32), labels), "made: patterns in noise (no CIFAR-10 was given)"


def _normalised(images: np.ndarray) -> np.ndarray:
    """uint8 0..255 to float32 of mean 0 and deviation 1, roughly."""
    return (images.astype(np.float32) / 255 - 0.3) / 0.3
