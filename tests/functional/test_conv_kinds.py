"""Kinds of convolution: each is a convolution with particular weights, and shown equal to one.

The layers of modern networks are special cases of one formula,

    y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c, i*S + p*D - P, j*S + q*D - P]

with most of w zero, or w a product of smaller arrays. Each lesson writes its kind of convolution
the short way, builds the dense w that means the same, and compares the two: outputs and gradients.
"""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.nn import functional as F

N, C, H, W = 2, 4, 6, 5


def normal(*shape):
    """Normal numbers in float64, of the test's own seed."""
    return minicnn.randn(*shape, dtype=minicnn.float64, requires_grad=True)


def close(a, b):
    a, b = (t.detach().array if isinstance(t, Tensor) else t for t in (a, b))
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def same(short, dense, *inputs):
    """Two functions have the same values and gradients, and gradcheck passes the short one."""
    y = short(*inputs)
    grad_y = minicnn.randn(*y.shape, dtype=minicnn.float64)
    close(y, dense(*inputs))
    grads = [minicnn.autograd.grad(f(*inputs), inputs, grad_y) for f in (short, dense)]
    for a, b in zip(*grads, strict=True):
        close(a, b)
    assert gradcheck(short, inputs, directions=1)
    assert gradgradcheck(short, inputs, directions=1)


def padded(x, P):
    """x (N,C,H,W) with P zeros around."""
    return np.pad(x.detach().array, [(0, 0), (0, 0), (P, P), (P, P)])


# ---------------------------------------------------------------------- channels


def test_1x1_is_a_linear_layer_on_every_pixel():
    """No neighbour is looked at: y[n,:,i,j] = w x[n,:,i,j] + b ("network in network")."""
    x, w, b = normal(N, C, H, W), normal(3, C, 1, 1), normal(3)

    def pixels(x, w, b):
        y = F.linear(x.permute(0, 2, 3, 1), w.reshape(3, C), b)
        return y.permute(0, 3, 1, 2)

    same(F.conv2d, pixels, x, w, b)


def test_grouped_is_dense_with_a_block_diagonal_weight():
    """With G groups w has (F, C/G) blocks; the dense w[f,c] is zero where f and c differ in group.

    G times fewer weights and products (AlexNet's two groups, ResNeXt's 32).
    """
    G, features = 2, 6
    x, w = normal(N, C, H, W), normal(features, C // G, 3, 3)

    def grouped(x, w):
        return F.conv2d(x, w, padding=1, groups=G)

    def dense(x, w):
        nothing = minicnn.zeros(features // G, C // G, 3, 3, dtype=w.dtype)
        first, second = w.split(features // G)
        rows = [minicnn.cat([first, nothing], 1), minicnn.cat([nothing, second], 1)]
        return F.conv2d(x, minicnn.cat(rows), padding=1)

    same(grouped, dense, x, w)


def test_grouped_is_a_convolution_for_each_group():
    G = 2
    x, w, b = normal(N, C, H, W), normal(6, C // G, 3, 3), normal(6)

    def one_by_one(x, w, b):
        parts = zip(x.chunk(G, 1), w.chunk(G), b.chunk(G), strict=True)
        return minicnn.cat([F.conv2d(*part, stride=2) for part in parts], 1)

    same(lambda x, w, b: F.conv2d(x, w, b, stride=2, groups=G), one_by_one, x, w, b)


def test_depthwise_gives_each_channel_a_kernel_of_its_own():
    """As many groups as channels: y[n,c,i,j] = sum over p,q of w[c,p,q] * x[n,c,i+p-P,j+q-P]."""
    x, w = normal(N, C, H, W), normal(C, 1, 3, 3)
    y = F.conv2d(x, w, padding=1, groups=C)
    wanted, p, kernel = np.zeros((N, C, H, W)), padded(x, 1), w.detach().array
    for n, c, i, j in np.ndindex(N, C, H, W):
        wanted[n, c, i, j] = (kernel[c, 0] * p[n, c, i : i + 3, j : j + 3]).sum()
    close(y, wanted)

    def dense(x, w):
        diagonal = minicnn.eye(C, dtype=w.dtype).reshape(C, C, 1, 1)
        return F.conv2d(x, diagonal * w, padding=1)

    same(lambda x, w: F.conv2d(x, w, padding=1, groups=C), dense, x, w)


def test_depthwise_with_several_kernels_for_a_channel():
    """F = m*C: the channels f = c*m ... c*m + m-1 of y see channel c of x."""
    m = 3
    x, w = normal(N, C, H, W), normal(C * m, 1, 2, 2)

    def dense(x, w):
        owner = minicnn.eye(C, dtype=w.dtype).repeat_interleave(m, 0).reshape(C * m, C, 1, 1)
        return F.conv2d(x, owner * w)

    same(lambda x, w: F.conv2d(x, w, groups=C), dense, x, w)


def test_depthwise_separable_is_dense_with_a_weight_of_two_factors():
    """Depthwise for the space, then 1x1 for the channels: w[f,c,p,q] = point[f,c] * depth[c,p,q].

    C*(K*K + F) weights in place of C*K*K*F (Xception, MobileNet).
    """
    features = 6
    x, depth, point = normal(N, C, H, W), normal(C, 1, 3, 3), normal(features, C, 1, 1)

    def separable(x, depth, point):
        return F.conv2d(F.conv2d(x, depth, padding=1, groups=C), point)

    def dense(x, depth, point):
        return F.conv2d(x, point * depth.reshape(1, C, 3, 3), padding=1)

    same(separable, dense, x, depth, point)


def test_depthwise_separable_as_layers_counts_its_parameters():
    net = nn.Sequential(
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.Conv2d(32, 64, 1, bias=False)
    )
    dense = nn.Conv2d(32, 64, 3, padding=1, bias=False)
    assert sum(p.numel() for p in net.parameters()) == 32 * (9 + 64)
    assert dense.weight.numel() == 32 * 9 * 64
    assert net(minicnn.zeros(1, 32, 4, 4)).shape == dense(minicnn.zeros(1, 32, 4, 4)).shape


def test_shuffled_groups_let_every_channel_reach_every_other():
    """ShuffleNet's unit: grouped 1x1, channel shuffle, grouped 1x1.

    The product of two block diagonal matrices is block diagonal, and half of the channels never
    meet the other half. With the shuffle's permutation s between them, w2 * s * w1, it is full.
    """
    G, channels = 2, 8
    x, w1, w2 = normal(N, channels, 2, 3), *(normal(channels, channels // G, 1, 1) for _ in "12")

    def shuffled(x, w1, w2):
        middle = F.channel_shuffle(F.conv2d(x, w1, groups=G), G)
        return F.conv2d(middle, w2, groups=G)

    def block_diagonal(w):
        a, b = w.reshape(G, channels // G, channels // G)
        nothing = minicnn.zeros_like(a)
        return minicnn.cat([minicnn.cat([a, nothing], 1), minicnn.cat([nothing, b], 1)])

    order = F.channel_shuffle(minicnn.arange(channels).reshape(1, channels, 1), G).flatten()
    assert order.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    s = minicnn.eye(channels, dtype=minicnn.float64)[order]

    def dense(x, w1, w2):
        w = block_diagonal(w2) @ s @ block_diagonal(w1)
        return F.conv2d(x, w.reshape(channels, channels, 1, 1))

    same(shuffled, dense, x, w1, w2)
    assert (block_diagonal(w2) @ s @ block_diagonal(w1)).abs().min() > 0
    without = (block_diagonal(w2) @ block_diagonal(w1)).detach().array
    assert np.all(without[:4, 4:] == 0) and np.all(without[4:, :4] == 0)


# ---------------------------------------------------------------------- space


@pytest.mark.parametrize("D", [2, 3])
def test_dilated_is_dense_with_zeros_between_the_taps(D):
    """A K x K kernel that spans D*(K-1) + 1 pixels: a wider view at the same price ("a trous")."""
    x, w = normal(N, 2, 8, 9), normal(3, 2, 3, 2)

    def dense(x, w):
        spread = minicnn.zeros(3, 2, 2 * D + 1, D + 1, dtype=w.dtype)
        spread[:, :, ::D, ::D] = w
        return F.conv2d(x, spread, padding=1)

    same(lambda x, w: F.conv2d(x, w, padding=1, dilation=D), dense, x, w)


def test_dilated_is_a_convolution_of_every_dth_pixel():
    """The outputs at i = r (mod D) see only the pixels at h = r (mod D): D*D images, in turn."""
    D = 2
    x, w = normal(N, 2, 8, 9), normal(3, 2, 3, 2)
    y = F.conv2d(x, w, dilation=D)
    for r in range(D):
        for s in range(D):
            close(y[:, :, r::D, s::D], F.conv2d(x[:, :, r::D, s::D], w))


def test_strided_is_dense_with_outputs_left_out():
    x, w = normal(N, 2, 8, 9), normal(3, 2, 3, 2)
    same(
        lambda x, w: F.conv2d(x, w, stride=(3, 2), padding=1),
        lambda x, w: F.conv2d(x, w, padding=1)[:, :, ::3, ::2],
        x,
        w,
    )


def test_spatially_separable_is_dense_with_a_kernel_of_rank_one():
    """A column, then a row: w[p,q] = column[p] * row[q], and 2*K weights in place of K*K."""
    x, column, row = normal(N, 1, H, W), normal(1, 1, 3, 1), normal(1, 1, 1, 3)

    def separable(x, column, row):
        return F.conv2d(F.conv2d(x, column, padding=(1, 0)), row, padding=(0, 1))

    same(separable, lambda x, c, r: F.conv2d(x, c * r, padding=1), x, column, row)


def test_sobels_kernel_has_rank_one_and_a_laplace_kernel_has_not():
    """By the singular values of the kernel: as many separable convolutions as it has rank."""
    sobel = np.outer([1.0, 2, 1], [1.0, 0, -1])
    laplace = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    x = normal(1, 1, H, W)
    for kernel, rank in ((sobel, 1), (laplace, 2)):
        u, s, v = np.linalg.svd(kernel)
        assert (s > 1e-12).sum() == rank
        parts = [
            F.conv2d(
                F.conv2d(x, Tensor((s[k] * u[:, k]).reshape(1, 1, 3, 1))),
                Tensor(v[k].reshape(1, 1, 1, 3)),
            )
            for k in range(rank)
        ]
        close(sum(parts[1:], parts[0]), F.conv2d(x, Tensor(kernel[None, None])))


def test_two_small_kernels_make_a_large_one():
    """3x3 upon 3x3 is 5x5: its kernel is the full convolution of the two (VGG's argument)."""
    x, first, second = normal(1, 1, H, W), normal(1, 1, 3, 3), normal(1, 1, 3, 3)

    def once(x, first, second):
        # Turned around, since convolution layers do not flip their kernels.
        kernel = F.conv2d(first, second.flip(2, 3), padding=2)
        return F.conv2d(x, kernel)

    same(lambda x, a, b: F.conv2d(F.conv2d(x, a), b), once, x, first, second)


# ---------------------------------------------------------------------- flattened


def flattened(x, lateral, vertical, horizontal):
    """Three one-dimensional convolutions: over the channels, along the columns, along the rows.

    x (N, C, H, W), lateral (F, C), vertical (F, KH), horizontal (F, KW). The latter two have a
    filter of their own for each of the F channels, so they are depthwise.
    """
    features, channels = lateral.shape
    y = F.conv2d(x, lateral.reshape(features, channels, 1, 1))
    n, _, h, w = y.shape
    y = y.permute(0, 3, 1, 2).reshape(n * w, features, h)  # each column of pixels is a sequence
    y = F.conv1d(y, vertical.unsqueeze(1), groups=features)
    y = y.reshape(n, w, features, -1).permute(0, 3, 2, 1)  # and each row
    y = y.reshape(-1, features, w)
    y = F.conv1d(y, horizontal.unsqueeze(1), groups=features)
    return y.reshape(n, -1, features, y.shape[-1]).permute(0, 2, 1, 3)


def test_flattened_is_dense_with_a_weight_of_three_factors():
    """Jin, Dundar, Culurciello (2015): w[f,c,p,q] = lateral[f,c] * vertical[f,p] * horizontal[f,q].

    Lateral, vertical, horizontal: F*(C + KH + KW) weights in place of F*C*KH*KW.
    """
    features, KH, KW = 3, 3, 2
    x = normal(N, C, H, W)
    factors = normal(features, C), normal(features, KH), normal(features, KW)

    def dense(x, lateral, vertical, horizontal):
        w = minicnn.einsum("fc,fp,fq->fcpq", lateral, vertical, horizontal)
        return F.conv2d(x, w)

    same(flattened, dense, x, *factors)


def test_flattened_by_layers_of_two_dimensions():
    """The same with kernels of 1x1, KHx1 and 1xKW, as one writes it in a network."""
    features, KH, KW = 3, 3, 2
    x = normal(N, C, H, W)
    lateral, vertical, horizontal = normal(features, C), normal(features, KH), normal(features, KW)
    net = nn.Sequential(
        nn.Conv2d(C, features, 1, bias=False),
        nn.Conv2d(features, features, (KH, 1), groups=features, bias=False),
        nn.Conv2d(features, features, (1, KW), groups=features, bias=False),
    ).to(minicnn.float64)
    for layer, weight in zip(net, (lateral, vertical, horizontal), strict=True):
        layer.weight.data = weight.detach().reshape(layer.weight.shape)
    close(net(x), flattened(x, lateral, vertical, horizontal))


# ---------------------------------------------------------------------- larger images


def test_sub_pixel_convolution_is_a_transposed_one():
    """A convolution to C*r*r channels and a pixel shuffle enlarge r times (Shi et al., 2016).

    With a 1x1 kernel each pixel lays its own block of r x r: conv_transpose2d with K = S = r.
    """
    r, features = 2, 3
    x, w = normal(N, C, H, W), normal(C, features, r, r)

    def sub_pixel(x, w):
        point = w.permute(1, 2, 3, 0).reshape(features * r * r, C, 1, 1)
        return F.pixel_shuffle(F.conv2d(x, point), r)

    same(sub_pixel, lambda x, w: F.conv_transpose2d(x, w, stride=r), x, w)


def test_transposed_is_a_convolution_of_the_image_with_holes():
    """S - 1 zeros between the pixels, K - 1 around, the kernel turned round, C and F exchanged."""
    S, K = 2, 3
    x, w = normal(N, C, 3, 4), normal(C, 2, K, K)

    def dense(x, w):
        n, channels, h, k = x.shape
        holes = minicnn.zeros(n, channels, (h - 1) * S + 1, (k - 1) * S + 1, dtype=x.dtype)
        holes[:, :, ::S, ::S] = x
        return F.conv2d(holes, w.flip(2, 3).transpose(0, 1), padding=K - 1)

    same(lambda x, w: F.conv_transpose2d(x, w, stride=S), dense, x, w)


def test_a_causal_convolution_does_not_see_the_future():
    """Padding in front alone: y[i] depends on x[0] ... x[i] (WaveNet, with dilation)."""
    x, w = normal(1, 1, 10), normal(1, 1, 3)
    y = F.conv1d(F.pad(x, (4, 0)), w, dilation=2)
    assert y.shape == x.shape
    for i in range(10):
        (grad,) = minicnn.autograd.grad(y[0, 0, i], x, retain_graph=True)
        reads = {h for h in (i - 4, i - 2, i) if h >= 0}
        assert set(np.flatnonzero(grad.array)) == reads


def test_a_3d_convolution_over_one_frame_is_a_2d_one():
    x, w, b = normal(N, C, 1, H, W), normal(3, C, 1, 3, 2), normal(3)

    def frames(x, w, b):
        return F.conv2d(x.squeeze(2), w.squeeze(2), b, (2, 1), 1).unsqueeze(2)

    same(lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1), (0, 1, 1)), frames, x, w, b)


def test_2_plus_1_dimensions_are_3d_with_a_kernel_of_two_factors():
    """Space, then time: w[f,r,p,q] = sum over m of time[f,m,r] * space[m,c,p,q] (R(2+1)D)."""
    middle, features = 3, 2
    x = normal(1, 2, 4, H, W)
    space, time = normal(middle, 2, 1, 3, 3), normal(features, middle, 2, 1, 1)

    def factored(x, space, time):
        return F.conv3d(F.conv3d(x, space), time)

    def dense(x, space, time):
        w = minicnn.einsum("fmr,mcpq->fcrpq", time.flatten(2), space.squeeze(2))
        return F.conv3d(x, w)

    same(factored, dense, x, space, time)
