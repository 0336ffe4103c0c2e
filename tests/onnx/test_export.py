"""onnx.export: names, sizes that change, what is refused, and what a failure leaves behind."""

import io
import sys

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.functional.activation import ReLU
from minicnn.nn import functional as F
from minicnn.onnx import describe, export, maps
from minicnn.onnx import graph as graph_module

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
export_module = sys.modules["minicnn.onnx.export"]


class Net(nn.Module):
    """A function of inputs, and modules by name, as a network."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def small(channels=4):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 5),
    )


def written(model, args, **options):
    """The file, as bytes."""
    file = io.BytesIO()
    export(model, args, file, **options)
    return file.getvalue()


def run(content, *inputs):
    session = onnxruntime.InferenceSession(content)
    names = [x.name for x in session.get_inputs()]
    return session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})


def ops_of(content):
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def close(model, content, *inputs, atol=1e-5):
    model.eval()
    with minicnn.no_grad():
        y = model(*inputs)
    y = y if isinstance(y, tuple) else (y,)
    for a, b in zip(y, run(content, *inputs), strict=True):
        np.testing.assert_allclose(b, a.numpy(), rtol=1e-5, atol=atol)


# ---------------------------------------------------------------------- what is in the file


def test_names_and_parameters():
    net = small()
    net[1].running_mean.array[...] = [1, 2, 3, 4]
    content = written(net, minicnn.randn(1, 3, 8, 8), metadata={"classes": "a, b"})
    model = onnx.load_from_string(content)
    state = net.state_dict()
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    used = {n for n in state if not n.endswith("num_batches_tracked")}
    assert used <= held.keys()
    assert all(np.array_equal(held[n], state[n].numpy()) for n in used)
    assert [x.name for x in model.graph.input] == ["input"]
    assert [y.name for y in model.graph.output] == ["output"]
    assert model.producer_name == "minicnn" and model.opset_import[0].version == 17
    assert [(p.key, p.value) for p in model.metadata_props] == [("classes", "a, b")]
    assert model.graph.node[0].name == "0/Conv"
    assert ops_of(content) == [
        "Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Reshape", "Gemm",
    ]  # fmt: skip


def test_any_batch():
    net = small()
    content = written(net, minicnn.randn(1, 3, 8, 8))
    for batch in (1, 2, 7):
        close(net, content, minicnn.randn(batch, 3, 8, 8))


def test_the_same_network_gives_the_same_bytes():
    net, x = small(), minicnn.randn(2, 3, 8, 8)
    assert written(net, x) == written(net, x)


def test_a_fixed_batch():
    content = written(small(), minicnn.randn(4, 3, 8, 8), dynamic_axes={})
    shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [4, 3, 8, 8]


def test_several_inputs_and_outputs():
    net = Net(lambda net, a, b: {"sum": a + b, "parts": [a * 2, b]})
    content = written(
        net,
        (minicnn.randn(2, 3), minicnn.randn(1, 3)),
        input_names=["left", "right"],
        output_names=["sum", "twice", "same"],
        dynamic_axes={"left": {0: "n"}, "right": []},
    )
    a, b = minicnn.randn(5, 3), minicnn.randn(1, 3)
    total, twice, same = run(content, a, b)
    np.testing.assert_allclose(total, (a + b).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(twice, (a * 2).numpy())
    np.testing.assert_array_equal(same, b.numpy())


def test_an_output_twice():
    content = written(Net(lambda net, x: (x, F.relu(x), x)), minicnn.randn(2, 3))
    x = minicnn.randn(3, 3)
    a, b, c = run(content, x)
    assert np.array_equal(a, x.numpy()) and np.array_equal(c, a) and (b >= 0).all()


def test_shared_parameters_are_written_once():
    layer = nn.Linear(4, 4)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    content = written(net, minicnn.randn(1, 4))
    names = [t.name for t in onnx.load_from_string(content).graph.initializer]
    assert names == ["0.weight", "0.bias"]
    close(net, content, minicnn.randn(3, 4))


def test_what_comes_of_parameters_alone_is_computed_once():
    net = Net(lambda net, x: x @ (net.a.weight * 2).exp().t(), a=nn.Linear(4, 3))
    content = written(net, minicnn.randn(1, 4))
    assert ops_of(content) == ["MatMul"]
    close(net, content, minicnn.randn(3, 4))


@pytest.mark.parametrize("opset", [17, 18, 19, 20, 21])
def test_versions_of_the_operators(opset):
    net = nn.Sequential(small(), Net(lambda net, x: x.mean(1) + x.sum(1) + x.max(1).values))
    x = minicnn.randn(1, 3, 8, 8)
    content = written(net, x, opset_version=opset)
    assert onnx.load_from_string(content).opset_import[0].version == opset
    close(net, content, minicnn.randn(3, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_double_precision():
    """onnxruntime has no Conv of doubles; onnx's own evaluator checks."""
    net = small().double()
    content = written(net, minicnn.randn(1, 3, 6, 6).double())
    x = minicnn.randn(3, 3, 6, 6).double()
    model = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content))
    (y,) = model.run(None, {"input": x.numpy()})
    np.testing.assert_allclose(y, net.eval()(x).detach().numpy(), rtol=1e-10)


def test_half_precision():
    net = small().half()
    content = written(net, minicnn.randn(1, 3, 8, 8).half())
    close(net, content, minicnn.randn(3, 3, 8, 8).half(), atol=5e-3)


def test_the_model_stays_as_it_was():
    net = small()
    net[1].eval()
    modes = [m.training for m in net.modules()]
    before = {n: t.numpy().copy() for n, t in net.state_dict().items()}
    x = minicnn.randn(1, 3, 8, 8)
    sample = x.numpy().copy()
    written(nn.Sequential(nn.ReLU(inplace=True), net), x)
    assert [m.training for m in net.modules()] == modes
    assert all(np.array_equal(before[n], t.numpy()) for n, t in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert np.array_equal(x.numpy(), sample)


def test_buffers_that_change_in_every_run_stay_as_they_were():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("runs", minicnn.zeros(1))
            self.register_buffer("last", minicnn.zeros(1))
            self.dense = nn.Linear(3, 2)

        def forward(self, x):
            self.runs += 1  # in its place
            self.last = self.runs * 2  # by another tensor
            return self.dense(x)

    net = Counting()
    runs, last = net.runs, net.last
    written(net, minicnn.randn(1, 3))
    assert net.runs is runs and net.last is last and float(runs) == float(last) == 0
    with pytest.raises(ValueError, match="does not run"):
        written(net, minicnn.randn(1, 4))
    assert net.runs is runs and net.last is last and float(runs) == float(last) == 0


# ---------------------------------------------------------------------- sizes that change


def test_height_and_width_can_change():
    net = small()
    axes = {"input": {0: "batch", 2: "height", 3: "width"}, "output": {0: "batch"}}
    content = written(net, minicnn.randn(1, 3, 8, 8), dynamic_axes=axes)
    close(net, content, minicnn.randn(2, 3, 13, 6))


def test_shuffles_read_sizes_from_shapes():
    net = nn.Sequential(nn.ChannelShuffle(2), nn.PixelShuffle(2))
    axes = {"input": [0, 2, 3]}
    content = written(net, minicnn.randn(1, 8, 4, 4), dynamic_axes=axes)
    assert "Shape" in ops_of(content)
    close(net, content, minicnn.randn(3, 8, 5, 2))


def test_a_tensor_for_each_sample_made_in_forward():
    """Zeros of the batch's size, and a parameter that is repeated for each sample."""

    def forward(net, x):
        token = net.a.weight.reshape(1, 1, -1).expand(x.shape[0], -1, -1)
        zeros = minicnn.zeros(x.shape[0], 2, x.shape[2])
        return minicnn.cat([token, x, zeros], 1)

    net = Net(forward, a=nn.Linear(4, 1))
    content = written(net, minicnn.randn(1, 3, 4))
    close(net, content, minicnn.randn(5, 3, 4))


def test_the_batch_in_a_product_of_sizes():
    net = Net(lambda net, x: x.reshape(x.shape[0] * 2, 3, -1).permute(1, 0, 2))
    content = written(net, minicnn.randn(1, 6, 4))
    close(net, content, minicnn.randn(5, 6, 4))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.AdaptiveAvgPool2d(2), "kernel_shape is"),
        (nn.Upsample(scale_factor=2), "differs between"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), "does not run on an input of shape"),
    ],
)
def test_a_size_that_cannot_change(model, message):
    with pytest.raises(ValueError, match=message) as error:
        written(model, minicnn.randn(1, 3, 8, 8), dynamic_axes={"input": {2: "height"}})
    assert "dynamic" in str(error.value)


# ---------------------------------------------------------------------- what a graph cannot hold


def numpy_inside(net, x):
    return x * minicnn.tensor(np.sign(x.array))


def item_inside(net, x):
    return x * x.max().item()


def branch(net, x):
    return F.relu(x) if x.mean().item() > 0 else F.sigmoid(x)


def mask(net, x):
    return minicnn.where(x > 0, x, x * 0.5)


def noise(net, x):
    return x + minicnn.randn(4)


def half_of_the_samples(net, x):
    return x[: x.shape[0] // 2] * 2


ALWAYS_THE_LAST = nn.Parameter(minicnn.tensor([0.0, 0, 0, 50]))
UNSEEN = [numpy_inside, item_inside, branch, mask, noise, half_of_the_samples]


@pytest.mark.parametrize("function", UNSEEN)
def test_what_depends_on_the_input_unseen(function):
    net = nn.Sequential(nn.Identity(), Net(function))
    with pytest.raises(ValueError, match=r"module '1'.*(not recorded|`if`)"):
        written(net, minicnn.ones(1, 4) * 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.argmax(1),
        lambda x: (x > -100).float() * 2,
        lambda x: x * (x.abs() >= 0),
        lambda x: minicnn.where(minicnn.isfinite(x), x, 0),
        lambda x: x + F.one_hot(x.argmax(1), 4).argmax(1)[:, None],
        lambda x: (x != 0).any(1),
    ],
)
@pytest.mark.parametrize("axes", [None, {}])
def test_an_answer_that_happens_to_be_the_same(function, axes):
    """An answer that is not recorded must not become a constant, as here both runs would allow."""
    net = nn.Sequential(nn.Identity(), Net(lambda net, x: function(x + net.a), a=ALWAYS_THE_LAST))
    with pytest.raises(ValueError, match="computed from the input in a way that is not recorded"):
        written(net, minicnn.randn(1, 4), dynamic_axes=axes)


def test_answers_that_do_not_depend_on_the_input():
    def forward(net, x):
        known = minicnn.arange(4)
        return x * (known > 1) + known.argmax()

    content = written(Net(forward), minicnn.randn(1, 4))
    close(Net(forward), content, minicnn.randn(5, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: (x * 2).squeeze(),
        lambda net, x: x * 3 if x.shape[0] > 1 else x * 4,
        lambda net, x: (x * 2,) if x.shape[0] > 1 else (x * 2, x),
    ],
)
def test_another_way_for_a_single_sample(function):
    with pytest.raises(RuntimeError, match=r"for an input of shape \(1, 4, 1\)"):
        written(Net(function), minicnn.randn(1, 4, 1))
    content = written(Net(function), minicnn.randn(3, 4, 1), dynamic_axes={})
    close(Net(function), content, minicnn.randn(3, 4, 1))


def test_a_model_that_wants_several_samples():
    """A single one cannot be compared then."""

    def forward(net, x):
        if x.shape[0] < 2:
            raise ValueError("too few")
        return x * 2

    content = written(Net(forward), minicnn.randn(4, 3))
    close(Net(forward), content, minicnn.randn(6, 3))


def test_an_operation_without_a_form_is_named():
    net = nn.Sequential(nn.Identity(), Net(lambda net, x: minicnn.erfinv(x)))
    with pytest.raises(NotImplementedError, match=r"erfinv in module '1' has no form .*maps\(Erfi"):
        written(net, minicnn.randn(1, 4) / 10)


def test_a_result_that_is_not_used_needs_no_form():
    def forward(net, x):
        minicnn.erfinv(x)
        return x + 1

    assert ops_of(written(Net(forward), minicnn.randn(1, 4) / 10)) == ["Add"]


def test_indices_of_a_pooling():
    net = Net(lambda net, x: F.max_pool2d(x, 2, return_indices=True))
    with pytest.raises(NotImplementedError, match="output 1 of max_pool"):
        written(net, minicnn.randn(1, 2, 4, 4))


def test_dropout_in_evaluation():
    with pytest.raises(NotImplementedError, match=r"dropout .* draws random numbers"):
        written(Net(lambda net, x: F.dropout(x, 0.5)), minicnn.randn(1, 4))


def test_a_view_of_memory_that_changed():
    def forward(net, x):
        y = x * 1
        row = y[:, 0]
        y.mul_(2)
        return y + row[:, None]

    with pytest.raises(ValueError, match="changed in place") as error:
        written(Net(forward), minicnn.randn(1, 4))
    assert "dynamic_axes" not in str(error.value)


def test_a_function_of_your_own(monkeypatch):
    class Cube(minicnn.Function):
        def forward(self, x):
            return x**3

    monkeypatch.setattr(graph_module, "_mappings", dict(graph_module._mappings))

    @maps(Cube)
    def cube(graph, call):
        (x,) = graph.inputs(call)
        return graph.node("Pow", x, graph.constant(3, np.float32))

    content = written(Net(lambda net, x: Cube.apply(x)), minicnn.randn(1, 4))
    (y,) = run(content, minicnn.tensor([[2.0, 3.0, 0.0, -1.0]]))
    assert y.tolist() == [[8, 27, 0, -1]]


# ---------------------------------------------------------------------- checks, files, arguments


@pytest.mark.parametrize("judge", ["onnxruntime", "onnx's evaluator"])
def test_a_wrong_mapping_is_found_and_nothing_written(judge, monkeypatch, tmp_path):
    wrong = {**graph_module._mappings, ReLU: lambda g, call: g.node("Sigmoid", *g.inputs(call))}
    monkeypatch.setattr(graph_module, "_mappings", wrong)
    if judge != "onnxruntime":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(
        RuntimeError, match=f"{judge} computes output 0 for an input of .* difference of"
    ):
        export(nn.ReLU(), minicnn.randn(1, 4), path)
    assert path.read_bytes() == b"before" and [*tmp_path.iterdir()] == [path]
    export(nn.ReLU(), minicnn.randn(1, 4), path, check=False)
    assert ops_of(path.read_bytes()) == ["Sigmoid"]


def test_a_mapping_that_breaks_the_rules(monkeypatch):
    wrong = {**graph_module._mappings, ReLU: lambda g, call: g.node("NoSuch", *g.inputs(call))}
    monkeypatch.setattr(graph_module, "_mappings", wrong)
    with pytest.raises(RuntimeError, match="checker refuses the model"):
        written(nn.ReLU(), minicnn.randn(1, 4))


def test_a_model_that_is_too_large(monkeypatch):
    monkeypatch.setattr(export_module, "_MOST", 100)
    with pytest.raises(ValueError, match="take 416 bytes, an ONNX file holds 100 at most"):
        written(nn.Linear(25, 4), minicnn.randn(1, 25))


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        written(nn.ReLU(), minicnn.randn(1, 4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"export_params": False}, ValueError, "parameters are always written"),
        ({"opset_version": 16}, ValueError, "opset_version expects 17 to"),
        ({"input_names": ["a", "b"]}, ValueError, "input_names expects 1 different names"),
        ({"output_names": ["a", "b"]}, ValueError, "output_names expects 1 different names"),
        ({"dynamic_axes": {"x": [0]}}, ValueError, "dynamic_axes names 'x', there are"),
        ({"dynamic_axes": {"input": [2]}}, ValueError, r"expects axes of \(1, 4\), got 2"),
        ({"dynamic_axes": {"input": {0: 5}}}, TypeError, "expects a name for axis 0, got 5"),
        ({"dynamic_axes": ["input"]}, TypeError, "dynamic_axes expects a dict by name, got list"),
        ({"input_names": [3]}, TypeError, "input_names expects names"),
        ({"output_names": [""]}, TypeError, "output_names expects names"),
        ({"input_names": ["weight"]}, ValueError, "'weight' is the name of another"),
        ({"output_names": ["bias"]}, ValueError, "'bias' is the name of another"),
        ({"output_names": ["input"]}, ValueError, "'input' is the name of another"),
        ({"metadata": {"classes": 10}}, TypeError, "metadata expects strings by name"),
    ],
)
def test_arguments(options, error, message):
    with pytest.raises(error, match=message):
        written(nn.Linear(4, 4), minicnn.randn(1, 4), **options)


def test_names_that_nodes_would_take():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    content = written(net, minicnn.randn(1, 4), output_names=["0/Gemm"])
    close(net, content, minicnn.randn(3, 4))


def test_no_input():
    with pytest.raises(ValueError, match="args expects an input or more"):
        written(nn.ReLU(), ())


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (".", IsADirectoryError, "is a folder"),
        ("none/model.onnx", FileNotFoundError, "there is no folder .*none"),
        (None, TypeError, "f expects a path or a file, got NoneType"),
    ],
)
def test_a_place_where_nothing_can_be_written(place, error, message, tmp_path):
    """It is an error before the network runs."""
    net = Net(lambda net, x: pytest.fail("it ran"))
    with pytest.raises(error, match=message):
        export(net, minicnn.randn(1, 4), None if place is None else tmp_path / place)
    assert not [*tmp_path.iterdir()]


def test_code_written_for_pytorch(tmp_path, capsys):
    import minicnn as torch

    model, path = torch.nn.Sequential(torch.nn.Linear(4, 2)), str(tmp_path / "linear.onnx")
    torch.onnx.export(
        model, (torch.randn(1, 4),), path, export_params=True, opset_version=17,
        do_constant_folding=True, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}},
        verbose=True, dynamo=False,
    )  # fmt: skip
    assert "Gemm    output (batch_size, 2)  input, 0.weight (2, 4)" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = torch.randn(3, 4)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(model(x).detach().numpy(), y, rtol=1e-5, atol=1e-6)


def test_a_model_that_is_no_module():
    with pytest.raises(TypeError, match="model expects a Module, got function"):
        written(lambda x: x, minicnn.randn(1, 4))


def test_an_input_that_is_no_tensor():
    with pytest.raises(TypeError, match="args expects Tensors or arrays, got str"):
        written(nn.ReLU(), "x")


def test_describe(tmp_path):
    path = tmp_path / "model.onnx"
    export(small(), minicnn.randn(1, 3, 8, 8), path)
    lines = describe(path).splitlines()
    assert lines[0].split() == ["input", "input", "(batch,", "3,", "8,", "8)"]
    assert "0/Conv (batch, 4, 8, 8)" in lines[1] and "0.weight (4, 3, 3, 3)" in lines[1]
    assert lines[-1].split() == ["output", "output", "(batch,", "5)"]
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="is no ONNX file"):
        describe(path)
