"""Weights for a network: what `weights=` takes, where they come from, how they are loaded.

    resnet18(weights="IMAGENET1K_V1")               published: downloaded once, checked, cached
    resnet18(weights=ResNet18_Weights.DEFAULT)      the same by torchvision's enumerations
    resnet18(weights="runs/mine.safetensors")       a file at hand; .pth, .pt and .npz too

    weights = ResNet18_Weights.DEFAULT
    preprocess = weights.transforms()               what the images must go through
    weights.meta["categories"]                      the names of the classes

Published files are PyTorch's. They are read by minicnn's own reader, which builds arrays and runs
no code; that a file is the published one is seen by its SHA-256, which its name begins to spell.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_PER_MIB = 1 << 20
_NESTED = ("state_dict", "model_state_dict", "model", "net")  # where checkpoints keep the weights
# What torch.compile, DataParallel, and compile within that put before every name.
_WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")


@dataclass(frozen=True, eq=False)
class Weights:
    """A published file: its address, the transforms that images need, and what is known of it.

    meta: "categories" (names of the classes; None of a network that tells none apart),
    "num_params", "min_size" (H, W), "_metrics" and "_file_size" (MiB).
    """

    url: str
    transforms: Callable[..., Any]
    meta: dict[str, Any]

    @property
    def file(self) -> Path:
        """Where it lies once it was downloaded."""
        return weights_folder() / self.url.rpartition("/")[2]


class WeightsEnum(Enum):
    """The weights published for one network. Members have what their Weights have."""

    @property
    def url(self) -> str:
        """The address."""
        return self.value.url

    @property
    def transforms(self) -> Callable[..., Any]:
        """`transforms()` makes what images must go through."""
        return self.value.transforms

    @property
    def meta(self) -> dict[str, Any]:
        """What is known of them: "categories" and more."""
        return self.value.meta

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> dict[str, Any]:
        """The tensors by name, downloaded if need be. Raises what `download` raises.

        check_hash is accepted for torchvision's sake: the hash is always checked.
        """
        from ..interop import load

        return load(download(self.value, progress))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled by its name: its value, read again, would be another one."""
        return getattr, (type(self), self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __str__ = __repr__


def weights_folder() -> Path:
    """Where published weights are kept: the environment variable MINICNN_WEIGHTS, else
    minicnn/weights in the user's cache folder."""
    from ..datasets import default_root

    given = os.environ.get("MINICNN_WEIGHTS")
    return Path(given).expanduser() if given else default_root() / "weights"


def download(weights: Weights, progress: bool = True) -> Path:
    """The file of `weights`, downloaded if it is not there or is not what was published.

    Raises DownloadError, which says where to put the file by hand, ImportError without pooch, and
    OSError if the folder cannot be written.
    """
    from ..interop.download import DownloadError, fetch_file, has_sha256

    path = weights.file
    prefix = path.stem.rpartition("-")[2]
    if has_sha256(path, prefix):
        return path
    most = int((weights.meta["_file_size"] + 1) * _PER_MIB)
    try:
        fetch_file(weights.url, path, prefix, most, progress)
    except DownloadError as error:
        there = ". The file of that name there has another SHA-256" if path.is_file() else ""
        raise DownloadError(
            f"{error}{there}. Without a network: fetch it elsewhere and put it into {path.parent}, "
            "or name the file by weights=PATH"
        ) from None
    except OSError as error:
        other = "the environment variable MINICNN_WEIGHTS may name another folder"
        raise OSError(error.errno, f"{error.strerror}; {other}", error.filename) from None
    return path


# ---------------------------------------------------------------- by torchvision's names


def get_model_weights(name: Any) -> type[WeightsEnum]:
    """The weights published for a network, given its name, in letters of any size, or its maker.

    ValueError for none.
    """
    from .published import PUBLISHED

    name = str(getattr(name, "__name__", name))
    if name.lower() not in PUBLISHED:
        raise ValueError(f"models: no weights are published for {name!r}")
    return PUBLISHED[name.lower()]


def get_weight(name: str) -> WeightsEnum:
    """The weights of this full name, such as "ResNet50_Weights.IMAGENET1K_V2"."""
    from .published import PUBLISHED

    kind, _, tag = str(name).partition(".")
    for weights in PUBLISHED.values():
        if weights.__name__ == kind:
            return _member(weights, tag, "get_weight")
    raise ValueError(f"get_weight: no weights {name!r}; expected such as ResNet18_Weights.DEFAULT")


def _member(weights: type[WeightsEnum], tag: str, function: str) -> WeightsEnum:
    if tag not in weights.__members__:
        names = ", ".join(weights.__members__)
        raise ValueError(f"{function}: {weights.__name__} has {names}, not {tag!r}")
    return weights[tag]


# ---------------------------------------------------------------- what makers use


@dataclass(frozen=True)
class Chosen:
    """The weights that a network is about to be made with: published, or a file."""

    network: str
    source: WeightsEnum | Path
    progress: bool

    @property
    def published(self) -> bool:
        """Whether it is a published file: by its enumeration, or one at hand by its name."""
        if isinstance(self.source, WeightsEnum):
            return True
        from .published import PUBLISHED

        return any(self.source.name == w.value.file.name for w in PUBLISHED.get(self.network, ()))

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """`given` with the number of classes that the weights have.

        ValueError if another number was given, or a form of the network that they do not fit.
        """
        if isinstance(self.source, Path):
            return given
        side, categories = self.source.transforms().crop_size[0], self.source.meta["categories"]
        needed: dict[str, tuple] = {"in_channels": (3,), "image_size": (side, None)}
        known = {} if categories is None else {"num_classes": len(categories)}
        needed |= {name: (count,) for name, count in known.items()}
        for name, fits in needed.items():
            if name in given and given[name] not in fits:
                raise ValueError(
                    f"{self.network}: the weights {self.source} are for {name}={fits[0]}, got "
                    f"{given[name]!r}; make the network without it, then replace its layer"
                )
        return {**given, **known}

    def load_into(self, model: Any) -> None:
        """Loads the weights; the model takes all of them or is left as it was.

        Raises RuntimeError where names or shapes differ, and what reading or downloading raises.
        """
        if isinstance(self.source, Path):
            from ..interop import load

            state, where = state_dict_in(load(self.source), str(self.source)), str(self.source)
        else:
            state, where = self.source.get_state_dict(self.progress), str(self.source)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            hint = ""
            if "size mismatch" in str(error):
                hint = "\n\tnum_classes, in_channels and image_size make a network of other shapes."
            raise RuntimeError(f"{self.network}: weights of {where}: {error}{hint}") from None


def published(name: str, weights: Any, options: dict[str, Any], progress: bool) -> Chosen | None:
    """What `weights` means for the network `name`; None for None.

    Takes a member of the network's own enumeration, a name such as "DEFAULT" or "IMAGENET1K_V1", or
    the path of a file. torchvision's older form had True or False in its place, by the name
    `pretrained` in `options`, from where it is taken, or as the first argument.

    Raises ValueError for a name that does not exist, TypeError for another network's weights.
    """
    pretrained = options.pop("pretrained", False)
    if isinstance(weights, bool):
        pretrained, weights = pretrained or weights, None
    if pretrained and weights is None:
        warnings.warn(
            f"{name}: pretrained=True is the older form of weights='IMAGENET1K_V1'", stacklevel=3
        )
        weights = "IMAGENET1K_V1"
    if weights is None:
        return None
    return Chosen(name, _source(name, weights), progress)


def _source(name: str, weights: Any) -> WeightsEnum | Path:
    if isinstance(weights, WeightsEnum):
        if type(weights) is not get_model_weights(name):
            expected = get_model_weights(name).__name__
            raise TypeError(f"{name}: weights expects a member of {expected}, got {weights}")
        return weights
    if isinstance(weights, os.PathLike):
        return Path(weights)
    if not isinstance(weights, str):
        raise TypeError(
            f"{name}: weights expects a name, a member of an enumeration or a path, "
            f"got {type(weights).__name__}"
        )
    return _named(name, weights)


def _named(name: str, text: str) -> WeightsEnum | Path:
    from .published import PUBLISHED

    known = PUBLISHED.get(name)
    if known is not None and text.removeprefix(f"{known.__name__}.") in known.__members__:
        return known[text.removeprefix(f"{known.__name__}.")]
    if text.partition(".")[0] in {kind.__name__ for kind in PUBLISHED.values()}:
        return _source(name, get_weight(text))  # which says what is wrong
    if "://" in text:
        raise ValueError(
            f"{name}: weights expects a name or the path of a file, got an address, {text!r}; "
            "download the file first"
        )
    path = Path(text).expanduser()
    if text and (path.exists() or path.suffix or len(path.parts) > 1):
        return path
    names = ", ".join(known.__members__) if known is not None else "none"
    raise ValueError(
        f"{name}: no weights {text!r}; published for it: {names}. There is no such file either"
    )


def state_dict_in(obj: Any, source: str) -> dict[str, Any]:
    """The tensors by name in what a file held: a state_dict, or a checkpoint with one in it.

    A prefix "module." or "_orig_mod." that every name has is dropped (DataParallel and compile of
    PyTorch put it there). ValueError if there is no state_dict.
    """
    nested = (obj[key] for key in _NESTED if isinstance(obj, dict) and key in obj)
    found = next((part for part in nested if isinstance(part, dict)), obj)
    if not isinstance(found, dict) or not found or not all(isinstance(k, str) for k in found):
        raise ValueError(f"{source}: holds no state_dict, nor a checkpoint with one")
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found
