"""The commands. Only what every one of them needs is imported here: help should come at once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    rich_markup_mode="markdown",
    name="minicnn",
    help="Train, evaluate and study convolutional networks in NumPy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# As in options.py, which is not imported for a text.
_OPTIMIZERS = "sgd, adam, adamw, adamax, nadam, radam, rmsprop, rprop, adagrad, adadelta or lbfgs."
_DEVICES = "cpu, cuda (or cuda:1 ...), or emulator: a GPU played by the CPU, slowly."
_SCHEDULERS = (
    "none, step, multistep, exponential, linear, polynomial, cosine, restarts, plateau, cyclic or "
    "onecycle."
)
# What to try next, after a data set.
_HARDER = {"digits": "mnist", "mnist": "fashion-mnist", "cifar10": "cifar100"}
_DataDir = Annotated[
    str | None, typer.Option(help="The folder with the data set's files; default: a cache.")
]
_Validation = Annotated[
    float | None,
    typer.Option(help="Share of the training images to choose the best epoch by; default 0.1."),
]
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the network: pooling=avg."),
]


def _one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Errors end the command with their text on stderr and code 1; MINICNN_DEBUG=1 shows more."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as error:
            # Not only for Ctrl-C by hand: 130 is what a shell expects after SIGINT.
            typer.echo(str(error) or "interrupted", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            # Whoever read the output has gone (`| head`): click ends the command without a word.
            if isinstance(error, (typer.Exit, BrokenPipeError)) or type(
                error
            ).__module__.startswith(("click", "typer")):
                raise
            if os.environ.get("MINICNN_DEBUG", "0") not in ("", "0"):
                raise
            typer.echo(f"minicnn: {_text(error)}", err=True)
            raise typer.Exit(1) from None

    return guarded


def _text(error: Exception) -> str:
    message = str(error).strip()
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (ValueError, RuntimeError, OSError, ImportError)) and message:
        return message
    return f"{type(error).__name__}: {message} (MINICNN_DEBUG=1 shows where)"


def _version(wanted: bool) -> None:
    if wanted:
        from ..version import __version__

        typer.echo(f"minicnn {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
@_one_line_errors
def train(
    model: Annotated[str | None, typer.Argument(help="The network; see `minicnn models`.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The data set; see `minicnn datasets`. Or a folder of pictures."),
    ] = None,
    data_dir: _DataDir = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images for each step.")] = None,
    lr: Annotated[float | None, typer.Option(help="The (highest) learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help=_OPTIMIZERS)] = None,
    scheduler: Annotated[str | None, typer.Option(help=_SCHEDULERS)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    shift: Annotated[
        int | None, typer.Option(help="Move training images at random by up to so many pixels.")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror half of the training images, at random."),
    ] = None,
    cutout: Annotated[
        int | None, typer.Option(help="Black out a square of so many pixels, at random.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Train on so many of the training images: a quick trial.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The seed of everything random; default 0.")
    ] = None,
    device: Annotated[str | None, typer.Option(help=_DEVICES)] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; default runs/MODEL-DATA.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    validation: _Validation = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side to scale images to; default: what suits the network.")
    ] = None,
    set_: _Settings = None,
) -> None:
    """Train a network: `minicnn train lenet --data digits`.

    The run folder gets config.json, metrics.csv, the last and best checkpoint, curves.png,
    confusion.png and mistakes.png. Options that are not given suit the network and the data. A part
    of the training images is set aside to choose the best epoch by; the test images are looked at
    once, at the end, with the weights of that epoch. Ctrl-C saves; --resume goes on.

    Without --data it is digits, or digit-strings for a network that reads several digits.

    A folder of pictures holds train/ and val/ or test/ with a folder for each class, or such
    folders alone.
    """
    from . import runs
    from .display import progress

    values = locals()
    given = {name: values[name] for name in _option_names()}
    if resume:
        fixed = {"--validation": validation, "--image-size": image_size, "--set": set_}
        for name, value in fixed.items():
            if value is not None:
                raise ValueError(f"{name} belongs to the beginning of a run, not to --resume")
        job = runs.resumed_job(model, data, data_dir, given, out)
    else:
        if model is None:
            raise ValueError("which network? for example: minicnn train lenet --data digits")
        settings = dict(_setting(text) for text in set_ or [])
        data = runs.usual_data(model) if data is None else data
        job = runs.new_job(model, data, data_dir, given, settings, out, validation, image_size)
    _run(job, progress())


def _run(job: Any, display: Any) -> None:
    from . import runs

    training = runs.Training(job, [display])
    verb = "resuming" if job.resume else "training"
    where = _device_text(next(training.trainer.model.parameters()).device)
    typer.echo(f"{verb} {job.model} on {job.data.name}{where}: {job.folder}")
    try:
        training.run()
        _report(job, training.trainer.history)
    except KeyboardInterrupt as error:
        # Also the second Ctrl-C, and one that comes after the training, while pictures are drawn.
        text = str(error) or "interrupted"
        if job.folder.can_resume():
            text = f"{text}\ngo on with: {_resume_command(job)}"
        raise KeyboardInterrupt(text) from None


def _device_text(device: Any) -> str:
    """What the first line of a training says of its device: nothing of the CPU."""
    if device.type != "cuda":
        return "" if device.type == "cpu" else f", computed on {device}"
    from ..cuda import get_device_name

    return f", computed on {device} ({get_device_name(device)})"


def _report(job: Any, history: list[dict[str, Any]]) -> None:
    """Tests the best weights, draws the pictures, and says what to try next."""
    from . import runs

    run = runs.open_run(job.folder.path, data_dir=job.data.directory)
    result = runs.test(run, job.options.device)
    _print_result(run, result)  # before the pictures, for which the disk may be too full
    for note in runs.report(run, result, history):
        typer.echo(f"note: {note}", err=True)
    folder = _quoted(job.folder)
    typer.echo(
        f"run folder     {job.folder}  (curves.png, confusion.png, mistakes.png, metrics.csv)"
    )
    typer.echo(f"try next       minicnn evaluate {folder}")
    typer.echo(f"               minicnn predict {folder} PICTURE.png")
    other = _HARDER.get(job.data.name)
    if other and not job.data.folder:
        typer.echo(f"               minicnn train {job.model} --data {other}")


def _print_result(run: Any, result: Any) -> None:
    counts = f"{result.right} of {len(result.images)} test images"
    details = f"{counts}, loss {result.loss:.4f}, weights of epoch {run.epoch}"
    typer.echo(f"test accuracy  {result.accuracy:.2%}  ({details})")


def _resume_command(job: Any) -> str:
    out = _quoted(job.folder)
    return f"minicnn train {job.model} --data {_quoted(job.data.name)} --out {out} --resume"


def _quoted(folder: Any) -> str:
    """The folder as it can be typed into a shell, Windows' too."""
    text = str(folder)
    return f'"{text}"' if " " in text else text


def _option_names() -> list[str]:
    from .options import names

    return names()


def _setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE as a pair; numbers, true and false (also True and False) are recognised."""
    import json

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set expects NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value.lower() if value in ("True", "False") else value)
    except ValueError:
        return name, value


@app.command()
@_one_line_errors
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    data_dir: _DataDir = None,
    device: Annotated[str, typer.Option(help=_DEVICES)] = "cpu",
) -> None:
    """Measure a trained network on the test images, class by class."""
    from . import runs
    from .options import check_device

    check_device(device)
    if checkpoint not in ("best", "last"):
        raise ValueError(f"--checkpoint expects best or last, got {checkpoint!r}")
    trained = runs.open_run(run, checkpoint, data_dir)
    result = runs.test(trained, device)
    typer.echo(f"{trained.name} on {trained.data.name}, {checkpoint} checkpoint of {run}")
    _print_result(trained, result)
    width = max(map(len, trained.data.classes))
    for k, name in enumerate(trained.data.classes):
        mine = result.images.targets == k
        right = int((result.guesses[mine] == k).sum())
        share = f"{right / mine.sum():8.2%}" if mine.any() else "       -"
        typer.echo(f"  {name:{width}} {share}  ({right} of {int(mine.sum())})")


@app.command()
@_one_line_errors
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, of any kind that Pillow reads.")],
    top: Annotated[int, typer.Option(help="How many guesses to show.", min=1)] = 3,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str, typer.Option(help=_DEVICES)] = "cpu",
) -> None:
    """Say what a trained network sees in pictures.

    A picture of the data set's own size is taken as it is. Of others, the square in the middle is
    scaled to it. For a network of grey digits or clothes, bright paper is turned into black, and
    what stands out is cut out and centred, as the data set's images are; for one that reads several
    digits, the whole picture is squeezed into a square.
    """
    import numpy as np

    from ..functional import softmax
    from ..train import Trainer
    from . import runs
    from .data import Images
    from .options import check_device
    from .picture import read_picture

    if checkpoint not in ("best", "last"):
        raise ValueError(f"--checkpoint expects best or last, got {checkpoint!r}")
    check_device(device)
    trained = runs.open_run(run, checkpoint)
    trainer, failed = Trainer(trained.model, None, device=device), 0
    width = max(len(str(path)) for path in images)
    for path in images:
        try:
            pixels = read_picture(path, trained.data)
        except (OSError, ValueError) as error:
            failed += 1
            typer.echo(f"minicnn: {_text(error)}", err=True)
            continue
        batch = Images(pixels[None], np.zeros(1, np.int64), trained.data)[0][0].array[None]
        outputs = trainer.predict(_tensor(batch))
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        guesses = _guesses([softmax(head.cpu(), 1).array[0] for head in heads], trained, top)
        typer.echo(f"{path!s:{width}}  {guesses}")
    if failed:
        raise typer.Exit(1)


def _guesses(chances: list[Any], trained: Any, top: int) -> str:
    """The `top` most probable classes; of several heads, the one string that they make."""
    classes = trained.data.classes
    if len(chances) == 1:
        best = chances[0].argsort()[::-1][:top]
        return "  ".join(f"{classes[k]} {chances[0][k]:.1%}" for k in best)
    import numpy as np

    from ..train.plots import said

    best = np.array([head.argmax() for head in chances])
    return f"{said(best, classes)} {np.prod([head.max() for head in chances]):.1%}"


@app.command()
@_one_line_errors
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    file: Annotated[Path, typer.Argument(help="The file to write, such as model.onnx.")],
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="Take pixels, 0 to 255, of type uint8.")
    ] = False,
    softmax: Annotated[bool, typer.Option("--softmax", help="Give probabilities.")] = False,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators, 17 to 21.")] = 17,
) -> None:
    """Write a trained network as an ONNX file: `minicnn export RUN model.onnx`.

    The file takes any number of images and gives logits. Its metadata name the classes, the images'
    size, and the mean and deviation that they are normalised by; --with-preprocessing makes that a
    part of the network. What the file computes is compared with the network before it is written.
    """
    from . import runs
    from .export import export_run

    if checkpoint not in ("best", "last"):
        raise ValueError(f"--checkpoint expects best or last, got {checkpoint!r}")
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a file, such as {file / 'model.onnx'}")
    trained = runs.open_run(run, checkpoint)
    export_run(trained, file, with_preprocessing, softmax, opset)
    data = trained.data
    pixels = "uint8" if with_preprocessing else "float32"
    result = "probabilities" if softmax else "logits"
    typer.echo(
        f"{trained.name} on {data.name}, {checkpoint} checkpoint of {run}: {file} "
        f"({file.stat().st_size:,} bytes)"
    )
    size = f"{data.channels}, {data.image_size}, {data.image_size}"
    typer.echo(f"input   {pixels} (batch, {size})")
    times = f"{data.heads} times " if data.heads > 1 else ""
    shape = f"(batch, {len(data.classes)})"
    names = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    typer.echo(f"output  {times}float32 {shape} {result}: {names}")


def _tensor(array: Any) -> Any:
    from ..autograd import Tensor

    return Tensor(array)


@app.command(name="models")
@_one_line_errors
def list_models() -> None:
    """List the networks: parameters, the input they were made for, and published weights."""
    from ..models import available
    from ..models.published import PUBLISHED

    infos = available()
    width = max(map(len, infos))
    for name, info in infos.items():
        size = "x".join(map(str, info.input_size))
        weights = "+" if name in PUBLISHED else " "
        typer.echo(
            f"{name:{width}}  {info.parameters:>11,}  {size:9}  {weights}  {info.description}"
        )
    typer.echo('\n+ published weights: load them by weights="DEFAULT"')


@app.command(name="datasets")
@_one_line_errors
def list_datasets() -> None:
    """List the data sets."""
    from ..datasets import available

    infos = available()
    width = max(map(len, infos))
    for name, info in infos.items():
        size = "x".join(map(str, info.image_size))
        where = "downloaded" if info.needs_download else "built in"
        typer.echo(
            f"{name:{width}}  {info.train_size:>6,} + {info.test_size:>6,} images of {size:8} "
            f"{info.num_classes:3} classes  {where:10}  {info.description} ({info.licence})"
        )


@app.command()
@_one_line_errors
def summary(
    model: Annotated[str, typer.Argument(help="The network; see `minicnn models`.")],
    input_: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="Size of an image, e.g. 1x28x28.")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="How many classes.", min=1)] = None,
    set_: _Settings = None,
    depth: Annotated[
        int | None,
        typer.Option(help="Modules in modules to show; default: what 80 lines hold.", min=1),
    ] = None,
) -> None:
    """Show a network's layers: shapes, parameters, multiply-adds, and what their units see.

    *sees* is the receptive field: how many pixels of the input a unit depends on, rows x columns;
    *jump*, how far its neighbour's field is moved; *start*, where that of the first unit begins,
    below 0 in the padding. Blocks that repeat the one before them share a line.
    """
    from . import look

    options = dict(_setting(text) for text in set_ or [])
    if num_classes is not None:
        options["num_classes"] = num_classes
    typer.echo(look.summary_text(model, input_, options, depth))


@app.command()
@_one_line_errors
def look(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a network.")],
    image: Annotated[
        str | None,
        typer.Argument(
            help="A picture, or test:17 for the run's test image 17.", show_default=False
        ),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Show this layer's maps; may be given again.")
    ] = None,
    cam: Annotated[
        bool, typer.Option("--cam", help="Grad-CAM; at --layer, if one is given.")
    ] = False,
    saliency: Annotated[
        bool, typer.Option("--saliency", help="How much each pixel moves the class.")
    ] = False,
    occlusion: Annotated[
        bool, typer.Option("--occlusion", help="What covering a patch costs the class.")
    ] = False,
    filters: Annotated[
        bool, typer.Option("--filters", help="The weights of --layer, or the first convolution.")
    ] = False,
    field: Annotated[
        bool, typer.Option("--field", help="What the centre unit of --layer sees, by gradient.")
    ] = False,
    label: Annotated[
        str | None, typer.Option("--class", help="The class to explain; default: the guess.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of a network by name: a file, or such as IMAGENET1K_V1.")
    ] = None,
    set_: _Settings = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    data_dir: Annotated[
        str | None, typer.Option(help="The folder with the data set's files.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder for the pictures; default: the run's.")
    ] = None,
) -> None:
    """See what a trained network does with a picture: `minicnn look runs/lenet-digits test:17`.

    Without options: Grad-CAM. Each picture is written as a PNG, and its path is printed, with what
    the network takes the image for.
    """
    from . import look as looking

    wanted = {"cam": cam, "saliency": saliency, "occlusion": occlusion, "filters": filters}
    wishes = looking.Wishes(
        layers=tuple(layer or ()),
        kinds=tuple(name for name, on in {**wanted, "field": field}.items() if on),
        label=label,
        out=out,
    )
    options = dict(_setting(text) for text in set_ or [])
    subject = looking.open_subject(run, weights, checkpoint, data_dir, options)
    for line in looking.look(subject, image, wishes):
        typer.echo(line)


@app.command()
@_one_line_errors
def gradcheck(
    ops: Annotated[
        list[str] | None, typer.Argument(help="Operations, or families of them; default: all.")
    ] = None,
    configurations: Annotated[
        int, typer.Option("-n", "--configurations", help="Configurations of each.", min=1)
    ] = 5,
    second: Annotated[
        bool, typer.Option("--second/--first-only", help="Check second derivatives too.")
    ] = True,
    backend: Annotated[
        str, typer.Option(help="Whose primitives to run: cpu, reference, emulator or cuda.")
    ] = "cpu",
) -> None:
    """Check gradients against finite differences: `minicnn gradcheck conv2d max_pool2d`.

    Every configuration draws shapes and options of its own. The error is that of the worst slope,
    relative to the gradient, in float64. The command fails if any gradient is wrong, or cannot be
    computed.
    """
    from rich.console import Console

    from ..backend import use_backend
    from . import gradients

    console = Console()
    with use_backend(backend):
        rows = gradients.check_all(gradients.chosen(ops or []), configurations, second, console)
    console.print(gradients.table(rows))
    wrong = [row for row in rows if not row.right]
    typer.echo(f"{len(rows)} operation{'s' * (len(rows) != 1)}, {len(wrong)} wrong")
    for row in wrong:
        typer.echo(f"\n{row.message}", err=True)
    if wrong:
        raise typer.Exit(1)


@app.command()
@_one_line_errors
def emulate(
    file: Annotated[str, typer.Argument(help="A .cu file, or the name of one of minicnn's own.")],
    check: Annotated[
        bool, typer.Option("--check", help="Look at every access to memory, too.")
    ] = False,
    kernel: Annotated[
        list[str] | None, typer.Option(help="Only this kernel; 'name<8, 2>' for a template's.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Blocks along each axis: 8 or 8x4.")] = None,
    block: Annotated[str, typer.Option(help="Threads of a block along each axis.")] = "256",
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An argument of the kernel: x=float32[1000] (random), y=float32[50,20]:0, n=1000, "
            "p=none.",
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Elements of arrays without an --arg.", min=1)] = 1000,
    define: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A macro to compile with.")
    ] = None,
    shared: Annotated[int, typer.Option(help="Bytes of dynamic shared memory.", min=0)] = 0,
    seconds: Annotated[
        float, typer.Option(help="Give a launch up that takes longer.", min=0.001)
    ] = 60.0,
) -> None:
    """Run CUDA kernels without a GPU: `minicnn emulate pool.cu --check`.

    Each kernel runs with its threads in order, in reverse and shuffled, which must give the same
    results. --check also reports, with file, line, block and thread: accesses out of bounds, reads
    of shared memory that nobody wrote, races, divergent barriers, misaligned vectors.

    minicnn's own kernels are run on samples, an edited copy of such a file too: its results are
    compared with those of the original. Other kernels get arrays of --size elements, and a lone
    integer argument that number; --arg says what else they need. The command fails if it finds a
    mistake. Without --check, a kernel that writes beside its arrays may go unnoticed.
    """
    from rich.console import Console

    from . import kernels

    console, path = Console(), kernels.path_of(file)
    wishes = kernels.Wishes(
        kernels=kernel or (),
        defines=kernels.settings("--define", define or []),
        arguments=kernels.settings("--arg", arg or []),
        grid=kernels.sizes("--grid", grid) if grid else None,
        block=kernels.sizes("--block", block),
        shared=shared,
        size=size,
    )
    outcomes = kernels.run_all(path, kernels.launches(path, wishes), check, seconds, console)
    console.print(kernels.table(outcomes))
    found = kernels.mistakes(outcomes)
    count = sum(map(len, found.values()))
    launched = f"{len(outcomes)} launch{'es' * (len(outcomes) != 1)}"
    typer.echo(f"{launched}, {count} mistake{'s' * (count != 1)}")
    for title, sentences in found.items():
        typer.echo("\n  ".join([f"{title}:", *sentences]))
    if count:
        raise typer.Exit(1)
