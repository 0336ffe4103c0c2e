"""A training from options to its report, and a run folder back to a model."""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import models
from ..autograd import Tensor
from ..backend.random import manual_seed
from ..data import DataLoader
from ..models.weights import published
from ..train import RunFolder, Trainer, heads_loss
from ..train.checkpoint import check_model
from ..train.run import BEST, CONFUSION, CURVES, LAST, MISTAKES, RESULT, CheckpointError
from . import options as opt
from .data import DataConfig, Images, data_name, describe, load_part, load_training
from .folder import is_folder

_ROOT = Path("runs")
_VALIDATION = 0.1  # of the training images
_EVAL_BATCH = 256
_MANY_HEADED = "svhn"  # the family of networks with an output for each of several digits


@dataclass
class Job:
    """A training that is about to run; `unnamed`: in a folder that its user did not name."""

    model: str
    model_options: dict[str, Any]
    data: DataConfig
    options: opt.Options
    folder: RunFolder
    resume: bool
    unnamed: bool = False

    def config(self) -> dict[str, Any]:
        """What config.json and the checkpoints say."""
        return {
            "model": self.model,
            "model_options": self.model_options,
            "data": self.data.as_dict(),
            "options": opt.as_dict(self.options),
        }

    def make_model(self) -> Any:
        """The network, with initial weights from the random generator."""
        options = _rebuilding(self.model, self.model_options) if self.resume else self.model_options
        return _make_model(self.model, options, self.data)

    def reserve(self) -> None:
        """Makes the folder that its user did not name: the next one, if it was taken meanwhile."""
        while self.unnamed:
            try:
                self.folder.path.mkdir(parents=True)
                return
            except FileExistsError:
                self.folder = RunFolder(_fresh(f"{self.model}-{self.data.name}"))


def usual_data(model: str | None) -> str:
    """The data set to train a network on if none is named; it ships with minicnn.

    ValueError for a network that is not known.
    """
    several = model is not None and models.info(model).family == _MANY_HEADED
    return "digit-strings" if several else "digits"


def new_job(
    model: str,
    data: str,
    data_dir: str | None,
    given: dict[str, Any],
    model_options: dict[str, Any],
    out: Path | None,
    validation: float | None = None,
    image_size: int | None = None,
) -> Job:
    """A training from the beginning.

    Raises ValueError for unknown names and options, FileExistsError if `out` holds a run.
    """
    info = models.info(model)
    share = _VALIDATION if validation is None else validation
    if image_size is not None and not 1 <= image_size <= 1024:
        raise ValueError(f"--image-size expects a number from 1 to 1024, got {image_size}")
    if not 0 <= share < 1:
        raise ValueError(f"--validation expects a share of at least 0 and below 1, got {share}")
    config = describe(data, _absolute(data_dir), 1, share)
    fitting = (size for size in info.image_sizes if size >= config.native_size)
    size = image_size or next(fitting, info.image_sizes[-1])
    if config.folder:
        config = replace(config, native_size=size)
    folder = RunFolder(out if out is not None else _fresh(f"{model}-{config.name}"))
    if folder.holds_run():
        raise FileExistsError(
            f"{folder} holds another run; add --resume to go on with it, or choose another --out"
        )
    options = opt.complete(model, opt.PICTURES if config.folder else data, given)
    opt.check_device(options.device)
    if fixed := sorted(model_options.keys() & _from_data(config)):
        raise ValueError(
            f"--set {fixed[0]}: it follows from the data"
            + (", or give --image-size" if fixed[0] == "image_size" else "")
        )
    if options.shift >= size:
        raise ValueError(f"--shift expects less than the image's side, {size}, got {options.shift}")
    sized = replace(config, image_size=size)
    job = Job(model, model_options, sized, options, folder, resume=False, unnamed=out is None)
    _check_heads(job)
    return job


def resumed_job(
    model: str | None,
    data: str | None,
    data_dir: str | None,
    given: dict[str, Any],
    out: Path | None,
) -> Job:
    """The training whose folder is `out`, or the newest one of that model and data set.

    Raises FileNotFoundError if there is none, CheckpointError if it is damaged, ValueError if it is
    one of another model, data set or options.
    """
    moved = data if data and is_folder(data) and os.path.isdir(os.path.expanduser(data)) else None
    data = data_name(data) if data else None
    path = out if out is not None else _newest(f"{model or 'lenet'}-{data or usual_data(model)}")
    folder = RunFolder(path)
    state = folder.load(LAST)
    config = state["config"]
    try:
        stored = DataConfig.from_dict(config["data"])
        job = Job(
            config["model"],
            config["model_options"],
            stored,
            opt.complete(config["model"], stored.name, {}),
            folder,
            True,
        )
        job.options = opt.restored(config["options"], given)
    except (KeyError, TypeError):
        raise CheckpointError(f"{folder} was not made by `minicnn train`") from None
    opt.check_device(job.options.device)
    if stored.folder and moved:  # the same pictures, wherever they are now
        data, data_dir = None, data_dir or moved
    for name, here, there in (("model", model, job.model), ("data set", data, stored.name)):
        if here is not None and here != there:
            raise ValueError(
                f"{folder} holds a run with the {name} {there!r}, not {here!r}; "
                "choose its own, or another --out"
            )
    if job.options.epochs < state["epoch"]:
        raise ValueError(
            f"--epochs {job.options.epochs}: {folder} has done {state['epoch']} epochs already; "
            "name as many as there shall be in the end"
        )
    if data_dir is not None:
        job.data = replace(stored, directory=_absolute(data_dir))
    return job


class Training:
    """A job with its data loaded and its network made: `run()` trains it.

    Raises what the data set and the network raise. Before `run()` nothing is written; only a
    folder that its user did not name is made.
    """

    def __init__(self, job: Job, callbacks: list[Any]):
        self.job = job
        images, validation = load_training(job.data, job.options.limit)
        options = job.options
        images.shift, images.flip, images.cutout = options.shift, options.flip, options.cutout
        manual_seed(job.options.seed)
        # Moved first: some optimizers make arrays beside the parameters when they are made.
        model = job.make_model().to(options.device)
        size = job.options.batch_size
        # One image has no variance for batch normalisation: a last batch of one is left out.
        alone = len(images) > size and len(images) % size == 1
        pin = job.options.device.startswith("cuda")
        self.loader = DataLoader(images, size, shuffle=True, drop_last=alone, pin_memory=pin)
        self.validation = (
            None if validation is None else DataLoader(validation, _EVAL_BATCH, pin_memory=pin)
        )
        optimizer = opt.make_optimizer(job.options, model)
        job.reserve()
        self.trainer = Trainer(
            model,
            optimizer,
            scheduler=opt.make_scheduler(job.options, optimizer, len(self.loader)),
            device=job.options.device,
            callbacks=callbacks,
            run_dir=job.folder.path,
            config=job.config(),
        )

    def run(self) -> None:
        """Trains, or goes on, to the last epoch."""
        epochs, resume = self.job.options.epochs, self.job.resume
        self.trainer.fit(self.loader, self.validation, epochs=epochs, resume=resume)


# A run that is done


@dataclass
class Run:
    """A trained network and what belongs to it."""

    folder: RunFolder
    model: Any
    data: DataConfig
    epoch: int
    name: str


def open_run(path: Path, which: str = "best", data_dir: str | None = None) -> Run:
    """The network of a run folder, with the weights of its `which` ("best" or "last") checkpoint.

    Raises FileNotFoundError, and CheckpointError for a damaged or foreign checkpoint.
    """
    folder = RunFolder(path)
    state = folder.load(BEST if which == "best" else LAST)
    config = state["config"]
    try:
        data = DataConfig.from_dict(config["data"])
        options = _rebuilding(config["model"], config["model_options"])
        model = _make_model(config["model"], options, data)
    except (KeyError, TypeError):
        raise CheckpointError(f"{folder} was not made by `minicnn train`") from None
    try:
        check_model(model, state["model"])
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: its checkpoint {error}") from None
    model.load_state_dict(state["model"])
    if data_dir is not None:
        data = replace(data, directory=data_dir)
    return Run(folder, model, data, state["epoch"], config["model"])


@dataclass
class Result:
    """How a network does on images: logits (N, classes), and what follows from them.

    With more than one head logits are (N, heads, classes), and a guess is right if all heads are.
    """

    images: Images
    logits: np.ndarray
    loss: float

    @property
    def guesses(self) -> np.ndarray:
        """The class with the largest logit, (N,) or (N, heads)."""
        return self.logits.argmax(-1)

    @property
    def right(self) -> int:
        """How many guesses are true."""
        true = self.guesses == self.images.targets
        return int(true.reshape(len(true), -1).all(1).sum())

    @property
    def accuracy(self) -> float:
        """The share of true guesses."""
        return self.right / len(self.images)


def test(run: Run, device: str = "cpu") -> Result:
    """The network of `run` on its data set's test images."""
    images = load_part(run.data, False)
    outputs = Trainer(run.model, None, device=device).predict(DataLoader(images, _EVAL_BATCH))
    if isinstance(outputs, tuple):
        outputs = tuple(head.cpu() for head in outputs)
        logits = np.stack([head.numpy() for head in outputs], 1)
    else:
        outputs = outputs.cpu()
        logits = outputs.numpy()
    loss = heads_loss(outputs, Tensor(images.targets)).item()
    return Result(images, logits, loss)


def _check_heads(job: Job) -> None:
    """ValueError if the network has another number of outputs than the data has targets."""
    if job.data.heads == 1 and models.info(job.model).family != _MANY_HEADED:
        return
    size = (1, job.data.channels, job.data.image_size, job.data.image_size)
    outputs = Trainer(job.make_model(), None).predict(np.zeros(size, np.float32))
    found = len(outputs) if isinstance(outputs, tuple) else 1
    if found != job.data.heads:
        other = f"--data {usual_data(job.model)}" if found > 1 else "a network like svhn_digits"
        raise ValueError(
            f"{job.data.name} has {_count(job.data.heads, 'target')} for each image, {job.model} "
            f"has {_count(found, 'output')}; take {other}"
        )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def report(run: Run, result: Result, history: list[dict[str, Any]]) -> list[str]:
    """Writes result.json and the pictures into the run folder; returns what could not be drawn."""
    from ..interop.files import write_bytes
    from ..train import plots

    figures = {
        "epoch": run.epoch,
        "test_accuracy": result.accuracy,
        "test_loss": result.loss,
        "test_images": len(result.images),
    }
    write_bytes(run.folder.file(RESULT), (json.dumps(figures, indent=2) + "\n").encode())
    truth, classes = result.images.targets, run.data.classes
    matrix = plots.confusion_matrix(truth.ravel(), result.guesses.ravel(), len(classes))
    try:
        plots.save_curves(history, run.folder.file(CURVES))
        plots.save_confusion(matrix, classes, run.folder.file(CONFUSION))
        pictures, path = result.images.data, run.folder.file(MISTAKES)
        plots.save_mistakes(pictures, truth, result.logits, classes, path)
    except ImportError as error:
        return [str(error)]
    return []


def create_model(name: str, options: dict[str, Any]) -> Any:
    """The network `name` with `options`. ValueError for options that it does not have."""
    try:
        return models.create(name, **options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be made with the options {options}: {error}") from None


def _make_model(name: str, model_options: dict[str, Any], data: DataConfig) -> Any:
    return create_model(name, {**model_options, **_from_data(data)})


def _rebuilding(name: str, model_options: dict[str, Any]) -> dict[str, Any]:
    """The options without a file of weights: a checkpoint holds them all, and the file may be gone.

    Published weights stay, and a file by their name: some networks have another form with them.
    """
    weights = model_options.get("weights")
    try:
        chosen = published(name, weights, {}, False)
    except (TypeError, ValueError):
        chosen = None
    if chosen is not None and chosen.published:
        return model_options
    return {option: value for option, value in model_options.items() if option != "weights"}


def _from_data(data: DataConfig) -> dict[str, int]:
    """The options of a network that follow from the data."""
    sizes = {"num_classes": len(data.classes), "in_channels": data.channels}
    return {**sizes, "image_size": data.image_size}


def _absolute(folder: str | None) -> str | None:
    """What a run remembers of --data-dir: it may be evaluated from another folder."""
    return None if folder is None else os.path.abspath(os.path.expanduser(folder))


def _fresh(name: str) -> Path:
    """runs/name, or runs/name-2, runs/name-3 ... where that is taken."""
    n, path = 1, _ROOT / name
    while path.exists():
        n += 1
        path = _ROOT / f"{name}-{n}"
    return path


def _newest(name: str) -> Path:
    """The newest of runs/name, runs/name-2, ..."""
    pattern = glob.escape(name) + "*"
    found = [path for path in _ROOT.glob(pattern) if (path / LAST).is_file()]
    numbered = [
        path
        for path in found
        if path.name.removeprefix(name).lstrip("-").isdigit() or path.name == name
    ]
    if not numbered:
        raise FileNotFoundError(
            f"there is no run of {name} in {_ROOT}/ to resume; name its folder by --out"
        )
    return max(numbered, key=lambda path: (path / LAST).stat().st_mtime_ns)
