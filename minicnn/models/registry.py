"""The networks by name, for the command line and for programs that let their users choose."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..nn.init import nothing_drawn
from .weights import published


@dataclass(frozen=True)
class ModelInfo:
    """What a network is.

    `input_size` is (C, H, W) for the network that is made without arguments, and `parameters` the
    number of its parameters. `image_sizes`, smallest first, are the square inputs that data should
    be brought to for it; the command line trains on the smallest that holds the data's images.
    `cam` is the path of the module whose output Grad-CAM looks at: the last maps that still have
    height and width. `family` names networks that are trained alike.
    """

    name: str
    description: str
    make: Callable[..., Any]
    image_sizes: tuple[int, ...]
    input_size: tuple[int, int, int]
    parameters: int
    cam: str
    family: str


_infos: dict[str, ModelInfo] = {}


def register(
    name: str,
    description: str,
    *,
    image_sizes: tuple[int, ...],
    input_size: tuple[int, int, int],
    parameters: int,
    cam: str,
    family: str,
    with_weights: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that enters a maker under `name`; the fields are those of ModelInfo.

    The maker takes options by keyword: num_classes, in_channels, image_size (None for the paper's
    size) and what its network has besides. What is entered, and returned, takes torchvision's
    `weights` and `progress` as well (see weights.py), which older programs give by position, and
    hands the rest on.

    with_weights(make, options, load): makes the network for published weights where that takes more
    than make(**options) followed by load(model), as where heads are dropped after loading. Files of
    other origin are loaded into make(**options).
    """

    def enter(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(weights: Any = None, progress: bool = True, **options: Any) -> Any:
            chosen = published(name, weights, options, progress)
            if chosen is None:
                return make(**options)
            build = (with_weights if chosen.published else None) or _load_into_new
            with nothing_drawn():  # loading is strict: every weight comes from the file
                return build(make, chosen.options(options), chosen.load_into)

        # What help() shows: otherwise the wrapped maker's, without weights and progress.
        signature = inspect.signature(maker, follow_wrapped=False)
        maker.__signature__ = signature  # type: ignore[attr-defined]
        _infos[name] = ModelInfo(
            name, description, maker, image_sizes, input_size, parameters, cam, family
        )
        return maker

    return enter


def _load_into_new(make: Callable[..., Any], options: dict[str, Any], load: Any) -> Any:
    model = make(**options)
    load(model)
    return model


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


def get_model(name: str, **options: Any) -> Any:
    """torchvision's name for `create`, which takes names in letters of any size: "ResNet18"."""
    return create(str(name).lower(), **options)
