"""The columns' limit, and scratch: bounded, per thread, freed on request, never handed out."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import numpy as np
import pytest

from minicnn.backend import cpu
from minicnn.backend.cpu import algorithm, axes, columns, scratch, threads
from minicnn.backend.geometry import ConvGeometry, PoolGeometry

LIMIT = 64 * 2**20

SHAPES = [
    # x, w, stride: what would take far more than 64 MiB of columns at once
    ((100_000, 1, 28, 28), (6, 1, 5, 5), 1),  # a huge batch
    ((100_000, 64, 32, 32), (64, 64, 3, 3), 1),
    ((1, 3, 8192, 8192), (64, 3, 7, 7), 2),  # one huge image
    ((1, 512, 4000, 4000), (512, 512, 3, 3), 1),
    ((2, 256, 3, 200_000), (256, 256, 3, 3), 1),  # one row is too much
    ((64, 6, 3, 200_000), (6, 6, 3, 3), 1),
]


@pytest.mark.parametrize(("x", "w", "stride"), SHAPES, ids=str)
@pytest.mark.parametrize("itemsize", [4, 8])
def test_no_chunk_exceeds_the_limit_and_all_are_covered(x, w, stride, itemsize):
    g = ConvGeometry.of(x, w, None, stride, 1)
    chunks = columns.chunks_of(g, columns.order_of(g), np.dtype(f"f{itemsize}"))
    sizes = [chunk.size for chunk in chunks]
    column = g.in_channels * g.kernel[0] * g.kernel[1] * itemsize
    assert max(n * i * j for n, i, j in sizes) * column <= LIMIT
    OH, OW = g.out_size
    assert sum(n * i * j for n, i, j in sizes) == g.batch * OH * OW
    assert len({(c.n.start, c.i.start, c.j.start) for c in chunks}) == len(chunks)


def test_a_chunk_is_not_needlessly_small():
    g = ConvGeometry.of((256, 6, 14, 14), (16, 6, 5, 5))
    assert len(columns.chunks_of(g, columns.order_of(g), np.dtype(np.float32))) < 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x_shape", "w_shape"),
    [((1200, 8, 32, 32), (4, 8, 3, 3)), ((1, 32, 900, 900), (4, 32, 3, 3))],
    ids=["batch", "image"],
)
def test_the_limit_holds_while_it_runs(x_shape, w_shape):
    """Peak memory beyond the results, of forward and gradients, where all columns take 350 MB."""
    g = ConvGeometry.of(x_shape, w_shape, None, 1, 1)
    assert g.batch * np.prod(g.out_size) * np.prod(w_shape[1:]) * 4 > 3e8
    x, w, grad_y = (np.ones(s, np.float32) for s in (g.x_shape, g.w_shape, g.y_shape))
    for function, arrays in (
        (cpu.conv_forward, (x, w, None)),
        (cpu.conv_grad_input, (grad_y, w)),
        (cpu.conv_grad_weight, (x, grad_y)),
    ):
        scratch.release()
        tracemalloc.start()
        with algorithm.use("im2col"):
            result = function(*arrays, g)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert scratch.held()["columns"] <= LIMIT
        assert peak - result.nbytes < LIMIT + 32 * 2**20, function.__name__


@algorithm.use("im2col")
def test_scratch_is_reused_from_call_to_call():
    g = ConvGeometry.of((4, 3, 12, 12), (5, 3, 3, 3), None, 1, 1)
    x, w = np.ones(g.x_shape, np.float32), np.ones(g.w_shape, np.float32)
    scratch.release()
    cpu.conv_forward(x, w, None, g)
    held = scratch.held()
    assert held["columns"] > 0
    buffer = scratch.take("columns", (1,), x.dtype)
    cpu.conv_forward(x, w, None, g)
    cpu.conv_forward(x[:1], w, None, ConvGeometry.of((1, 3, 12, 12), g.w_shape, None, 1, 1))
    assert scratch.held() == held
    assert np.shares_memory(buffer, scratch.take("columns", (1,), x.dtype))
    scratch.release()
    assert scratch.held() == {}


def test_scratch_of_one_geometry_never_reaches_another():
    """What was in the padding before, infinities here, must not show in the next result."""
    scratch.release()
    rng = np.random.default_rng(0)
    for channels in (3, 40):
        w = rng.integers(-3, 4, (5, channels, 3, 3)).astype(np.float32)
        x = rng.integers(-3, 4, (2, channels, 6, 5)).astype(np.float32)
        g = ConvGeometry.of(x.shape, w.shape, None, 1, ((2, 1), (0, 3)))
        wanted = cpu.conv_forward(x, w, None, g)
        for role in list(scratch.held()):
            scratch.take(role, (scratch.held()[role] // 4,), x.dtype).fill(np.inf)
        assert np.array_equal(cpu.conv_forward(x, w, None, g), wanted)


def test_buffers_are_aligned_and_their_thread_s_own():
    buffers = [scratch.take("a", (1000,), np.dtype(np.float32))]
    thread = threading.Thread(
        target=lambda: buffers.append(scratch.take("a", (1000,), np.dtype(np.float32)))
    )
    thread.start()
    thread.join()
    assert not np.shares_memory(*buffers)
    assert all(buffer.ctypes.data % 64 == 0 for buffer in buffers)


def test_threads_do_not_disturb_each_other():
    """Two convolutions of different geometry at once, many times over, stay exact."""
    rng = np.random.default_rng(0)
    failures = []

    def work(channels, size):
        g = ConvGeometry.of((3, channels, size, size), (4, channels, 3, 3), None, 1, 1)
        x = rng.integers(-3, 4, g.x_shape).astype(np.float32)
        w = rng.integers(-3, 4, g.w_shape).astype(np.float32)
        wanted = cpu.conv_forward(x, w, None, g)
        for _ in range(30):
            if not np.array_equal(cpu.conv_forward(x, w, None, g), wanted):
                failures.append((channels, size))

    threads = [threading.Thread(target=work, args=a) for a in ((3, 16), (5, 24), (33, 9))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((10_000, 3, 16, 64, 64), (8, 3, 3, 3, 3)),  # many clips
        ((2, 8, 3000, 112, 112), (8, 8, 5, 3, 3)),  # long ones
    ],
    ids=["batch", "depths"],
)
def test_no_piece_of_volumes_exceeds_the_limit_and_all_are_covered(x, w):
    g = ConvGeometry.of(x, w, None, (2, 1, 1), 1, function="conv3d")
    pieces = list(axes._pieces(g, 4))
    assert all(np.prod(piece.geometry.x_shape) * 4 <= LIMIT for piece in pieces)
    assert sum(piece.geometry.batch for piece in pieces) == g.batch * g.out_size[0]
    assert len({(piece.n.start, piece.o.start) for piece in pieces}) == len(pieces)


@pytest.mark.parametrize("padding", [0, 1])
def test_pooling_images_of_many_sizes_leaves_nothing_behind(padding, monkeypatch):
    """A table of positions for each size of a large image would take as much as the image."""
    monkeypatch.setattr(threads, "_count", 1)  # the scratch of the largest image is there before

    def pool(height):
        x = np.zeros((1, 1, height, 400), np.float32)
        g = PoolGeometry.of(x.shape, 3, 2, padding, ceil_mode=True)
        cpu.max_pool_forward(x, g)
        cpu.avg_pool_forward(x, g, count_include_pad=False)
        return g

    table = 8 * np.prod(pool(420).out_size)
    tracemalloc.start()
    try:
        for height in range(400, 420):
            pool(height)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < table
