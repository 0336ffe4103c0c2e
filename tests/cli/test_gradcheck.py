"""`minicnn gradcheck`: its table, its exit code, what it refuses."""

from __future__ import annotations

import sys
from functools import partial

import command_line
import pytest

from minicnn import Tensor, catalog
from minicnn.backend import cpu
from minicnn.cli import gradients

call = partial(command_line.call, "gradcheck")


def test_the_table_says_op_configurations_error_and_verdict():
    lines = call("conv2d", "-n", 3).splitlines()
    assert lines[0].split() == ["op", "configurations", "worst", "error", "verdict"]
    name, count, error, *verdict = lines[-2].split()
    assert (name, count, verdict) == ("conv2d", "3", ["right,", "twice"])
    assert 0 < float(error) < 1e-8
    assert lines[-1] == "1 operation, 0 wrong"


def test_all_operations_are_checked_unless_some_are_named():
    """Those too that share the name of their family with another operation."""
    expected = [op.name for op in catalog.ops().values() if op.gradient]
    assert [op.name for op in gradients.chosen([])] == expected
    assert {op.family for op in gradients.chosen([])} > {"dropout", "pad"}


def test_an_operation_goes_before_the_family_of_its_name():
    assert [op.name for op in gradients.chosen(["dropout"])] == ["dropout"]
    assert [op.name for op in gradients.chosen(["pad", "dropout2d"])] == ["pad", "dropout2d"]


def test_a_family_stands_for_its_operations():
    names = {line.split()[0] for line in call("conv", "-n", 1, "--first-only").splitlines()}
    assert {op.name for op in catalog.ops().values() if op.family == "conv"} <= names


def test_the_reference_loops_can_be_checked():
    assert "right" in call("conv2d", "-n", 1, "--first-only", "--backend", "reference")


def multiply_the_weight_gradient(monkeypatch, factor):
    right = cpu.conv_backward

    def wrong(*args):
        grad_x, grad_w, grad_b = right(*args)
        return grad_x, None if grad_w is None else factor * grad_w, grad_b

    monkeypatch.setattr(cpu, "conv_backward", wrong)


def test_a_wrong_backward_is_shown_and_fails(monkeypatch):
    multiply_the_weight_gradient(monkeypatch, 2)
    output = call("conv2d", code=1)
    assert "WRONG" in output and "1 operation, 1 wrong" in output
    assert (
        "conv2d, configuration 0, first derivatives: float64(" in output
        and "Judgement: wrong backward" in output
    )


def test_the_error_of_a_wrong_backward_is_shown(monkeypatch):
    multiply_the_weight_gradient(monkeypatch, 3)
    [row] = [line for line in call("conv2d", code=1).splitlines() if "WRONG" in line]
    assert 0.1 < float(row.split()[2]) < 10


def test_a_wrong_second_derivative_is_shown(monkeypatch):
    def backward(self, grad_y):
        return Dropout.apply(grad_y * (2 if isinstance(grad_y, Tensor) else 1), **self.options)

    Dropout = sys.modules["minicnn.functional.dropout"].Dropout
    monkeypatch.setattr(Dropout, "backward", backward)
    output = call("dropout2d", code=1)
    assert "dropout2d, configuration 0, second derivatives: float64(" in output
    assert "right" in call("dropout2d", "--first-only")


@pytest.mark.parametrize("op, path", [("pad", "pad.Pad"), ("dropout3d", "dropout.Dropout")])
def test_a_wrong_scale_is_found_whatever_the_first_configuration_is(op, path, monkeypatch):
    """Five configurations meet every mode."""
    module, name = path.split(".")
    Function = getattr(sys.modules[f"minicnn.functional.{module}"], name)
    right = Function.backward
    monkeypatch.setattr(Function, "backward", lambda self, grad_y: right(self, grad_y * 2.0))
    assert "WRONG" in call(op, "--first-only", code=1)


def test_an_operation_that_raises_does_not_stop_the_others(monkeypatch):
    def forward(self, x, **options):
        raise IndexError("no such place")

    Dropout = sys.modules["minicnn.functional.dropout"].Dropout
    monkeypatch.setattr(Dropout, "forward", forward)
    output = call("dropout2d", "conv2d", "-n", 2, code=1, traceback=True)
    assert ["dropout2d", "1", "-", "ERROR"] in [line.split() for line in output.splitlines()]
    assert ["right,", "twice"] in [line.split()[-2:] for line in output.splitlines()]
    assert "2 operations, 1 wrong" in output
    assert "dropout2d, configuration 0, first derivatives:\nTraceback" in output
    assert "IndexError: no such place" in output


@pytest.mark.parametrize("width", [30, 50, 200])
def test_a_narrow_terminal_cuts_nothing_off(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    output = call("adaptive_max_pool3d_with_indices", "-n", 1, "--first-only")
    assert "…" not in output
    first = "".join([line[: line.find(" ")] for line in output.splitlines()[:-1]])
    assert "adaptive_max_pool3d_with_indices" in first


def test_unknown_names_are_refused():
    assert "there is no operation 'conv2'; did you mean conv2d" in call("conv2", code=1)
    assert "use_backend: name expects one of" in call("conv2d", "--backend", "gpu", code=1)
