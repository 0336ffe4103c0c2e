"""Operations of the catalog as ONNX files of one node or a few, computed by onnxruntime."""

import io

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.catalog import ops
from minicnn.onnx import mapped

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# In the networks of the canon, with their kin.
OPERATIONS = """
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d unfold
avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d max_pool2d adaptive_max_pool2d
batch_norm instance_norm layer_norm group_norm rms_norm local_response_norm
relu relu6 leaky_relu prelu sigmoid tanh softsign silu elu selu celu softplus hardtanh hardsigmoid
hardswish gelu mish glu softmax log_softmax logsigmoid hardshrink softshrink tanhshrink threshold
linear matmul bmm einsum addmm
add sub mul pow maximum minimum clamp lerp exp log sqrt rsqrt abs neg exp2 log2 log1p expm1
erf erfc sin cos tan asin acos atan sinh cosh asinh acosh atanh floor ceil trunc frac
sum mean var std amax amin logsumexp prod cumsum norm
reshape flatten unflatten squeeze unsqueeze permute transpose expand cat stack chunk split narrow
select flip roll tile repeat_interleave tril triu index_select
channel_shuffle pixel_shuffle pixel_unshuffle interpolate pad
"""
NAMES = OPERATIONS.split()

# What ONNX cannot say, or what would have to be recorded first.
REFUSED = ("has no form in ONNX", "not recorded", "random numbers", "returned no tensor")


class Alone(nn.Module):
    """One configuration of an operation, its first array the input, the others parameters."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.rest = nn.ParameterList(
            [
                nn.Parameter(minicnn.tensor(a), requires_grad=a.dtype.kind == "f")
                for a in case.arrays()[1:]
            ]
        )

    def forward(self, x):
        return self.case.run(minicnn, [x, *self.rest])


def exported(case):
    """True if it was written, which includes that onnxruntime computes the same; False if not."""
    sample = minicnn.tensor(case.arrays()[0])
    file = io.BytesIO()
    try:
        minicnn.onnx.export(Alone(case), sample, file, dynamic_axes={})
    except (NotImplementedError, ValueError) as error:
        assert any(text in str(error) for text in REFUSED), error
        return False
    return len(file.getvalue()) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_computes_the_same(name):
    op = ops()[name]
    done = [exported(op.case(k).astype(np.float32)) for k in range(min(op.count, 12))]
    assert sum(done) >= len(done) / 4, f"{sum(done)} of {len(done)}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_no_operation_is_written_wrongly():
    """The whole catalog: an operation is written rightly, or refused by name."""
    written = 0
    for op in ops().values():
        case = op.case(0).astype(np.float32)
        if case.arrays() and op.name not in NAMES:
            written += exported(case)
    assert written > 100


def test_every_mapped_function_is_a_function():
    assert len(mapped()) > 100
    assert all(issubclass(f, minicnn.Function) for f in mapped())
