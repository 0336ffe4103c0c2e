"""Every backend on examples small enough to work out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend.geometry import ConvGeometry, PoolGeometry

NAN, INF = float("nan"), float("inf")

# x is 1..9 in reading order; w picks the pixel and twice its lower right neighbour.
X = np.arange(1, 10, dtype=np.float64).reshape(1, 1, 3, 3)
W = np.array([[[[1, 0], [0, 2]]]], np.float64)


def plane(*rows):
    return np.array([[rows]], np.float64)


def test_conv_forward(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape, (1,))
    y = primitives.conv_forward(X, W, np.array([10.0]), geometry)
    # 1 + 2*5 + 10, 2 + 2*6 + 10, 4 + 2*8 + 10, 5 + 2*9 + 10
    assert np.array_equal(y, plane([21, 24], [30, 33]))


def test_conv_forward_with_relu(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape, (1,))
    y = primitives.conv_forward(X, W, np.array([-18.0]), geometry, relu=True)
    # 11 - 18, 14 - 18, 20 - 18, 23 - 18
    assert np.array_equal(y, plane([0, 0], [2, 5]))
    y = primitives.conv_forward(X * NAN, W, None, geometry, relu=True)
    assert np.isnan(y).all()
    line = ConvGeometry.of((1, 1, 3), (1, 1, 2), function="conv1d")
    y = primitives.conv_forward(X[0, :1, :1], np.array([[[1.0, -1]]]), None, line, relu=True)
    assert np.array_equal(y, [[[0, 0]]])


def test_conv_with_stride_padding_and_a_left_over_row(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape, None, 2, ((0, 0), (1, 0)))
    y = primitives.conv_forward(X, W, None, geometry)
    # Columns begin at -1 and 1; row 2 and nothing else is left over.
    assert np.array_equal(y, plane([2 * 4, 2 + 2 * 6]))
    grad_x = primitives.conv_grad_input(plane([3, 5]), W, geometry)
    assert np.array_equal(grad_x, plane([0, 5, 0], [6, 0, 10], [0, 0, 0]))


def test_conv_with_dilation(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape, None, dilation=2)
    assert np.array_equal(primitives.conv_forward(X, W, None, geometry), plane([1 + 2 * 9]))


def test_conv_grad_input_adds_where_windows_overlap(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape)
    grad_x = primitives.conv_grad_input(plane([1, 10], [100, 1000]), W, geometry)
    # The middle is the first tap of the last window and the last tap (weight 2) of the first.
    assert np.array_equal(grad_x, plane([1, 10, 0], [100, 1000 + 2, 20], [0, 200, 2000]))


def test_conv_grad_weight(primitives):
    geometry = ConvGeometry.of(X.shape, W.shape)
    grad_w = primitives.conv_grad_weight(X, plane([1, 10], [100, 1000]), geometry)
    # Tap (0,0) saw 1, 2, 4, 5; tap (0,1) saw 2, 3, 5, 6; and so on.
    assert np.array_equal(grad_w, plane([5421, 6532], [8754, 9865]))


def test_conv_with_groups(primitives):
    x = np.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    w = np.array([10.0, 100.0]).reshape(2, 1, 1, 1)
    geometry = ConvGeometry.of(x.shape, w.shape, groups=2)
    assert primitives.conv_forward(x, w, None, geometry).ravel().tolist() == [10, 200]


def test_im2col_and_col2im(primitives):
    geometry = ConvGeometry.of(X.shape, (1, 1, 2, 2))
    cols = primitives.im2col(X, geometry)
    assert cols.tolist() == [[[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]]
    # Back again each pixel is there as often as windows read it: 1, 2 or 4 times.
    times = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert np.array_equal(primitives.col2im(cols, geometry), X * times)


def test_max_pool(primitives):
    x = plane([1, 3, 2], [4, 0, 5], [6, 8, 7])
    y, indices = primitives.max_pool_forward(x, PoolGeometry.of(x.shape, 2, 1))
    assert np.array_equal(y, plane([4, 5], [8, 8]))
    assert np.array_equal(indices, plane([3, 5], [7, 7]))
    assert indices.dtype == np.int64
    grad_x = primitives.max_pool_backward(plane([1, 10], [100, 1000]), indices, x.shape)
    assert np.array_equal(grad_x, plane([0, 0, 0], [1, 0, 10], [0, 1100, 0]))
    assert np.array_equal(primitives.max_pool_gather(-x, indices), -y)


def test_max_pool_ties_go_to_the_first_in_reading_order(primitives):
    geometry = PoolGeometry.of((1, 1, 2, 2), 2)
    for rows, winner in [
        (([7, 7], [7, 7]), 0),
        (([0, 7], [7, 7]), 1),
        (([0, 7], [7, 0]), 1),
        (([0, 0], [7, 7]), 2),
        (([0, 0], [0, 7]), 3),
    ]:
        assert primitives.max_pool_forward(plane(*rows), geometry)[1].item() == winner


def test_max_pool_nan_wins_and_the_last_of_them(primitives):
    geometry = PoolGeometry.of((1, 1, 2, 2), 2)
    for rows, winner in [(([9, NAN], [INF, 1]), 1), (([NAN, NAN], [NAN, 1]), 2)]:
        y, indices = primitives.max_pool_forward(plane(*rows), geometry)
        assert np.isnan(y).all()
        assert indices.item() == winner


def test_max_pool_padding_never_wins(primitives):
    x = np.full((1, 1, 3, 3), -INF)
    y, indices = primitives.max_pool_forward(x, PoolGeometry.of(x.shape, 2, 2, 1))
    assert np.array_equal(y, plane([-INF, -INF], [-INF, -INF]))
    assert np.array_equal(indices, plane([0, 1], [3, 4]))
    x = np.full((1, 1, 3, 3), -5.0)
    assert (primitives.max_pool_forward(x, PoolGeometry.of(x.shape, 2, 2, 1))[0] == -5).all()


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_max_pool_of_integers(primitives, dtype):
    if dtype == np.int64 and hasattr(primitives, "running"):
        pytest.skip("kernels compare no integers of 64 bits")
    x = np.array([[[[0, 0, 1], [0, 0, 0], [2, 0, 0]]]], dtype)
    y, indices = primitives.max_pool_forward(x, PoolGeometry.of(x.shape, 2, 2, 1))
    assert y.dtype == dtype
    assert np.array_equal(y, plane([0, 1], [2, 0]))
    assert np.array_equal(indices, plane([0, 2], [6, 4]))


def test_avg_pool_divisors(primitives):
    x = plane([1, 2, 3], [4, 5, 6], [7, 8, 9])
    geometry = PoolGeometry.of(x.shape, 2, 2, 1, ceil_mode=True)
    sums = plane([1, 5], [11, 28])
    y = primitives.avg_pool_forward(x, geometry, True, None)
    assert np.array_equal(y, sums / 4)
    y = primitives.avg_pool_forward(x, geometry, False, None)
    assert np.array_equal(y, sums / plane([1, 2], [2, 4]))
    y = primitives.avg_pool_forward(x, geometry, True, 3)
    assert np.allclose(y, sums / 3, rtol=1e-15)
    # Behind the input too the padding counts or not: windows at -1, 1 and 3 of 4 columns.
    row = plane([1, 2, 3, 4])
    options = PoolGeometry.of(row.shape, (1, 2), (1, 2), (0, 1))
    assert primitives.avg_pool_forward(row, options, False, None).tolist() == [[[[1, 2.5, 4]]]]
    assert primitives.avg_pool_forward(row, options, True, None).tolist() == [[[[0.5, 2.5, 2]]]]
    # Beyond the padding behind the input nothing counts: the last windows have 2 and 1 pixels.
    geometry = PoolGeometry.of(x.shape, 2, 2, 0, ceil_mode=True)
    y = primitives.avg_pool_forward(x, geometry, True, None)
    assert np.array_equal(y, plane([12 / 4, 9 / 2], [15 / 2, 9]))
    grad_x = primitives.avg_pool_backward(plane([4, 2], [6, 5]), x.shape, geometry, True, None)
    assert np.array_equal(grad_x, plane([1, 1, 1], [1, 1, 1], [3, 3, 5]))


def test_adaptive_pools(primitives):
    x = plane([1, 2, 3], [4, 5, 6], [7, 8, 9])
    # Windows of 3 in 2: 0..1 and 1..2, which share the middle.
    assert np.array_equal(primitives.adaptive_avg_pool_forward(x, (2, 2)), plane([3, 4], [6, 7]))
    y, indices = primitives.adaptive_max_pool_forward(x, (2, 2))
    assert np.array_equal(y, plane([5, 6], [8, 9]))
    assert np.array_equal(indices, plane([4, 5], [7, 8]))
    grad_x = primitives.adaptive_avg_pool_backward(plane([4, 8], [12, 16]), x.shape)
    assert np.array_equal(grad_x, plane([1, 3, 2], [4, 10, 6], [3, 7, 4]))


def test_unpooling(primitives):
    indices = plane([0, 3], [3, 5])
    y = primitives.max_unpool_forward(plane([1.0, 2], [3, 4]), indices.astype(int), (2, 3))
    assert np.array_equal(y, plane([1, 0, 0], [3, 0, 4]))  # 3 is written over 2
    grad_y = plane([1.0, 2, 3], [4, 5, 6])
    grad_x = primitives.max_unpool_backward(grad_y, indices.astype(int))
    assert np.array_equal(grad_x, plane([1, 0], [4, 6]))


def test_stochastic_pooling_draws_by_running_sums(primitives):
    x = plane([1.0, 0], [2, 1])
    geometry = PoolGeometry.of(x.shape, 2)
    for u, place in [(0, 0), (0.24, 0), (0.25, 2), (0.74, 2), (0.75, 3), (1 - 2**-53, 3)]:
        y, index = primitives.stochastic_pool_forward(x, np.full((1, 1, 1, 1), float(u)), geometry)
        assert index.item() == place
        assert y.item() == x.ravel()[place]
    y, index = primitives.stochastic_pool_forward(0 * x, np.full((1, 1, 1, 1), 0.9), geometry)
    assert (y.item(), index.item()) == (0, 0)
    # The smallest number there is: no multiple of it lies below it, so it exceeds no product.
    y, _ = primitives.stochastic_pool_forward(x * 5e-324, np.full((1, 1, 1, 1), 0.9), geometry)
    assert y.item() in x * 5e-324


def test_batch_norm(primitives):
    x = np.array([[1.0, 10.0], [3.0, 10.0]])  # channel means 2 and 10, variances 1 and 0
    y, mean, var = primitives.batch_norm_forward(x, np.array([5.0, 7.0]), np.array([1.0, 2]), 0.21)
    assert mean.tolist() == [2, 10]
    assert var.tolist() == [1, 0]
    assert np.allclose(y, [[1 - 5 / 1.1, 2], [1 + 5 / 1.1, 2]], rtol=1e-14)
    # Two values a channel: shifting or stretching is undone, so all that reaches x is eps's share.
    grad_x, grad_w, grad_b = primitives.batch_norm_backward(
        np.array([[1.0, 0.0], [4.0, 0.0]]), x, None, mean, 1 / np.sqrt(var + 0.21)
    )
    assert grad_b.tolist() == [5, 0]
    assert np.allclose(grad_w, [3 / 1.1, 0], rtol=1e-14)
    share = 1.5 * (1 - 1 / 1.21) / 1.1
    assert np.allclose(grad_x, [[-share, 0], [share, 0]], rtol=1e-12, atol=1e-15)
    y = primitives.batch_norm_inference(
        x, None, None, np.array([1.0, 8.0]), np.array([3.0, 0]), 1.0
    )
    assert np.array_equal(y, [[0, 2], [1, 2]])


def test_softmax(primitives):
    x = np.log([[1.0, 2.0, 5.0]])
    y = primitives.softmax_forward(x, 1)
    assert np.allclose(y, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-14)
    log_y = primitives.log_softmax_forward(x, 1)
    assert np.allclose(log_y, np.log([[1 / 8, 2 / 8, 5 / 8]]), rtol=1e-14)
    # <grad_y, y> = 8/8 = 1: y * (grad_y - 1)
    grad_x = primitives.softmax_backward(np.array([[8.0, 0, 0]]), np.array([[1, 2, 5]]) / 8, 1)
    assert np.allclose(grad_x, [[7 / 8, -2 / 8, -5 / 8]], rtol=1e-14)
    grad_x = primitives.log_softmax_backward(np.array([[8.0, 0, 0]]), log_y, 1)
    assert np.allclose(grad_x, [[7, -2, -5]], rtol=1e-14)


def test_cross_entropy(primitives):
    """p = [1/4, 3/4] and label 0; smoothed by a half, q = [3/4, 1/4]."""
    x, target, g = np.log([[1.0, 3.0]]), np.array([0]), np.array([10.0])
    for s, wanted, slope in ((0.0, np.log(4), 3 / 4), (0.5, np.log(4) - np.log(3) / 4, 1 / 2)):
        loss, m, total = primitives.cross_entropy_forward(x, target, None, None, s)
        assert np.allclose([loss, m, total], [[wanted], [np.log(3)], [4 / 3]], rtol=1e-14)
        for reaching in (g, np.array(10.0)):
            grad_x = primitives.cross_entropy_backward(reaching, x, target, None, m, total, None, s)
            assert np.allclose(grad_x, [[-10 * slope, 10 * slope]], rtol=1e-14)
    weight = np.array([2.0, 5])
    loss, m, total = primitives.cross_entropy_forward(x, target, weight)
    assert np.allclose(loss, 2 * np.log(4), rtol=1e-14)
    grad_x = primitives.cross_entropy_backward(g, x, target, weight, m, total)
    assert np.allclose(grad_x, [[-15, 15]], rtol=1e-14)
    loss, m, total = primitives.cross_entropy_forward(x, target, weight, 0, 0.5)
    assert loss.tolist() == [0]
    grad_x = primitives.cross_entropy_backward(g * INF, x, target, weight, m, total, 0, 0.5)
    assert grad_x.tolist() == [[0, 0]]


def test_group_norm(primitives):
    """Rows of three columns (layer norm), and two groups of one channel of two places."""
    x, w, grad_y = np.array([[1.0, 2, 3]]), np.array([3.0, 2, 1]), np.array([[1.0, 0, 0]])
    y, mean, var = primitives.group_norm_forward(x, w, np.array([0.0, 10, 20]), 1, 1 / 3)
    assert np.allclose(y, [[-3, 10, 21]], rtol=1e-14)
    assert np.allclose([mean, var], [[[2]], [[2 / 3]]], rtol=1e-14)
    one = np.ones((1, 1))  # 1 / sqrt(var + eps)
    # u = [3, 0, 0], x_hat = [-1, 0, 1]: sum of u = 3, of u * x_hat = -3
    grad_x = primitives.group_norm_grad_input(grad_y, x, w, mean, one)
    assert np.allclose(grad_x, [[1, -1, 0]], atol=1e-14)
    grad_w, grad_b = primitives.group_norm_grad_affine(grad_y, x, mean, one)
    assert np.allclose([grad_w, grad_b], [[-1, 0, 0], [1, 0, 0]], atol=1e-14)

    x = np.array([[[1.0, 3], [10, 20]]])
    y, mean, var = primitives.group_norm_forward(x, np.array([1.0, 2]), None, 2, 0.0)
    assert np.allclose(y, [[[-1, 1], [-2, 2]]], rtol=1e-14)
    assert np.allclose([mean, var], [[[2, 15]], [[1, 25]]], rtol=1e-14)
    grad_y = np.array([[[1.0, 0], [1, 2]]])
    # Two values always become -1 and 1, whatever they are: no gradient.
    grad_x = primitives.group_norm_grad_input(grad_y, x, None, mean, var**-0.5)
    assert np.allclose(grad_x, np.zeros((1, 2, 2)), atol=1e-14)
    grad_w, grad_b = primitives.group_norm_grad_affine(grad_y, x, mean, var**-0.5)
    assert np.allclose([grad_w, grad_b], [[-1, 1], [1, 3]], rtol=1e-14)
