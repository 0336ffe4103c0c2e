"""What a checkpoint holds of a Trainer, and how it is put back: all of it, or nothing."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Tensor
from ..autograd import device as device_type
from ..backend import arrays as backend
from ..backend.random import Generator, default_generator
from .run import CheckpointError

if TYPE_CHECKING:
    from .trainer import Trainer

_MAX_NAMES = 3  # how many differing names an error lists
_DEVICE = "device"  # the place of a device's generator
_CHECKED = 1 << 18  # how many elements of an array a fingerprint looks at


# Random generators


def find_generators(*loaders: Any, device: Any = "cpu") -> dict[str, Generator]:
    """Every generator that a training with these loaders draws from, by the place it was found.

    "device" is the one of a device that is not the CPU.
    """
    found = {"default": default_generator()}
    there = device_type(device)
    if there.type != "cpu":
        index = backend.kernel_device(there.type, there.index).index
        found[_DEVICE] = default_generator(f"{there.type}:{index}")
    for i, loader in enumerate(loaders):
        sampler = getattr(loader, "sampler", None)
        batch_sampler = getattr(loader, "batch_sampler", None)
        owners = {"loader": loader, "sampler": sampler, "batch_sampler": batch_sampler}
        owners["inner_sampler"] = getattr(batch_sampler, "sampler", None)
        for place, owner in owners.items():
            generator = getattr(owner, "generator", None)
            if isinstance(generator, Generator) and all(g is not generator for g in found.values()):
                found[f"{place}{i}"] = generator
    return found


def generator_states(generators: dict[str, Generator]) -> dict[str, np.ndarray]:
    """Where each of them stands."""
    return {name: generator.get_state() for name, generator in generators.items()}


def set_generator_states(generators: dict[str, Generator], states: dict[str, np.ndarray]) -> None:
    """Puts each of them back; a device's, only if there was one."""
    for name, generator in generators.items():
        if name in states or name != _DEVICE:
            generator.set_state(states[name])


# The data


def fingerprint(loader: Any) -> dict[str, Any] | None:
    """What tells the data set of a loader from another one, without drawing samples from it.

    How many samples, how many a batch, and a checksum of the beginnings of the arrays behind it.
    """
    if loader is None:
        return None
    dataset: Any = getattr(loader, "dataset", loader)
    samples = len(dataset) if hasattr(dataset, "__len__") else None
    checksum = 0
    while dataset is not None:
        arrays = [getattr(dataset, name, None) for name in ("data", "targets", "indices")]
        for value in [*arrays, *getattr(dataset, "tensors", ())]:
            array = backend.to_numpy(getattr(value, "array", value))
            if array.dtype.kind in "biuf" and array.ndim:
                checksum = zlib.crc32(array.reshape(-1)[:_CHECKED].tobytes(), checksum)
        dataset = getattr(dataset, "dataset", None)
    batch_size = getattr(loader, "batch_size", None)
    return {"samples": samples, "batch_size": batch_size, "checksum": checksum}


# Saving


def capture(trainer: Trainer) -> dict[str, Any]:
    """All that `restore` needs to go on to the same bits."""
    scheduler = trainer.scheduler
    return {
        **capture_model(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "kinds": _kinds(trainer),
        "data": trainer._data,
        "batch": trainer.batch,
        "sums": trainer._meter.state(),
        "generators": generator_states(trainer._generators),
        "epoch_start": trainer._epoch_start,
    }


def capture_model(trainer: Trainer) -> dict[str, Any]:
    """The weights, and what is needed to use them."""
    return {
        "config": trainer.config,
        "model": trainer.model.state_dict(),
        "epoch": trainer.epoch,
        "history": trainer.history,
    }


def _kinds(trainer: Trainer) -> dict[str, Any]:
    parts = {"optimizer": trainer.optimizer, "scheduler": trainer.scheduler}
    return {name: None if part is None else type(part).__name__ for name, part in parts.items()}


# Restoring


def restore(trainer: Trainer, state: dict[str, Any], source: str) -> None:
    """Puts the trainer back to the moment of `state`.

    Everything is checked before anything changes. CheckpointError, which begins with `source`, if
    the checkpoint is of another model, optimizer, scheduler or data set, or damaged.
    """
    try:
        _check_same(trainer, state)
        check_model(trainer.model, state["model"])
        _check_optimizer(trainer.optimizer, state["optimizer"])
        if type(state["batch"]) is not int or state["batch"] < 0:
            raise CheckpointError("has no valid batch number")
        _check_generators(trainer, state)
        meter = trainer._meter.checked(state["sums"])
    except CheckpointError as error:
        raise CheckpointError(f"cannot resume from {source}: it {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"cannot resume from {source}: it is damaged ({error!r})") from None
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(state["scheduler"])
    trainer.model.load_state_dict(state["model"])
    set_generator_states(trainer._generators, state["generators"])
    trainer._epoch_start = state["epoch_start"]
    trainer.epoch, trainer.batch, trainer.history = state["epoch"], state["batch"], state["history"]
    trainer._meter = meter


def _check_same(trainer: Trainer, state: dict[str, Any]) -> None:
    for name, here in _kinds(trainer).items():
        there = state["kinds"][name]
        if there != here:
            raise CheckpointError(f"was made with the {name} {there}, here it is {here}")
    if state["data"] != trainer._data:
        raise CheckpointError(f"was trained on other data: {state['data']}, here {trainer._data}")
    if trainer.scheduler is not None and set(state["scheduler"]) != set(
        trainer.scheduler.state_dict()
    ):
        raise CheckpointError("has another scheduler's state")


def check_model(model: Any, state: dict[str, Any]) -> None:
    """CheckpointError unless `state` has the names, shapes and types of the model's state_dict."""
    here = model.state_dict()
    wrong = [f"{name} is missing" for name in here if name not in state]
    wrong += [f"{name} is not here" for name in state if name not in here]
    for name, value in here.items():
        other = state.get(name)
        if other is None:
            continue
        if not isinstance(other, Tensor):
            wrong.append(f"{name} is no tensor")
        elif other.shape != value.shape or other.dtype != value.dtype:
            wrong.append(f"{name} is {other.dtype} {other.shape}, here {value.dtype} {value.shape}")
    if wrong:
        more = f" and {len(wrong) - _MAX_NAMES} more" if len(wrong) > _MAX_NAMES else ""
        raise CheckpointError(f"is of another model: {'; '.join(wrong[:_MAX_NAMES])}{more}")


def _check_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    here = optimizer.state_dict()["param_groups"]
    there = state["param_groups"]
    if [g["params"] for g in here] != [g["params"] for g in there]:
        raise CheckpointError("is of an optimizer with other parameter groups")
    if any(set(a) != set(b) for a, b in zip(here, there, strict=True)):
        raise CheckpointError("is of an optimizer with other options")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    together = (sum(p.numel() for p in parameters),)  # a vector of all, as LBFGS keeps them
    for index, entries in state["state"].items():
        for name, value in entries.items():
            fitting = ((), parameters[index].shape, together)
            if isinstance(value, Tensor) and value.shape not in fitting:
                raise CheckpointError(
                    f"has {name} of shape {value.shape} for parameter {index}, "
                    f"which is {parameters[index].shape}"
                )


def _check_generators(trainer: Trainer, state: dict[str, Any]) -> None:
    for key in ("generators", "epoch_start"):
        if key == "epoch_start" and state[key] is None and state["batch"] == 0:
            continue
        # It may go on on another device, then not to the same bits.
        if {*state[key], _DEVICE} != {*trainer._generators, _DEVICE}:
            raise CheckpointError(
                f"knows the random generators {sorted(state[key])}, "
                f"here are {sorted(trainer._generators)}"
            )
        for value in state[key].values():
            Generator().set_state(value)
