"""Transfer learning: what a network has learnt on some classes helps it with others.

    python examples/fine_tune.py                              handwritten digits, part of minicnn
    python examples/fine_tune.py --data cifar10 --data-dir DATA           photographs

A network learns half of the classes from all their images. Then it gets a few images of each of the
other classes, and four ways to learn them are compared on their test images:

    from scratch         a new network
    features, new head   the last layer is cut off, what is left turns images into features once,
                         and a linear layer learns from those
    whole network        nothing is frozen, but the body has a tenth of the head's rate
    last stage and head  the first layers are frozen

With weights that others have published it is the same from the second step on:

    net = models.resnet18(weights="IMAGENET1K_V1")
    net.fc = nn.Linear(net.fc.in_features, 5)
"""

from __future__ import annotations

import copy
from typing import Annotated, Any

import numpy as np
import typer

import minicnn
from minicnn import datasets, models, nn, optim
from minicnn.nn import functional as F

BATCH = 64

# Network, image side, classes to learn first, epochs on them.
PLANS: dict[str, tuple[str, int, list[int], int]] = {
    "digits": ("resnet20", 16, [0, 1, 2, 3, 4], 10),
    "cifar10": ("resnet20", 32, [2, 3, 4, 5, 6, 7], 6),  # animals; then vehicles
}


def images(data: Any, classes: list[int], side: int, each: int | None = None) -> Any:
    """The images (N, 3, side, side) of `classes` in [-1, 1], and their numbers in that list."""
    pixels, targets = np.asarray(data.data), np.asarray(data.targets)
    chosen = np.concatenate([np.flatnonzero(targets == c)[:each] for c in classes])
    planes = pixels[chosen]
    planes = planes[:, None].repeat(3, 1) if planes.ndim == 3 else np.moveaxis(planes, 3, 1)
    x = minicnn.tensor(np.ascontiguousarray(planes)).float() / 127.5 - 1
    if x.shape[-1] != side:
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return x, minicnn.tensor(np.searchsorted(classes, targets[chosen]))


def fit(net: Any, groups: Any, x: Any, labels: Any, epochs: int, lr: float) -> None:
    """Trains `groups` of the net's parameters by AdamW, the rate rising and falling once.

    Norms of frozen layers keep what they have learnt.
    """
    steps = epochs * -(-len(x) // BATCH)
    optimizer = optim.AdamW(groups, lr=lr)
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps)
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
    for _ in range(epochs):
        for rows in minicnn.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()


def accuracy(net: Any, x: Any, labels: Any) -> float:
    """The share of images whose class has the largest logit."""
    net.eval()
    with minicnn.no_grad():
        guesses = minicnn.cat([net(part).argmax(1) for part in x.split(256)])
    return float((guesses == labels).float().mean())


def from_scratch(learnt: Any, make: Any, x: Any, labels: Any, classes: int, epochs: int) -> Any:
    """A network that has seen nothing."""
    net = make(classes)
    fit(net, net.parameters(), x, labels, epochs, 1e-2)
    return net


def new_head(learnt: Any, make: Any, x: Any, labels: Any, classes: int, epochs: int) -> Any:
    """The body as an extractor of features, which are computed once, and a new linear layer."""
    body = nn.Sequential(*list(learnt.children())[:-1], nn.Flatten()).eval()
    with minicnn.no_grad():
        features = minicnn.cat([body(part) for part in x.split(256)])
    head = nn.Linear(features.shape[1], classes)
    fit(head, head.parameters(), features, labels, epochs, 1e-2)
    return nn.Sequential(body, head)


def whole_network(learnt: Any, make: Any, x: Any, labels: Any, classes: int, epochs: int) -> Any:
    """A new head on the body, all of it trained, the body at a tenth of the rate."""
    net = with_head(learnt, classes)
    body = [p for name, p in net.named_parameters() if not name.startswith("fc.")]
    groups = [{"params": body, "lr": 1e-3}, {"params": net.fc.parameters(), "lr": 1e-2}]
    fit(net, groups, x, labels, epochs, 1e-2)
    return net


def last_stage(learnt: Any, make: Any, x: Any, labels: Any, classes: int, epochs: int) -> Any:
    """As before, with everything in front of the last stage frozen."""
    net = with_head(learnt, classes).requires_grad_(False)
    groups = [
        {"params": list(net.layer3.parameters()), "lr": 1e-3},
        {"params": list(net.fc.parameters()), "lr": 1e-2},
    ]
    for group in groups:
        for p in group["params"]:
            p.requires_grad_(True)
    fit(net, groups, x, labels, epochs, 1e-2)
    return net


def with_head(learnt: Any, classes: int) -> Any:
    """A copy of the network with a new last layer."""
    net = copy.deepcopy(learnt)
    net.fc = nn.Linear(net.fc.in_features, classes)
    return net


WAYS = {
    "from scratch": from_scratch,
    "features, new head": new_head,
    "whole network": whole_network,
    "last stage and head": last_stage,
}


def main(
    data: Annotated[str, typer.Option(help=f"{' or '.join(PLANS)}.")] = "digits",
    data_dir: Annotated[str | None, typer.Option(help="The folder of the data set.")] = None,
    each: Annotated[int, typer.Option(help="Images of each new class.", min=1)] = 10,
    epochs: Annotated[int | None, typer.Option(help="On the first classes.", min=1)] = None,
    few_epochs: Annotated[int, typer.Option(help="On the new classes.", min=1)] = 20,
    seed: int = 0,
) -> None:
    """Compares four ways to learn new classes from few images."""
    if data not in PLANS:
        raise typer.BadParameter(f"{data!r} is none of {', '.join(PLANS)}", param_hint="--data")
    name, side, first, usual_epochs = PLANS[data]
    minicnn.manual_seed(seed)
    train, test = (datasets.load(data, data_dir, train=part) for part in (True, False))
    others = [c for c in range(len(train.classes)) if c not in first]

    def make(classes: int) -> Any:
        return models.create(name, num_classes=classes, image_size=side)

    learnt = make(len(first))
    x, labels = images(train, first, side)
    fit(learnt, learnt.parameters(), x, labels, epochs or usual_epochs, 1e-2)
    known = ", ".join(train.classes[c] for c in first)
    print(f"{accuracy(learnt, *images(test, first, side)):6.1%}  {known}: {len(x):,} images")

    x, labels = images(train, others, side, each)
    print(f"then {', '.join(train.classes[c] for c in others)}, {each} images of each:")
    for way, learn in WAYS.items():
        net = learn(learnt, make, x, labels, len(others), few_epochs)
        print(f"{accuracy(net, *images(test, others, side)):6.1%}  {way}")


if __name__ == "__main__":
    typer.run(main)
