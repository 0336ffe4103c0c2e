"""The networks by name, for the command line and for programs that let their users choose."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Maker = TypeVar("Maker", bound=Callable[..., Any])


@dataclass(frozen=True)
class ModelInfo:
    """What a network is.

    `image_sizes`, smallest first, are the square inputs that data should be brought to for it;
    `input_size` is (C, H, W) for the network that is made without arguments.
    """

    name: str
    description: str
    make: Callable[..., Any]
    image_sizes: tuple[int, ...]
    input_size: tuple[int, int, int]


_infos: dict[str, ModelInfo] = {}


def register(
    name: str, description: str, image_sizes: tuple[int, ...], input_size: tuple[int, int, int]
) -> Callable[[Maker], Maker]:
    """A decorator that enters a maker under `name`, with one line that says what it makes."""

    def enter(make: Maker) -> Maker:
        _infos[name] = ModelInfo(name, description, make, image_sizes, input_size)
        return make

    return enter


def available() -> dict[str, ModelInfo]:
    """The networks that `create` knows, by name."""
    return dict(_infos)


def list_models() -> list[str]:
    """The names of the networks, sorted."""
    return sorted(_infos)


def info(name: str) -> ModelInfo:
    """What is known of the network `name`. ValueError for a name that is not known."""
    if name not in _infos:
        close = difflib.get_close_matches(str(name).lower(), _infos, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"models: no network {name!r}, there are {', '.join(_infos)}{hint}")
    return _infos[name]


def create(name: str, **options: Any) -> Any:
    """The network `name`, made with `options` such as num_classes, in_channels and image_size.

    Raises ValueError for a name that is not known, TypeError for an option the network has not.
    """
    return info(name).make(**options)
