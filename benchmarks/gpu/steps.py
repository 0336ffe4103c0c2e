"""Stages `steps-...`: whole training steps against PyTorch, in one process, taking turns.

A step is forward, cross-entropy, backward and SGD with momentum. Both start from the same weights
and see the same batch; before anything is timed, their first losses must agree.
"""

from __future__ import annotations

import gc
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
from .device import normal, open_device
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
    for batch in batches:
        problem = _Problem(device, torch, work, batch)
        run.attempt(f"batch {batch}", lambda problem=problem: _batch(run, problem))
        _tidy(problem)
    for batch in batches if torch is not None else ():
        problem = _Problem(device, torch, work, batch)
        run.attempt(f"torch.compile, batch {batch}", lambda p=problem: _compiled_batch(run, p), 10)
        _tidy(problem)


def _tidy(problem: _Problem) -> None:
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


@dataclass
class _Problem:
    """Networks from the same weights, and a batch, for each side."""

    device: Any
    torch: Any
    work: Workload
    batch: int

    def __post_init__(self) -> None:
        work, device = self.work, self.device
        shape = work.shape if device.is_gpu or not work.tried_shape else work.tried_shape
        self.options = {**work.options, **({} if device.is_gpu else work.tried)}
        self.x = np.asarray(_host(normal(device, self.batch, *shape)))
        self.target = np.random.default_rng(1).integers(0, work.classes, self.batch)
        minicnn.manual_seed(0)
        net = work.net(minicnn, classes=work.classes, **self.options)
        self.state = {key: value.numpy() for key, value in net.state_dict().items()}
        self._net = net

    def ours(self) -> Contender:
        """minicnn's side, from the initial weights."""
        where = self.device.where
        net = self.work.net(minicnn, classes=self.work.classes, **self.options)
        net.load_state_dict(self._net.state_dict())
        x = minicnn.from_numpy(self.x).to(where)
        return Contender(minicnn, net.to(where), x, minicnn.from_numpy(self.target).to(where))

    def theirs(
        self, tf32: bool = False, channels_last: bool = False, compiled: bool = False
    ) -> Contender:
        """PyTorch's side, from the same weights."""
        torch, where = self.torch, "cuda" if self.device.is_gpu else "cpu"
        layout = {"memory_format": torch.channels_last} if channels_last else {}
        net = self.work.net(torch, classes=self.work.classes, **self.options)
        net.load_state_dict({key: torch.tensor(value) for key, value in self.state.items()})
        net = net.to(where, **layout)
        x = torch.from_numpy(self.x).to(where).contiguous(**layout)
        target = torch.from_numpy(self.target).to(where)
        forward = _compiled(torch, net, self.device.is_gpu) if compiled else None
        return Contender(torch, net, x, target, forward, tf32)


def _host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else np.asarray(x).view(np.ndarray)


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


def _batch(run: Run, problem: _Problem) -> None:
    """minicnn against PyTorch as it comes: eager and channels_last, without and with TF32."""
    makers: dict[str, Callable[[], Contender]] = {OURS: problem.ours}
    if problem.torch is not None:
        run.attempt(f"losses, batch {problem.batch}", lambda: _agree(run, problem))
        for tf32, word in ((False, "TF32 off"), (True, "TF32 on")):
            makers[f"PyTorch eager, {word}"] = partial(problem.theirs, tf32)
            makers[f"PyTorch channels_last, {word}"] = partial(problem.theirs, tf32, True)
    _match(run, problem, makers)


def _compiled_batch(run: Run, problem: _Problem) -> None:
    """minicnn against compiled PyTorch: apart, since compiling may fail or take long."""
    graphs = "CUDA graphs" if problem.device.is_gpu else "traced, not compiled"
    makers: dict[str, Callable[[], Contender]] = {OURS: problem.ours}
    for tf32, word in ((False, "TF32 off"), (True, "TF32 on")):
        name = f"PyTorch compile ({graphs}), {word}"
        makers[name] = partial(problem.theirs, tf32, compiled=True)
    _match(run, problem, makers)


def _agree(run: Run, problem: _Problem) -> None:
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


def _match(run: Run, problem: _Problem, makers: dict[str, Callable[[], Contender]]) -> None:
    """Times the contenders that can be made, in turn, and notes medians and ratios."""
    device, contenders, memory = problem.device, {}, {}
    for name, make in makers.items():
        what = f"{name}, batch {problem.batch}"
        made = run.attempt(what, lambda make=make, name=name: _made(problem, name, make), 3)
        if made is not None:
            contenders[name], memory[name] = made
    if OURS not in contenders:
        raise Unavailable("minicnn did not run: nothing to compare")
    once = max(_seconds(device, contender) for contender in contenders.values())
    each = max(1, min(20, round(_TURN_SECONDS / once)))
    rounds = 3 if run.quick or not device.is_gpu else 15
    rounds = max(3, min(rounds, int(run.left() / 2 / (each * once * len(contenders)))))

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
                "milliseconds": seconds * 1e3,
                "from_to_ms": spread,
                "images_per_s": problem.batch / seconds,
                "minicnn_takes": medians[OURS] / seconds,
                "peak_bytes": memory[name],
                "rounds": rounds,
                "steps_a_round": each,
            },
        )


def _made(problem: _Problem, name: str, make: Callable[[], Contender]) -> Any:
    """`_warmed`; what PyTorch cannot do here is no failure of ours, but is said."""
    try:
        return _warmed(problem, make)
    except Exception as error:
        if name == OURS:
            raise
        raise Unavailable(f"PyTorch failed:\n{last_lines(error)}") from None


def _warmed(problem: _Problem, make: Callable[[], Contender]) -> tuple[Contender, int | None]:
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
