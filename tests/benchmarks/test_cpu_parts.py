"""The parts of `benchmarks.cpu` in this process: networks, turns, goals, the report, arguments."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from benchmarks.cpu import __main__ as command
from benchmarks.cpu import cases, measure, nets, race, report, rivals
from benchmarks.cpu.contender import Failed
from benchmarks.cpu.libraries import functional, with_modules
from minicnn import models

# ---------------------------------------------------------------- networks


def sizes(net):
    """How many parameters the layers of a network have."""
    counts = {
        nets.Conv: lambda c: c.features * (c.channels // c.groups * c.kernel**2 + c.bias),
        nets.Linear: lambda n: n.outputs * (n.inputs + 1),
        nets.BatchNorm: lambda n: 2 * n.channels,
    }
    return [counts[type(part)](part) for part in nets.each_layer(net) if type(part) in counts]


@pytest.mark.parametrize(
    ("net", "model", "options"),
    [
        (nets.alexnet(), "alexnet", {}),
        (nets.densenet(), "densenet_bc_100", {}),
        (nets.googlenet(), "googlenet", {"aux_logits": False, "num_classes": 10, "image_size": 32}),
        (nets.resnet(), "resnet18", {"num_classes": 10, "image_size": 32}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_have_the_parameters_of_the_models(net, model, options):
    theirs = getattr(models, model)(**options).parameters()
    assert sum(sizes(net)) == sum(parameter.numel() for parameter in theirs)


def test_weights_are_those_of_the_layers():
    net = nets.tiny()
    drawn = list(nets.weights(net))
    assert [w.size + (0 if b is None else b.size) for w, b in drawn] == sizes(net)
    again = list(nets.weights(net))
    assert all(np.array_equal(w, v) for (w, _), (v, _) in zip(drawn, again, strict=True))


class OpsOfMinicnn:
    """The table of operations that libraries of functions give, here minicnn's."""

    relu, linear, dropout = F.relu, F.linear, F.dropout

    def flatten(x):
        return minicnn.flatten(x, 1)

    def conv(x, layer, w, b):
        return F.conv2d(x, w, b, layer.stride, layer.padding, groups=layer.groups)

    def batch_norm(x, layer, weight, bias):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=layer.eps)

    def max_pool(x, layer):
        return F.max_pool2d(x, layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil)

    def avg_pool(x, layer):
        return F.avg_pool2d(x, layer.kernel)

    def global_avg_pool(x):
        return F.adaptive_avg_pool2d(x, 1)

    def add(x, y):
        return x + y

    def concat(parts):
        return minicnn.cat(parts, 1)


@pytest.mark.parametrize("net", [nets.tiny(), nets.resnet((1, 1, 1, 1))], ids=["tiny", "resnet"])
def test_functions_and_modules_are_the_same_network(net):
    x, target = nets.batch((4, 3, 8, 8), 4)
    params = [None if a is None else minicnn.from_numpy(a) for a in functional.parameters(net)]
    y = functional.apply(OpsOfMinicnn, net, minicnn.from_numpy(x), params, dropout=False)
    loss = F.cross_entropy(y, minicnn.from_numpy(target)).item()
    trainer = with_modules.open_minicnn(minicnn.get_num_threads()).trainer(net, x, target)
    first = trainer.loss()
    assert first == pytest.approx(loss, rel=1e-6)
    assert trainer.loss() < first
    assert len(trainer.step()) == len(trainer.parts) == 3


@pytest.mark.slow
def test_minicnn_and_pytorch_train_the_same():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    x, target = nets.batch((4, 3, 8, 8), 4)
    losses = {}
    for label, library in (
        ("minicnn", with_modules.open_minicnn(minicnn.get_num_threads())),
        ("PyTorch", with_modules.open_torch(threads)),
        ("PyTorch, channels_last", with_modules.open_torch(threads, channels_last=True)),
    ):
        trainer = library.trainer(nets.tiny(), x, target)
        losses[label] = [trainer.loss() for _ in range(3)]
    assert measure.disagreeing(losses) == {}


@pytest.mark.parametrize("start", ["cross-entropy", "average", "linear to 120", "SGD", "ReLU"])
def test_operations_can_be_timed(start):
    library = with_modules.open_minicnn(minicnn.get_num_threads())
    operation = library.op(next(op.title for op in cases.OPS if op.title.startswith(start)))
    assert len(operation.step()) == len(operation.parts)
    assert all(seconds > 0 for seconds in operation.step())


def test_algorithms_of_a_convolution():
    algorithms = {op.title.split(",")[1]: op.algorithms for op in cases.OPS}
    assert algorithms[" 3x3 depthwise"] == ("im2col", "direct")
    assert algorithms[" 3x3 to 512"] == ("im2col", "winograd2", "winograd4")
    assert algorithms[" 5x5 to 16"] == ("im2col", "winograd2", "winograd4")
    assert algorithms[" 1x1 to 128"] == ("im2col", "pointwise")
    assert algorithms[" 11x11 to 64"] == ()


def test_titles_are_unique():
    titles = [op.title for op in cases.OPS] + [case.title for case in cases.STEPS.values()]
    assert len(set(titles)) == len(titles)


# ---------------------------------------------------------------- turns


class Fake:
    """A contender whose steps take `seconds`, and which fails after so many turns."""

    def __init__(self, label, seconds, turns=10**6):
        self.label, self._seconds, self._turns = label, seconds, turns
        self.asked = []

    def ask(self, do, limit, count):
        self.asked.append(count)
        if len(self.asked) > self._turns:
            raise Failed("it is worn out")
        return {"parts": [[self._seconds, 0.0]] * count, "cpu": 0.0, "wall": self._seconds}


def test_turns_are_as_long_as_steps_are_short():
    quick, long, worn = Fake("quick", 0.03), Fake("long", 0.5), Fake("worn", 0.03, turns=4)
    one = race.Race([quick, long, worn])
    one.run(0, rounds=5, slow_rounds=3)
    assert quick.asked == [1, 1, 3, 6, 6, 6, 6, 6]  # 0.15 s and a cold one
    assert long.asked == [1, 1, 1, 1, 1]  # 17 times as slow: three rounds
    assert one.failed == {"worn": "it is worn out"}
    assert {label: len(times) for label, times in one.times.items()} == {"quick": 25, "long": 3}
    assert one.median("long") == 0.5
    assert one.others() >= 0


def test_a_summary():
    told = measure.summary([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert told["median"] == 7.0
    assert told["quartiles"] == [3.0, 11.0]
    assert told["part_medians"] == [3.0, 4.0]
    assert measure.summary([[1.0]])["quartiles"] == [1.0, 1.0]


def test_who_computes_something_else():
    losses = {
        "minicnn": [2.0, 1.0],
        "PyTorch": [2.001, 1.005],
        "Chainer": [2.1, 1.0],
        "JAX": [2.0, 1.1],
        "DeZero": [float("nan"), 1.0],
    }
    assert list(measure.disagreeing(losses)) == ["Chainer", "JAX", "DeZero"]
    assert measure.disagreeing({"minicnn": [2.0, 1.0]}) == {}


def test_the_cores_are_watched():
    before = race.busy_seconds()
    if before is None:
        pytest.skip("no /proc/stat here")
    while (after := race.busy_seconds()) == before:
        sum(range(1000))
    assert 0 < after - before < 60


# ---------------------------------------------------------------- the report


def entry(title, others=0.0, absent=None, **milliseconds):
    """What `measure.step` gives; minicnn's net takes 100 MB, everybody else's 200."""
    who = {}
    for name, ms in milliseconds.items():
        label = {"torch": measure.TORCH[0], "last": measure.TORCH[1]}.get(name, name)
        memory = {"before": 50_000_000, "peak": 150_000_000 if name == "minicnn" else 250_000_000}
        who[label] = {**measure.summary([[ms / 2e3, ms / 4e3, ms / 4e3]] * 3), **memory}
    return {"title": title, "who": who, "absent": absent or {}, "others": others}


@pytest.fixture
def whole():
    steps = {
        "vgg11-bn": entry("VGG", 0.0, minicnn=90, torch=120, last=100, Chainer=380, DeZero=360),
        "resnet18": entry("ResNet", 0.3, {"JAX": "not today"}, minicnn=110, torch=100),
    }
    head = dict.fromkeys(("command", "when", "processor", "machine", "commit"), "x")
    head |= {"cores": 2, "threads": 2, "seconds": 1.0, "load": [0.5], "failed": {}}
    head |= {"set_aside": {"OPENBLAS_CORETYPE": "Haswell"}}
    head |= {"versions": {"minicnn": "minicnn 1"}, "missing": {"DeZero": "no network"}}
    return {**head, "steps": steps, "parts": {}}


def test_goals(whole):
    rows = {what: rest for what, *rest in report.goals(whole)}
    assert rows["VGG-11-BN, 32x32, batch 64"] == ["at most 0.95", pytest.approx(0.9), True]
    assert rows["ResNet-18 for CIFAR, batch 32"] == ["at most 1.05", pytest.approx(1.1), False]
    assert rows["AlexNet, 224x224, batch 16"] == ["at most 1.20", None, None]
    chainer = rows["Chainer / minicnn, VGG-11-BN, 32x32, batch 64"]
    assert chainer == ["at least 4", pytest.approx(380 / 90), True]
    assert rows["DeZero / minicnn, VGG-11-BN, 32x32, batch 64"][2] is True
    assert rows["DeZero / minicnn, ResNet-18 for CIFAR, batch 32"][1:] == [None, None]
    [net] = [rest for what, rest in rows.items() if what.startswith("peak memory of the net")]
    assert net == ["at most 1.00", pytest.approx(0.5), True]


def test_a_report_to_read(whole):
    text = report.markdown(whole)
    assert "| VGG-11-BN, 32x32, batch 64 | at most 0.95 | 0.90 | yes |" in text
    assert "| ResNet-18 for CIFAR, batch 32 | at most 1.05 | 1.10 | no |" in text
    assert "| AlexNet, 224x224, batch 16 | at most 1.20 | not measured |  |" in text
    assert "| VGG | 0.90 | 90 (90 to 90) | 120 (120 to 120) | 100 (100 to 100) |" in text
    assert "| VGG | 0.50 / 0.60 | 100 / 150 |" in text
    assert "**Not here: DeZero**: no network." in text
    assert "OPENBLAS_CORETYPE=Haswell: all contenders use what the processor has" in text
    assert "- JAX: not today (ResNet)" in text
    assert "**The machine was not quiet**: in 1 of 2 measurements" in text
    assert "## Single operations" not in text


def test_the_other_parts_of_a_report(whole):
    alone = entry("convolution", minicnn=1, torch=2, im2col=3)
    whole["parts"] = {
        "ops": [{**alone, "parts": ["a", "b", "c"], "algorithms": ["im2col"]}],
        "scaling": {"batch, LeNet-5": [{**alone, "size": 64}]},
        "threads": {"VGG": [{**alone, "size": n} for n in (1, 2)]},
        "overhead": {"forward": {"minicnn": [0.002], "torch": [0.001]}},
        "import": {"numpy": [0.1], "minicnn": [0.12]},
    }
    text = report.markdown(whole)
    assert "| convolution | a | 0.50 | 0.5 | 1 | im2col 1.5 |" in text
    assert "| batch | ratio | minicnn | PyTorch | im2col |" in text
    assert "| 64 | 0.50 | 1 | 2 | 3 |" in text
    assert "| forward | 4 | 2 | 2.00 |" in text
    assert "`import minicnn` 120 ms: 1.20 times" in text


# ---------------------------------------------------------------- rivals, arguments


def test_a_rival_that_is_here_is_taken(monkeypatch):
    here = rivals.Rival("Here", {}, (), (11, 99), module="json")
    monkeypatch.setitem(rivals.RIVALS, "here", here)
    assert rivals.interpreter("here") == rivals.Path(sys.executable)


def test_a_rival_without_its_python_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MINICNN_RIVALS", str(tmp_path))
    monkeypatch.setitem(rivals.RIVALS, "old", rivals.Rival("Old", {"old": "Old"}, (), (1, 2)))
    bench = measure.Bench(["old"], 1)
    assert bench.missing == {"Old": "needs a Python from 3.1 to 3.2, and none is on the PATH"}
    assert list(bench.starts) == ["minicnn"]


@pytest.mark.parametrize(
    ("done", "reason"),
    [
        ((1, "note\nERROR: no such version\nhint"), "pip failed: ERROR: no such version"),
        ((1, "it hurts"), "pip failed: it hurts"),
        ((1, ""), "pip failed: no reason given"),
    ],
)
def test_what_pip_says_is_the_reason(monkeypatch, done, reason):
    result = SimpleNamespace(returncode=done[0], stderr=done[1], stdout="")
    monkeypatch.setattr(rivals.subprocess, "run", lambda *_, **__: result)
    with pytest.raises(rivals.Missing) as caught:
        rivals._run(["pip"], "pip failed")
    assert str(caught.value) == reason


def test_a_rival_that_takes_minutes_sits_out():
    tinygrad = rivals.RIVALS["tinygrad"]
    assert tinygrad.left_out("lenet5-256") == ""
    assert "minutes" in tinygrad.left_out("resnet18")
    assert rivals.RIVALS["jax"].left_out("resnet18") == ""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--threads", "0"], "--threads expects a positive number, got 0"),
        (["--rivals", "torch,theano"], "got 'theano'"),
        (["--only", "lenet6"], "--only expects steps or one of lenet5-256"),
    ],
)
def test_bad_arguments(arguments, error, capsys):
    with pytest.raises(SystemExit) as caught:
        command._arguments(arguments)
    assert caught.value.code == 2
    assert error in capsys.readouterr().err


def test_what_is_chosen():
    whole = command._arguments([])
    assert whole.steps == list(cases.STEPS)
    assert whole.parts == list(command.PARTS)
    assert whole.rivals == list(rivals.RIVALS)
    quick = command._arguments(["--quick", "--rivals", "none"])
    assert (quick.steps, quick.parts, quick.rivals) == (list(cases.STEPS), [], [])
    some = command._arguments(["--only", "lenet5", "--only", "ops", "--rivals", "jax,torch"])
    assert len(some.steps) == 4
    assert (some.parts, some.rivals) == (["ops"], ["jax", "torch"])
    assert command._arguments(["--only", "steps"]).parts == []


def test_a_failure_is_told_and_the_rest_goes_on(monkeypatch, tmp_path, capsys):
    def fails(bench):
        raise RuntimeError("it broke")

    monkeypatch.setitem(command.PARTS, "ops", fails)
    arguments = ["--only", "ops", "--rivals", "none", "--out", str(tmp_path)]
    assert command.main(arguments) == 1
    [file] = tmp_path.glob("*-cpu.json")
    assert json.loads(file.read_text())["failed"] == {"ops": "RuntimeError: it broke"}
    assert "**FAILED: ops**: RuntimeError: it broke." in file.with_suffix(".md").read_text()
    assert "it broke" in capsys.readouterr().err
