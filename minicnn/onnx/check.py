"""Whether an ONNX model keeps to the rules, and computes what the network computed."""

from __future__ import annotations

from typing import Any

import numpy as np

# Largest difference over largest value. Sums are rounded in another order, nothing else differs:
# 1e-6 in most networks in float32, 4e-5 in an Inception with weights that magnify the rounding.
TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-9}


def check_model(content: bytes, results: Any, names: list[str]) -> None:
    """onnx's checker, then each of the `results`, (inputs, outputs), computed again.

    RuntimeError for a model that breaks a rule or computes something else.
    """
    import onnx

    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RuntimeError(f"onnx.export: onnx's checker refuses the model: {error}") from error
    run, judge = evaluator(content)
    for inputs, outputs in results:
        try:
            found = run(dict(zip(names, inputs, strict=True)))
        except Exception as error:  # whatever an evaluator raises, the model is of no use
            raise RuntimeError(f"onnx.export: {judge} fails on the model: {error}") from error
        shapes = ", ".join([str(x.shape) for x in inputs])
        if len(found) != len(outputs):
            raise RuntimeError(
                f"onnx.export: the model gives {len(outputs)} outputs for an input of shape "
                f"{shapes}, and {len(found)} for others"
            )
        for number, (mine, theirs) in enumerate(zip(outputs, found, strict=True)):
            _compare(f"output {number} for an input of shape {shapes}", mine, theirs, judge)


def evaluator(content: bytes) -> tuple[Any, str]:
    """(a function from inputs by name to a list of outputs, whose it is).

    onnxruntime's if it is installed and has all operators in the types that are used (it has few in
    float64), else onnx's own, which is slow.
    """
    try:
        import onnxruntime
    except ImportError:
        return _reference(content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # its classes of errors are not part of its public names
        if "NotImplemented" not in type(error).__name__:
            raise RuntimeError(f"onnx.export: onnxruntime refuses the model: {error}") from error
        return _reference(content)
    return lambda inputs: session.run(None, inputs), "onnxruntime"


def _reference(content: bytes) -> tuple[Any, str]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = ReferenceEvaluator(onnx.load_from_string(content))
    return lambda inputs: model.run(None, inputs), "onnx's evaluator"


def _compare(what: str, mine: np.ndarray, theirs: Any, judge: str) -> None:
    theirs = np.asarray(theirs)
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        raise RuntimeError(
            f"onnx.export: {what} is {mine.dtype}{mine.shape}, {judge} computes "
            f"{theirs.dtype}{theirs.shape}; nothing was written (check=False would)"
        )
    if mine.dtype.kind != "f":
        if not np.array_equal(mine, theirs):
            raise RuntimeError(f"onnx.export: {judge} computes another {what}")
        return
    with np.errstate(invalid="ignore"):
        difference = np.abs(mine.astype(np.float64) - theirs)
    equal = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    worst = np.where(equal, 0, difference).max(initial=0)
    largest = np.abs(mine[np.isfinite(mine)]).max(initial=0)
    # What is left of numbers near 1 that cancel is as exact as they were.
    if not worst <= TOLERANCE[mine.dtype.name] * float(largest) + np.finfo(mine.dtype).eps:
        raise RuntimeError(
            f"onnx.export: {judge} computes {what} with a difference of {worst:.3g}, where "
            f"the largest number is {largest:.3g}; nothing was written (check=False would)"
        )
