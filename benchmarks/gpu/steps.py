"""Stages `steps-...`: whole training steps against PyTorch, in one process, taking turns.

A step is forward, cross-entropy, backward and SGD with momentum. Both start from the same weights
and see the same batch; before anything is timed, their first losses must agree.
"""

from __future__ import annotations

import copy
import gc
import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import minicnn

from ..common import interleaved
from . import nets
from .device import open_device
from .run import Run, Unavailable, last_lines

OURS = "minicnn"
_AGREE = 1e-4  # first losses, relative
_AGREE_LATER = 1e-2  # after steps, whose rounding errors grow
_TURN_SECONDS = 0.05  # about how long a contender's turn lasts
_LR = 0.005


@dataclass(frozen=True)
class Workload:
    """A network and its batches; `tried` are sizes to try this script at, without a GPU."""

    net: Callable[..., Any]
    shape: tuple[int, ...]
    classes: int
    batches: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    tried_shape: tuple[int, ...] = ()
    tried: dict[str, Any] = field(default_factory=dict)


WORKLOADS = {
    "lenet5": Workload(nets.lenet5, (1, 28, 28), 10, (64, 256, 1024)),
    "vgg11": Workload(
        nets.vgg11,
        (3, 224, 224),
        1000,
        (32, 16),
        tried_shape=(3, 32, 32),
        tried={"width": 2, "side": 32, "hidden": 8},
    ),
    "vgg11_bn": Workload(
        nets.vgg11,
        (3, 32, 32),
        10,
        (128, 64),
        {"side": 32, "batch_norm": True, "hidden": 512},
        tried={"width": 2, "hidden": 8},
    ),
    "resnet18": Workload(
        nets.resnet18, (3, 32, 32), 10, (128, 64), tried_shape=(3, 8, 8), tried={"width": 2}
    ),
}


class Contender:
    """A network with its optimizer and a batch, on a device.

    Args:
        lib: minicnn, or PyTorch.
        net, x, target: on the device already.
        forward: what gives the loss, where it is not net and cross-entropy: a compiled one.
        tf32: for PyTorch, whether its products and convolutions may use TF32.
    """

    def __init__(
        self, lib: Any, net: Any, x: Any, target: Any, forward: Any = None, tf32: bool = False
    ) -> None:
        self.lib, self.net, self.x, self.target, self.tf32 = lib, net, x, target, tf32
        self.forward = forward or (
            lambda x, target: lib.nn.functional.cross_entropy(net(x), target)
        )
        self.optimizer = lib.optim.SGD(net.parameters(), lr=_LR, momentum=0.9)

    def step(self) -> Any:
        """One training step; gives the loss, not yet waited for."""
        if self.lib is not minicnn:
            allow_tf32(self.lib, self.tf32)
        self.optimizer.zero_grad()
        loss = self.forward(self.x, self.target)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def allow_tf32(torch: Any, allowed: bool) -> None:
    """TF32 on or off, for matrix products and convolutions alike."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def steps(run: Run, name: str) -> None:
    """Measures one network at each of its batch sizes; the compiled rivals last."""
    device, work = open_device(run.device), WORKLOADS[name]
    run.note("precision", "minicnn: fp32 without TF32. PyTorch: as each line says")
    torch = _torch(device)
    if torch is None:
        run.skip("PyTorch's side", "PyTorch is not installed, or sees no GPU (stage versions)")
    batches = work.batches if device.is_gpu else (2,)
    batches = batches[:1] if run.quick else batches
    minicnn.manual_seed(0)
    start = work.net(minicnn, classes=work.classes, **_options(device, work))
    for batch in batches:
        problem = Problem(device, torch, work, start, batch)
        run.attempt(f"batch {batch}", partial(_batch, run, problem))
        _tidy(problem)
    if torch is None:
        return
    if not device.is_gpu and name != "lenet5":
        run.skip("torch.compile", "without a GPU it is tried with lenet5 alone")
        return
    needs = 10.0
    for batch in batches:
        problem = Problem(device, torch, work, start, batch)
        began = time.perf_counter()
        run.attempt(f"torch.compile, batch {batch}", partial(_compiled_batch, run, problem), needs)
        needs = max(needs, time.perf_counter() - began)  # as the batch before took
        _tidy(problem)


def _tidy(problem: Problem) -> None:
    """Gives back what the contenders held."""
    gc.collect()
    problem.device.release()
    if problem.torch is not None:
        problem.torch.compiler.reset()
        if problem.device.is_gpu:
            problem.torch.cuda.empty_cache()


def _torch(device: Any) -> Any:
    try:
        import torch
    except ImportError:
        return None
    if device.is_gpu and not torch.cuda.is_available():
        return None
    if not device.is_gpu:
        torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True  # PyTorch may choose its fastest convolutions
    return torch


class Problem:
    """Networks from the same weights, and a batch, for each side.

    Args:
        device: of device.py.
        torch: PyTorch, or None.
        start: minicnn's network on the CPU, whose weights both begin with.
        batch: how many images.
    """

    def __init__(self, device: Any, torch: Any, work: Workload, start: Any, batch: int) -> None:
        self.device, self.torch, self.start, self.batch = device, torch, start, batch
        self._make = partial(work.net, classes=work.classes, **_options(device, work))
        shape = work.shape if device.is_gpu or not work.tried_shape else work.tried_shape
        rng = np.random.default_rng(1)
        self.x = rng.standard_normal((batch, *shape), np.float32)
        self.target = rng.integers(0, work.classes, batch)

    def ours(self) -> Contender:
        """minicnn's side."""
        where = self.device.where
        x, target = [minicnn.from_numpy(a).to(where) for a in (self.x, self.target)]
        return Contender(minicnn, copy.deepcopy(self.start).to(where), x, target)

    def theirs(
        self, tf32: bool = False, channels_last: bool = False, compiled: bool = False
    ) -> Contender:
        """PyTorch's side."""
        torch, where = self.torch, "cuda" if self.device.is_gpu else "cpu"
        layout = {"memory_format": torch.channels_last} if channels_last else {}
        with torch.device("meta"):  # initial values of its own would take long for a VGG
            net = self._make(torch)
        net = net.to_empty(device=where)
        state = self.start.state_dict()
        net.load_state_dict({key: torch.as_tensor(value.numpy()) for key, value in state.items()})
        net = net.to(**layout) if layout else net
        x, target = [torch.from_numpy(a).to(where) for a in (self.x, self.target)]
        forward = _compiled(torch, net, self.device.is_gpu) if compiled else None
        return Contender(torch, net, x.contiguous(**layout), target, forward, tf32)


def _options(device: Any, work: Workload) -> dict[str, Any]:
    return {**work.options, **({} if device.is_gpu else work.tried)}


def _compiled(torch: Any, net: Any, on_gpu: bool) -> Callable[[Any, Any], Any]:
    """The loss through torch.compile with CUDA graphs; off a GPU through its tracer alone."""
    options = {"mode": "reduce-overhead"} if on_gpu else {"backend": "eager"}

    def loss(x: Any, target: Any) -> Any:
        return torch.nn.functional.cross_entropy(net(x), target)

    compiled = torch.compile(loss, dynamic=False, **options)

    def forward(x: Any, target: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(x, target)

    return forward


def _batch(run: Run, problem: Problem) -> None:
    """minicnn against PyTorch as it comes: eager and channels_last, without and with TF32."""
    makers: dict[str, Callable[[], Contender]] = {OURS: problem.ours}
    if problem.torch is not None:
        run.attempt(f"losses, batch {problem.batch}", lambda: agree(run, problem))
        for tf32, word in ((False, "TF32 off"), (True, "TF32 on")):
            makers[f"PyTorch eager, {word}"] = partial(problem.theirs, tf32)
            makers[f"PyTorch channels_last, {word}"] = partial(problem.theirs, tf32, True)
    _match(run, problem, makers)


def _compiled_batch(run: Run, problem: Problem) -> None:
    """minicnn against compiled PyTorch: apart, since compiling may fail or take long."""
    graphs = "CUDA graphs" if problem.device.is_gpu else "traced, not compiled"
    makers: dict[str, Callable[[], Contender]] = {OURS: problem.ours}
    for tf32, word in ((False, "TF32 off"), (True, "TF32 on")):
        name = f"PyTorch compile ({graphs}), {word}"
        makers[name] = partial(problem.theirs, tf32, compiled=True)
    before = _without_graphs(problem.torch)
    _match(run, problem, makers)
    if without := _without_graphs(problem.torch) - before:
        run.skip(f"CUDA graphs, batch {problem.batch}", f"PyTorch compiled {without} parts without")


def _without_graphs(torch: Any) -> int:
    """How many of the parts that PyTorch compiled it would not put into CUDA graphs."""
    utils = importlib.import_module(f"{torch.__name__}._dynamo.utils")
    return int(utils.counters["inductor"]["cudagraph_skips"])


def agree(run: Run, problem: Problem) -> None:
    """The losses of the first steps, without dropout and TF32, must be the same in both."""
    columns = []
    for contender in (problem.ours(), problem.theirs()):
        for module in contender.net.modules():
            if isinstance(module, contender.lib.nn.Dropout):
                module.p = 0.0
        columns.append([float(contender.step().item()) for _ in range(4)])
    ours, theirs = columns
    apart = [abs(a - b) / max(abs(b), 1e-6) for a, b in zip(ours, theirs, strict=True)]
    run.add("losses", {"batch": problem.batch, "minicnn": ours, "PyTorch": theirs, "apart": apart})
    if not (apart[0] <= _AGREE and max(apart) <= _AGREE_LATER):
        run.fail(f"losses, batch {problem.batch}", f"minicnn {ours}, PyTorch {theirs}")


def _match(run: Run, problem: Problem, makers: dict[str, Callable[[], Contender]]) -> None:
    """Times the contenders that can be made, in turn, and notes medians and ratios.

    A rival is begun only if there is time for one that takes as long as the slowest so far: else
    the stage would end before anything is noted.
    """
    device, contenders, memory, longest = problem.device, {}, {}, 0.0
    for name, make in makers.items():
        what, began = f"{name}, batch {problem.batch}", time.perf_counter()
        made = run.attempt(what, partial(_made, problem, name, make), 3 + 1.5 * longest)
        if made is not None:
            contenders[name], memory[name] = made
        if name != OURS:
            longest = max(longest, time.perf_counter() - began)
    if OURS not in contenders:
        raise Unavailable("minicnn did not run: nothing to compare")
    each, rounds = _pace(run, device, contenders)

    def turn(contender: Contender) -> Callable[[], None]:
        def steps() -> None:
            for _ in range(each):
                contender.step()
            device.synchronize()

        return steps

    times = interleaved({name: turn(c) for name, c in contenders.items()}, rounds)
    medians = {name: statistics.median(values) / each for name, values in times.items()}
    for name, seconds in medians.items():
        spread = [min(times[name]) / each * 1e3, max(times[name]) / each * 1e3]
        run.add(
            "steps",
            {
                "batch": problem.batch,
                "who": name,
                "against": [other for other in contenders if other != name],
                "milliseconds": seconds * 1e3,
                "from_to_ms": spread,
                "images_per_s": problem.batch / seconds,
                "minicnn_takes": medians[OURS] / seconds,
                "peak_bytes": memory[name],
                "rounds": rounds,
                "steps_a_round": each,
            },
        )


def _pace(run: Run, device: Any, contenders: dict[str, Contender]) -> tuple[int, int]:
    """(steps a turn, rounds) that fit into half of the time that is left."""
    if not device.is_gpu:
        return 1, 2
    once = max(_seconds(device, contender) for contender in contenders.values())
    each = max(1, min(20, round(_TURN_SECONDS / once)))
    fit = int(run.left() / 2 / (each * once * len(contenders)))
    return each, max(3, min(3 if run.quick else 15, fit))


def _made(problem: Problem, name: str, make: Callable[[], Contender]) -> Any:
    """`_warmed`; what PyTorch cannot do here is no failure of ours, but is said."""
    try:
        return _warmed(problem, make)
    except Exception as error:
        if name == OURS:
            raise
        raise Unavailable(f"PyTorch failed:\n{last_lines(error)}") from None


def _warmed(problem: Problem, make: Callable[[], Contender]) -> tuple[Contender, int | None]:
    """(a contender that has run some steps, the most memory of the GPU that it held)."""
    made: list[Contender] = []

    def run() -> None:
        made.append(make())
        for _ in range(3):
            loss = float(made[0].step().item())
        if not np.isfinite(loss):
            raise RuntimeError(f"the loss is {loss}")

    device, torch = problem.device, problem.torch
    if not device.is_gpu or torch is None:
        peak = device.peak_bytes(run)
        return made[0], peak
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    peak = device.peak_bytes(run)
    return made[0], peak + torch.cuda.max_memory_allocated() - before


def _seconds(device: Any, contender: Contender) -> float:
    device.synchronize()
    start = time.perf_counter()
    contender.step()
    device.synchronize()
    return time.perf_counter() - start
