"""What `minicnn train` trains with: the options given, completed by what suits model and data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULERS = ("none", "step", "cosine", "onecycle")


@dataclass(frozen=True)
class Options:
    """The options of a training, all known."""

    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    scheduler: str
    weight_decay: float
    shift: int
    seed: int = 0
    device: str = "cpu"


# By (family of networks, data set), None standing for any other.
_DEFAULTS: dict[tuple[str | None, str | None], Options] = {
    ("lenet", "digits"): Options(30, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=2),
    ("lenet", "mnist"): Options(10, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=2),
    ("lenet", None): Options(10, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=1),
    (None, "digits"): Options(8, 32, 1e-3, "adamw", "onecycle", 1e-2, shift=2),
    (None, None): Options(5, 64, 1e-3, "adamw", "onecycle", 1e-2, shift=1),
}


def complete(model: str, data: str, given: dict[str, Any]) -> Options:
    """The options `given` (None: not given), completed by the defaults; checked.

    Raises ValueError for values out of range.
    """
    family = model if model == "lenet" else None
    defaults = _DEFAULTS.get((family, data)) or _DEFAULTS[family, None]
    if given.get("optimizer") == "sgd":  # its rates are of another size than Adam's
        defaults = replace(defaults, lr=5e-2, weight_decay=5e-4)
    options = replace(defaults, **{k: v for k, v in given.items() if v is not None})
    _check(options)
    return options


def restored(stored: dict[str, Any], given: dict[str, Any]) -> Options:
    """The options of a run that is resumed; those `given` must be the same.

    Only the device may differ, and the number of epochs where no schedule depends on it.
    Raises ValueError where others do.
    """
    try:
        options = Options(**stored)
    except TypeError as error:
        raise ValueError(f"this run's options are damaged ({error})") from None
    changes = {k: v for k, v in given.items() if v is not None and v != getattr(options, k)}
    free = {"device", "epochs"} if options.scheduler == "none" else {"device"}
    for name in changes:
        if name not in free:
            why = " (its learning rates are planned for them)" if name == "epochs" else ""
            raise ValueError(
                f"--{name.replace('_', '-')} {changes[name]}: this run was begun with "
                f"{getattr(options, name)}{why}; leave the option out to go on, or begin a new run"
            )
    options = replace(options, **changes)
    _check(options)
    return options


def as_dict(options: Options) -> dict[str, Any]:
    """For JSON."""
    return asdict(options)


def names() -> list[str]:
    """The names of the options."""
    return [field.name for field in fields(Options)]


def _check(options: Options) -> None:
    for name, choices in (("optimizer", OPTIMIZERS), ("scheduler", SCHEDULERS)):
        if getattr(options, name) not in choices:
            raise ValueError(
                f"--{name} expects one of {', '.join(choices)}, got {getattr(options, name)!r}"
            )
    for name in ("epochs", "batch_size"):
        if getattr(options, name) < 1:
            raise ValueError(
                f"--{name.replace('_', '-')} expects at least 1, got {getattr(options, name)}"
            )
    if options.shift < 0:
        raise ValueError(f"--shift expects at least 0, got {options.shift}")
    if not 0 < options.lr < math.inf or not 0 <= options.weight_decay < math.inf:
        raise ValueError(
            "--lr expects a finite number above 0 and --weight-decay one not below, "
            f"got {options.lr} and {options.weight_decay}"
        )


def make_optimizer(options: Options, model: Any) -> Any:
    """The optimizer that `options` names."""
    from .. import optim

    common: dict[str, Any] = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        return optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **common)
    kind = optim.Adam if options.optimizer == "adam" else optim.AdamW
    return kind(model.parameters(), **common)


def make_scheduler(options: Options, optimizer: Any, batches: int) -> Any:
    """The scheduler that `options` names, for epochs of so many batches; None for "none"."""
    from ..optim import lr_scheduler

    epochs = options.epochs
    if options.scheduler == "step":
        return lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 3), gamma=0.1)
    if options.scheduler == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if options.scheduler == "onecycle":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=options.lr, total_steps=epochs * batches)
    return None
