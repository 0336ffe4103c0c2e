"""`minicnn summary` and `minicnn look`: a network's table, and pictures of what it does."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import explain, models
from ..autograd import Tensor
from ..explain.features import first_filters
from ..explain.picture import on_cpu, resolved
from ..functional import softmax
from ..nn.trace import tensors_in
from ..train.modes import evaluating
from ..train.plots import said
from . import runs
from .data import Images, load_part
from .picture import open_picture, read_picture


def summary_text(name: str, size: str | None, options: dict[str, Any], depth: int | None) -> str:
    """The table of the network `name` for images of `size`, such as "3x224x224".

    Raises ValueError for a name, size or option that does not exist, or a size it cannot take.
    """
    channels, height, width = models.info(name).input_size if size is None else _size(size)
    if size is not None:
        options.setdefault("in_channels", channels)
    if height == width and size is not None:
        options.setdefault("image_size", height)
    model = runs.create_model(name, options)
    try:
        return explain.summary(model, (channels, height, width)).text(depth)
    except (ValueError, RuntimeError) as error:
        if height == width:
            raise
        # Networks whose layers are computed for a square side say so in their layers' words.
        raise ValueError(f"{name} cannot take {height}x{width} images: {error}") from None


def _size(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"--input expects CHANNELSxHEIGHTxWIDTH, such as 1x28x28, got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


# ---------------------------------------------------------------------- look


@dataclass
class Subject:
    """A network that is looked at: what it is, how images come to it, its classes.

    `read(text)` gives an image's Seen; `folder` is where pictures go unless told otherwise; `cam`
    is the layer for Grad-CAM; `heads` counts the classes that it gives an image.
    """

    title: str
    model: Any
    classes: Sequence[str] | None
    folder: Path
    read: Callable[[str], Seen]
    input_size: tuple[int, int, int]
    cam: str
    heads: int = 1


@dataclass
class Seen:
    """An image: as the network takes it (1, C, H, W), as people see it, its class(es), if known."""

    x: Tensor
    picture: np.ndarray
    stem: str
    truth: Any = None


@dataclass
class Wishes:
    """What to show: feature maps of `layers`, or `kinds` (cam, saliency ...) at those layers."""

    layers: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    label: str | None = None
    out: Path | None = None


def open_subject(
    run: str,
    weights: str | None = None,
    checkpoint: str = "best",
    data_dir: str | None = None,
    options: dict[str, Any] | None = None,
) -> Subject:
    """The network of a run folder, or one by its name with weights.

    Raises ValueError for what is neither, and what opening a run or loading weights raises.
    """
    if checkpoint not in ("best", "last"):
        raise ValueError(f"--checkpoint expects best or last, got {checkpoint!r}")
    if weights is not None:
        return _published(run, weights, options or {})
    if options:
        raise ValueError("--set is for a network by name, with --weights; a run has its options")
    if not Path(run).exists() and run in models.available():
        raise ValueError(f"{run} has learnt nothing yet: name a run folder, or give --weights")
    return _of_run(Path(run), checkpoint, data_dir)


def _of_run(path: Path, checkpoint: str, data_dir: str | None) -> Subject:
    run = runs.open_run(path, checkpoint, data_dir)
    title = f"{run.name} on {run.data.name}, weights of epoch {run.epoch}"
    size = (run.data.channels, run.data.image_size, run.data.image_size)

    def read(text: str) -> Seen:
        truth, stem = None, Path(text).stem
        if text.startswith("test:"):
            images = load_part(run.data, False)
            n = _test_number(text, len(images))
            pixels, truth, stem = images.data[n], images.targets[n], f"test-{n}"
        else:
            pixels = read_picture(text, run.data)
        x = Images(pixels[None], np.zeros(1, np.int64), run.data)[0][0]
        return Seen(x[None], pixels, stem, truth)

    cam = models.info(run.name).cam
    return Subject(title, run.model, run.data.classes, path, read, size, cam, run.data.heads)


def _test_number(text: str, count: int) -> int:
    number = text.removeprefix("test:")
    if not number.isdecimal() or int(number) >= count:
        raise ValueError(f"look: expects test:0 to test:{count - 1}, got {text!r}")
    return int(number)


def _published(name: str, weights: str, options: dict[str, Any]) -> Subject:
    from ..models.published import PUBLISHED

    info = models.info(name)
    if name not in PUBLISHED:
        raise ValueError(
            f"--weights: none are published for {name}, so nothing says how its images are "
            "prepared; train it, and name the run folder"
        )
    known = PUBLISHED[name]
    member = known[weights] if weights in known.__members__ else known["DEFAULT"]
    model = runs.create_model(name, {**options, "weights": weights})
    preset = member.transforms()

    def read(text: str) -> Seen:
        if text.startswith("test:"):
            raise ValueError(f"look: {text!r} is for run folders; name a picture file")
        x = preset(Tensor(np.moveaxis(open_picture(text, 3), 2, 0).copy()))
        mean, std = (np.array(v).reshape(3, 1, 1) for v in (preset.mean, preset.std))
        return Seen(x[None], (x.array * std + mean).clip(0, 1), Path(text).stem)

    side = preset.crop_size[0]
    title = f"{name}, weights {weights}"
    classes = member.meta["categories"]
    return Subject(title, model, classes, Path(), read, (3, side, side), info.cam)


def look(subject: Subject, image: str | None, wishes: Wishes) -> Iterator[str]:
    """Draws what is wished for and writes it; gives the lines for the terminal.

    Raises ValueError for layers and classes that do not exist, before anything is written, and for
    a missing image.
    """
    kinds = _kinds(wishes)
    needing = [kind for kind in kinds if kind not in ("filters", "field")]
    if needing and image is None:
        raise ValueError("which image? a picture file, or test:17 for a run's test image 17")
    folder = wishes.out if wishes.out is not None else subject.folder
    seen = None if image is None else subject.read(image)
    drawn = []
    for kind in kinds:
        for layer in wishes.layers if kind in _AT_LAYERS else ():
            resolved("look", subject.model, layer)
        drawn += list(_DRAW[kind](subject, seen, wishes))
    yield subject.title
    if seen is not None:
        yield f"{image}  {_guesses(subject, seen)}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture, text in drawn:
        path = folder / name
        picture.save(path)
        yield f"{path}  {text}"


def _kinds(wishes: Wishes) -> tuple[str, ...]:
    """What is drawn. A layer that none of the wishes is about is named for its maps."""
    if wishes.layers and not set(wishes.kinds) & _AT_LAYERS:
        return ("maps", *wishes.kinds)
    return wishes.kinds or ("cam",)


def _guesses(subject: Subject, seen: Seen, most: int = 3) -> str:
    with evaluating(subject.model):
        heads = [on_cpu(softmax(y, 1))[0] for y in tensors_in(subject.model(seen.x))]
    if len(heads) > 1:
        guess = np.array([chances.argmax() for chances in heads])
        together = math.prod(float(chances.max()) for chances in heads)
        text = f"{said(guess, subject.classes or ())} {together:.1%}"
    else:
        best = heads[0].argsort()[::-1][:most]
        text = "  ".join(f"{_name(subject, k)} {heads[0][k]:.1%}" for k in best)
    truth = seen.truth
    return text if truth is None else f"{text}  (truth: {said(truth, subject.classes or ())})"


def _name(subject: Subject, k: int) -> str:
    known = subject.classes is not None and k < len(subject.classes)
    return subject.classes[k] if known and subject.classes else f"class {k}"


def _target(subject: Subject, wishes: Wishes) -> int | None:
    """The class that --class names, by name or number."""
    label, classes = wishes.label, subject.classes or ()
    if label is None:
        return None
    if label in classes:
        return list(classes).index(label)
    if label.isdecimal() and int(label) < len(classes):
        return int(label)
    close = difflib.get_close_matches(label, classes, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"--class: none of the {len(classes)} classes is {label!r}{hint}")


Drawing = tuple[str, Any, str]  # file name, Picture, what the terminal says of it


def _maps(subject: Subject, seen: Seen, wishes: Wishes) -> Iterator[Drawing]:
    for layer in wishes.layers:
        maps = explain.show_feature_maps(subject.model, seen.x, layer, picture=seen.picture)
        F, H, W = maps.values.shape
        strongest = int(np.abs(maps.values).mean((1, 2)).argmax())
        field = explain.receptive_fields(subject.model, subject.input_size).get(layer)
        sees = f", each unit sees {field.describe()[0]}" if field is not None else ""
        text = f"{F} maps of {H}x{W}{sees}; the strongest is map {strongest}"
        yield f"{seen.stem}-{layer}.png", maps, text


def _cam(subject: Subject, seen: Seen, wishes: Wishes) -> Iterator[Drawing]:
    for layer in wishes.layers:
        yield _attributed(f"cam-{layer}", subject, seen, wishes, explain.grad_cam, layer=layer)
    if not wishes.layers:
        layer = _cam_layer(subject, seen)
        yield _attributed("cam", subject, seen, wishes, explain.grad_cam, layer=layer)


def _cam_layer(subject: Subject, seen: Seen) -> str:
    """The network's own layer for Grad-CAM. Of images so small that its maps have shrunk to one
    place, as VGG's have of 32x32, the last layer whose maps have not."""
    maps = explain.feature_maps(subject.model, seen.x, subject.cam)
    if max(maps.shape[2:]) > 1:
        return subject.cam
    return explain.cam_layer(subject.model, seen.x)


def _saliency(subject: Subject, seen: Seen, wishes: Wishes) -> Iterator[Drawing]:
    yield _attributed("saliency", subject, seen, wishes, explain.saliency)


def _occlusion(subject: Subject, seen: Seen, wishes: Wishes) -> Iterator[Drawing]:
    yield _attributed("occlusion", subject, seen, wishes, explain.occlusion)


def _attributed(
    label: str, subject: Subject, seen: Seen, wishes: Wishes, method: Any, **options: Any
) -> Drawing:
    found = method(
        subject.model,
        seen.x,
        target=_target(subject, wishes),
        picture=seen.picture,
        classes=subject.classes,
        **options,
    )
    H, W = found.values.shape
    row, column = np.unravel_index(found.values.argmax(), (H, W))
    which = f" (the first of {subject.heads} outputs)" if subject.heads > 1 else ""
    most = f"most at row {row}, column {column} of {H}x{W}"
    if not found.values[row, column] > 0:
        most = "no pixel speaks for it"
    return f"{seen.stem}-{label}.png", found, f"{found.method}, for {found.name}{which}: {most}"


def _filters(subject: Subject, seen: Seen | None, wishes: Wishes) -> Iterator[Drawing]:
    for layer in wishes.layers or (first_filters(subject.model),):
        filters = explain.show_filters(subject.model, layer)
        shape = "x".join(map(str, filters.values.shape))
        yield f"filters-{layer}.png", filters, f"weights {shape} of {layer}"


def _field(subject: Subject, seen: Seen | None, wishes: Wishes) -> Iterator[Drawing]:
    for layer in wishes.layers or (subject.cam,):
        found = explain.effective_receptive_field(
            subject.model, layer, input_size=subject.input_size
        )
        theory = "?" if found.theory is None else found.theory.describe()[0]
        text = f"unit {found.unit} of {layer}: {found.size:.0f} pixels wide, by theory {theory}"
        yield f"field-{layer}.png", found, text


_DRAW: dict[str, Callable[[Subject, Any, Wishes], Iterator[Drawing]]] = {
    "maps": _maps,
    "cam": _cam,
    "saliency": _saliency,
    "occlusion": _occlusion,
    "filters": _filters,
    "field": _field,
}
_AT_LAYERS = {"maps", "cam", "filters", "field"}
