"""What `minicnn train` trains with: the options given, completed by what suits model and data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

# The class of each, and how it is set up. (Muon is missing: it takes no biases.)
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "adamax": ("Adamax", {}),
    "nadam": ("NAdam", {"decoupled_weight_decay": True}),
    "radam": ("RAdam", {"decoupled_weight_decay": True}),
    "rmsprop": ("RMSprop", {}),
    "rprop": ("Rprop", {}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "lbfgs": ("LBFGS", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
}
_UNDECAYED = ("rprop", "lbfgs")  # they have no weight decay
OPTIMIZERS = tuple(_OPTIMIZERS)
SCHEDULERS = (
    *("none", "step", "multistep", "exponential", "linear", "polynomial"),
    *("cosine", "restarts", "plateau", "cyclic", "onecycle"),
)
PICTURES = "a folder of pictures"  # in place of a data set's name
_UNPLANNED = ("none", "plateau")  # these do not depend on the number of epochs


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
    flip: bool = False
    cutout: int = 0
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"


_SGD = ("sgd", "onecycle", 5e-4)
# What families of networks are trained alike; see models.ModelInfo. SGD's rate of 0.1 would kill
# the gentle ones: their dense layers, at least, have no normalisation (ConvNeXt has one, but was
# made for AdamW).
_KINDS = {
    "lenet": "lenet",
    "svhn": "svhn",
    "mobilenet": "mobilenet",
    "shufflenet": "shufflenet",
    **dict.fromkeys(("alexnet", "vgg", "nin", "squeezenet", "convnext"), "gentle"),
}
_PHOTOGRAPHS = ("cifar10", "cifar100")
_GENTLY = Options(20, 128, 1e-3, "adamw", "onecycle", 1e-2, shift=4, flip=True)
_BOLDLY = Options(20, 128, 0.1, *_SGD, shift=4, flip=True)

# By (kind of network, data set), None standing for any other.
_DEFAULTS: dict[tuple[str | None, str | None], Options] = {
    ("lenet", "digits"): Options(30, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=2),
    ("lenet", "mnist"): Options(10, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=2),
    ("lenet", None): Options(10, 64, 4e-3, "adamw", "onecycle", 1e-2, shift=1),
    ("mobilenet", "digits"): Options(8, 32, 4e-3, "adamw", "onecycle", 1e-2, shift=2),
    ("shufflenet", "digits"): Options(8, 32, 1e-2, "adamw", "onecycle", 1e-2, shift=2),
    ("svhn", "digit-strings"): Options(10, 64, 2e-3, "adamw", "onecycle", 1e-2, shift=2),
    **{(kind, data): _GENTLY for kind in ("lenet", "gentle") for data in _PHOTOGRAPHS},
    **{(None, data): _BOLDLY for data in _PHOTOGRAPHS},
    (None, "svhn"): Options(10, 128, 1e-3, "adamw", "onecycle", 1e-2, shift=2),
    (None, "digit-strings"): Options(10, 64, 1e-3, "adamw", "onecycle", 1e-2, shift=2),
    (None, PICTURES): Options(10, 32, 1e-3, "adamw", "onecycle", 1e-2, shift=4, flip=True),
    (None, "digits"): Options(8, 32, 1e-3, "adamw", "onecycle", 1e-2, shift=2),
    (None, None): Options(5, 64, 1e-3, "adamw", "onecycle", 1e-2, shift=1),
}

# Learning rate and weight decay for optimizers whose rates are of another size than AdamW's.
_RATES: dict[str, tuple[float, float]] = {
    "sgd": (5e-2, 5e-4),
    "adamax": (2e-3, 5e-4),
    "rmsprop": (1e-3, 5e-4),
    "rprop": (1e-3, 0),
    "adagrad": (1e-2, 5e-4),
    "adadelta": (1.0, 5e-4),
    "lbfgs": (1.0, 0),
}


def complete(model: str, data: str, given: dict[str, Any]) -> Options:
    """The options `given` (None: not given), completed by the defaults; checked.

    Raises ValueError for values out of range.
    """
    defaults = _defaults(model, data)
    optimizer = given.get("optimizer") or defaults.optimizer
    if optimizer != defaults.optimizer:
        usual = _DEFAULTS["lenet" if _kind(model) == "lenet" else None, None]
        lr, weight_decay = _RATES.get(optimizer, (usual.lr, usual.weight_decay))
        defaults = replace(defaults, lr=lr, weight_decay=weight_decay)
    options = replace(defaults, **{k: v for k, v in given.items() if v is not None})
    _check(options)
    return options


def _defaults(model: str, data: str) -> Options:
    kind = _kind(model)
    keys = ((kind, data), (kind, None), (None, data), (None, None))
    return next(_DEFAULTS[key] for key in keys if key in _DEFAULTS)


def _kind(model: str) -> str | None:
    from .. import models

    return _KINDS.get(models.info(model).family)


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
    free = {"device", "epochs"} if options.scheduler in _UNPLANNED else {"device"}
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


def check_device(name: str) -> None:
    """Raises RuntimeError, saying why, for a device that does not exist or cannot be used here."""
    from ..autograd import device
    from ..backend.arrays import kernel_device

    try:
        place = device(name)
        if place.type != "cpu":
            kernel_device(place.type, place.index)
    except RuntimeError as error:
        raise RuntimeError(f"--device {name}: {error}") from None


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
    if options.limit is not None and options.limit < 2:
        raise ValueError(f"--limit expects at least 2 images, got {options.limit}")
    for name in ("shift", "cutout"):
        if getattr(options, name) < 0:
            raise ValueError(f"--{name} expects at least 0, got {getattr(options, name)}")
    if not 0 < options.lr < math.inf or not 0 <= options.weight_decay < math.inf:
        raise ValueError(
            "--lr expects a finite number above 0 and --weight-decay one not below, "
            f"got {options.lr} and {options.weight_decay}"
        )
    if options.optimizer in _UNDECAYED and options.weight_decay:
        raise ValueError(
            f"--weight-decay {options.weight_decay}: {options.optimizer} has none; leave it out"
        )


def make_optimizer(options: Options, model: Any) -> Any:
    """The optimizer that `options` names."""
    from .. import optim

    name, settings = _OPTIMIZERS[options.optimizer]
    if options.optimizer not in _UNDECAYED:
        settings = {**settings, "weight_decay": options.weight_decay}
    return getattr(optim, name)(model.parameters(), lr=options.lr, **settings)


def make_scheduler(options: Options, optimizer: Any, batches: int) -> Any:
    """The scheduler that `options` names, for epochs of so many batches; None for "none"."""
    from ..optim import lr_scheduler as schedules

    lr, epochs = options.lr, options.epochs
    # Where there is a momentum, cycles turn it against the rate.
    momentum = optimizer.defaults.get("betas") or optimizer.defaults.get("momentum")
    turned = bool(momentum)
    makers: dict[str, Callable[[], Any]] = {
        "none": lambda: None,
        "step": lambda: schedules.StepLR(optimizer, step_size=max(1, epochs // 3), gamma=0.1),
        "multistep": lambda: schedules.MultiStepLR(
            optimizer, [max(1, epochs // 2), max(1, epochs * 3 // 4)]
        ),
        "exponential": lambda: schedules.ExponentialLR(optimizer, 0.01 ** (1 / epochs)),
        "linear": lambda: schedules.LinearLR(optimizer, 1.0, 0.01, total_iters=epochs),
        "polynomial": lambda: schedules.PolynomialLR(optimizer, total_iters=epochs, power=2.0),
        "cosine": lambda: schedules.CosineAnnealingLR(optimizer, T_max=epochs),
        "restarts": lambda: schedules.CosineAnnealingWarmRestarts(
            optimizer,
            T_0=max(1, epochs // 7),  # three periods: 1/7, 2/7 and 4/7
            T_mult=2,
        ),
        "plateau": lambda: schedules.ReduceLROnPlateau(optimizer, factor=0.3, patience=2),
        "cyclic": lambda: schedules.CyclicLR(
            optimizer,
            lr / 10,
            lr,
            step_size_up=max(1, epochs * batches // 6),  # three cycles
            cycle_momentum=turned,
        ),
        "onecycle": lambda: schedules.OneCycleLR(
            optimizer, max_lr=lr, total_steps=epochs * batches, cycle_momentum=turned
        ),
    }
    return makers[options.scheduler]()
