"""Traces: every Function of a forward pass, what went into it, and the module it stands in."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.autograd import Function
from minicnn.autograd.trace import recording
from minicnn.nn import functional as F
from minicnn.nn.trace import trace


def names(record):
    return [call.function.__name__ for call in record.calls]


def test_calls_come_in_order_with_options_and_modules():
    net = models.lenet().eval()
    record = trace(net, minicnn.randn(2, 1, 28, 28))
    assert names(record) == [
        "Conv", "ReLU", "MaxPool", "Conv", "ReLU", "MaxPool", "Reshape",
        "Linear", "ReLU", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    assert [call.module for call in record.calls[:3]] == ["features.0", "features.1", "features.2"]
    assert record.calls[0].options["geometry"].padding == ((2, 2), (2, 2))
    assert record.calls[0].inputs[0] is record.inputs[0]
    assert record.calls[0].inputs[1].array is net.features[0].weight.array
    assert record.outputs == record.calls[-1].outputs
    assert record.outputs_of("features")[0].shape == (2, 16, 5, 5)
    assert [c.path for c in record.module_calls][:3] == ["", "features", "features.0"]
    with pytest.raises(KeyError, match="'nowhere' was not called"):
        record.outputs_of("nowhere")


def test_each_input_is_the_value_that_an_earlier_call_made():
    x = minicnn.randn(2, 3)
    with recording(x) as record:
        y = F.relu(x) * 2 + x.detach()
        record.finish(y)
    relu, times, plus = record.calls
    assert relu.inputs == (record.inputs[0],)
    assert times.inputs[0] is relu.outputs[0] and times.inputs[1] == 2
    assert plus.inputs == (times.outputs[0], record.inputs[0])  # detach() is still x
    assert record.outputs == plus.outputs


def test_a_change_in_place_gives_the_memory_a_new_value():
    x = minicnn.randn(2, 3)
    with recording(x) as record:
        y = x * 2
        F.relu(y, inplace=True)
        z = y + 1
    assert names(record) == ["Mul", "ReLU", "Add"]
    assert record.calls[2].inputs[0] is record.calls[1].outputs[0]
    assert z.shape == (2, 3)


def test_a_view_of_what_was_changed_in_place_is_refused():
    x = minicnn.randn(4, 3)
    with recording(x):
        y = x * 2
        row, other = y[0], y[1]
        row.mul_(3)
        assert (other + 1).shape == (3,)  # it shares no element with the row
        with pytest.raises(RuntimeError, match=r"\(4, 3\) is a view .* changed in place"):
            y + 1


def test_a_function_in_static_form_is_one_call():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x + x

        @staticmethod
        def backward(ctx, grad_y):
            return grad_y + grad_y

    x = minicnn.randn(3)
    with recording(x) as record:
        Twice.apply(x)
    assert names(record) == ["Twice"]


def test_nothing_is_recorded_outside_and_hooks_are_gone():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    record = trace(net, minicnn.randn(1, 3))
    count = len(record.calls)
    net(minicnn.randn(1, 3))
    assert len(record.calls) == count == 2
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_model_that_fails_leaves_no_hooks_and_no_recording():
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises((ValueError, RuntimeError)):
        trace(net, minicnn.randn(1, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    with recording() as record:
        pass
    minicnn.randn(2) + 1
    assert not record.calls


def test_an_exception_that_the_network_catches_ends_the_module():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong, self.right = nn.Sequential(nn.Linear(9, 9)), nn.Linear(3, 2)

        def forward(self, x):
            try:
                return self.wrong(x)
            except RuntimeError:
                return self.right(x)

    record = trace(Tries(), minicnn.randn(1, 3))
    assert record.outputs_of("") == record.outputs_of("right") == record.outputs
    assert record.outputs_of("wrong") == record.outputs_of("wrong.0") == ()


def test_other_threads_are_not_noted():
    net, x = models.lenet().eval(), minicnn.randn(1, 1, 28, 28)
    alone, found, stop = trace(net, x), [], threading.Event()

    def run():
        while not stop.is_set():
            net(x)

    def follow():
        for _ in range(5):
            record = trace(net, x)
            found.append((len(record.calls), [call.path for call in record.module_calls]))

    threads = [threading.Thread(target=target) for target in (follow, follow)]
    busy = threading.Thread(target=run)
    busy.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    busy.join()
    assert found == [(len(alone.calls), [call.path for call in alone.module_calls])] * 10
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_with_a_graph_a_view_may_change_in_place():
    x = minicnn.randn(2, 3, 4)
    net = nn.Sequential(nn.Conv1d(3, 2, 1), nn.Flatten(), nn.Dropout(0.5, inplace=True))
    record = trace(net, x, graph=True)
    assert names(record)[-1] == "Dropout" and record.outputs == record.calls[-1].outputs


def test_a_trace_that_is_not_strict_says_that_it_lost_the_way():
    class Stale(nn.Module):
        def forward(self, x):
            y = x * 2
            y[0].mul_(3)
            return y + 1

    x = minicnn.randn(4, 3)
    with pytest.raises(RuntimeError, match="changed in place since"):
        trace(Stale(), x)
    record = trace(Stale(), x, strict=False)
    assert record.lost and not trace(nn.ReLU(), x, strict=False).lost
    assert record.calls[-1].inputs[0].call is None


def test_a_view_of_what_was_changed_in_place_twice():
    """The second change goes into memory whose value came from elsewhere by the first."""

    def twice(x):
        y = x.clone()
        y.add_(1)
        y[:, 0].mul_(3)
        return y * 2

    x = minicnn.randn(4, 3)
    with recording(x), pytest.raises(RuntimeError, match=r"\(4, 3\) is a view"):
        twice(x)


def test_tracing_changes_no_result():
    net = models.vgg11_bn(image_size=32, num_classes=5).eval()
    x = minicnn.randn(2, 3, 32, 32)
    with minicnn.no_grad():
        expected = net(x)
    record = trace(net, x)
    assert np.array_equal(record.result.array, expected.array)
    assert names(record).count("BatchNormInference") == 8


def test_with_a_graph_the_nodes_show_what_they_saved():
    net, x = models.lenet().eval(), minicnn.rand(1, 1, 28, 28)
    assert not trace(net, x).calls[0].node.edges and not trace(net, x).result.requires_grad
    record = trace(net, x, graph=True)
    assert record.result.requires_grad and record.calls[0].node.saved[0] is x.array
    with minicnn.no_grad():
        assert not trace(net, x, graph=True).result.requires_grad
