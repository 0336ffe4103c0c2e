"""ONNX: networks as files that other programs compute with.

    import minicnn as torch
    net = torch.models.resnet18(weights="IMAGENET1K_V1")
    torch.onnx.export(net, torch.randn(1, 3, 224, 224), "resnet18.onnx")

onnxruntime, OpenCV, browsers and phones run such a file; none of them needs minicnn.

An ONNX graph is a list of nodes, each of which makes tensors from tensors that came before it. Each
node is an operator of a fixed list (https://onnx.ai/onnx/operators/) with attributes, numbers that
are known beforehand; parameters are tensors that lie in the file. LeNet:

    input (batch, 1, 28, 28)
      |
    Conv      features.0.weight (6, 1, 5, 5), features.0.bias (6)     pads [2, 2, 2, 2]
      |
    Relu
      |
    MaxPool                                                           kernel_shape [2, 2]
      |
    Conv      features.3.weight (16, 6, 5, 5), features.3.bias (16)
      |
    Relu
      |
    MaxPool                                                           kernel_shape [2, 2]
      |
    Reshape   (0, 400): 0 keeps the batch as it is
      |
    Gemm      classifier.0.weight (120, 400), classifier.0.bias (120)
      |
    Relu
      |
    Gemm      classifier.2.weight (84, 120), classifier.2.bias (84)
      |
    Relu
      |
    Gemm      classifier.4.weight (10, 84), classifier.4.bias (10)
      |
    output (batch, 10)

How a network becomes one, once arguments.py has looked at what was given:

    export.py   runs the network, in evaluation mode, on inputs of two sizes
    nn/trace    writes down each Function that runs, with its tensors and options
    graph.py    turns the calls that the outputs depend on into nodes
    ops/        what each Function is in ONNX, by family
    merge.py    lays the two graphs side by side: what follows from the size of the input is read
                from shapes, what follows from its values in an unrecorded way is an error
    check.py    lets onnxruntime, or onnx itself, compute the results of the network again

Writing takes the package onnx (pip install onnx).
"""

from .describe import describe
from .export import export
from .graph import Graph, mapped, maps

__all__ = ["Graph", "describe", "export", "mapped", "maps"]
