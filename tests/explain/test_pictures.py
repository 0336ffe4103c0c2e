"""Pictures: what stands in the cells is what the operations compute."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

import minicnn
from minicnn import backend
from minicnn.backend.geometry import ConvGeometry, PoolGeometry, adaptive_windows
from minicnn.explain import (
    draw_arrays,
    draw_axis,
    draw_holes,
    draw_im2col,
    draw_readers,
    draw_windows,
    pictures,
)


def conv(size=(6, 5), kernel=(3, 2), channels=1, **options):
    return ConvGeometry.of((1, channels, *size), (1, channels, *kernel), **options)


def numbers(axes):
    """{(row, column): text} of the cells that carry one."""
    return {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts
    }


def colours(axes):
    """{(row, column): colour} of the cells, the last one painted."""
    return {
        (round(p.get_y() + 0.5), round(p.get_x() + 0.5)): to_hex(p.get_facecolor())
        for p in axes.patches
        if p.get_fill()
    }


def frames(axes):
    """(row, column, rows, columns) of what is framed."""
    return [
        (
            round(p.get_y() + 0.5),
            round(p.get_x() + 0.5),
            round(p.get_height()),
            round(p.get_width()),
        )
        for p in axes.patches
        if not p.get_fill()
    ]


def test_arrays_show_their_numbers():
    x = minicnn.tensor([[1.0, -2.0], [0.25, 1.004]])
    figure = draw_arrays({"two words": x}, w=[3, 4, float("nan")])
    first, second = figure.axes
    assert numbers(first) == {(0, 0): "1", (0, 1): "-2", (1, 0): "0.25", (1, 1): "1"}
    assert numbers(second) == {(0, 0): "3", (0, 1): "4", (0, 2): "nan"}
    assert (first.get_title(), second.get_title()) == ("two words", "w")
    red, _, blue = colours(first)[0, 0], colours(first)[1, 0], colours(first)[0, 1]
    assert int(red[1:3], 16) > int(red[5:], 16) and int(blue[1:3], 16) < int(blue[5:], 16)
    assert numbers(draw_arrays(b=[[True, False]]).axes[0]) == {(0, 0): "1", (0, 1): "0"}


@pytest.mark.parametrize("wrong", [{}, {"x": np.zeros((2, 2, 2))}, {"x": []}])
def test_arrays_that_cannot_be_drawn(wrong):
    with pytest.raises(ValueError, match="draw_arrays: "):
        draw_arrays(wrong)


def test_windows_lie_where_the_geometry_says():
    geometry = conv(stride=(2, 1), padding=(1, 0), dilation=(2, 1))
    figure = draw_windows(geometry)
    assert [a.get_title() for a in figure.axes] == [
        f"window ({i}, {j})" for i, j in np.ndindex(*geometry.out_size)
    ]
    for axes, (i, j) in zip(figure.axes, np.ndindex(*geometry.out_size), strict=True):
        taps = {(i * 2 + p * 2 - 1, j + q): f"{p},{q}" for p, q in np.ndindex(*geometry.kernel)}
        assert numbers(axes) == taps
        found = colours(axes)
        assert {found[tap] for tap in taps} & {pictures._WHITE, pictures._PADDING} == set()
        # i*2 + p*2 - 1 is odd: even rows are read by nobody, and neither does the padding count.
        assert all(found[h, k] == pictures._UNREAD for h in (0, 2, 4) for k in range(5))
        assert set(found) == {(h, k) for h in range(-1, 7) for k in range(5)}


def test_windows_over_numbers_and_a_ceil_mode_window_that_hangs_over():
    x = np.arange(25).reshape(5, 5)
    geometry = PoolGeometry.of((1, 1, 5, 5), 2, ceil_mode=True)
    [axes] = draw_windows(geometry, [(2, 1)], x).axes
    found = numbers(axes)
    assert found[4, 2] == "22" and found[4, 3] == "23" and found[5, 2] == "0"
    assert found[0, 0] == "0" and found[3, 4] == "19"
    padded = conv((3, 3), (3, 3), padding=1)
    assert len(draw_windows(padded).axes) == 9


def test_an_axis_alone():
    geometry = conv(stride=(3, 1), padding=(1, 0))
    [axes] = draw_axis(geometry).axes
    assert numbers(axes) == {(i, i * 3 + p - 1): str(p) for i in range(2) for p in range(3)}
    assert colours(axes)[0, 5] == pictures._UNREAD  # 8 padded rows, windows of 0..2 and 3..5
    [axes] = draw_axis(geometry, axis=1).axes
    assert numbers(axes) == {(i, i + p): str(p) for i in range(4) for p in range(2)}
    [axes] = draw_axis(adaptive_windows(7, 3)).axes
    assert sorted(numbers(axes)) == [
        (0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (2, 4), (2, 5), (2, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2])
def test_im2col_is_the_matrix_and_shares_its_pixels_colours(channels):
    geometry = conv((4, 5), (3, 2), channels, stride=(1, 2), padding=1)
    x = np.arange(1, channels * 20 + 1).reshape(1, channels, 4, 5)
    figure = draw_im2col(x, geometry, (1, 2))
    *images, matrix = figure.axes
    cols = backend.of(x).im2col(x.astype(np.float64), geometry)[0]
    assert numbers(matrix) == {at: str(int(v)) for at, v in np.ndenumerate(cols)}
    colour_of = {numbers(a)[at]: c for a in images for at, c in colours(a).items()}
    assert len({c for text, c in colour_of.items() if text != "0"}) > 15 * channels
    for at, text in numbers(matrix).items():
        assert colours(matrix)[at] == colour_of[text]
    OW = geometry.out_size[1]
    assert frames(matrix) == [(0, OW + 2, channels * 6, 1)]
    for axes in images:
        assert sorted(frames(axes)) == [(p, 3 + q, 1, 1) for p in range(3) for q in range(2)]


@pytest.mark.parametrize(
    "geometry",
    [
        conv(stride=2, padding=1),
        conv((8, 8), stride=3, dilation=2),
        PoolGeometry.of((1, 1, 6, 5), 3, 2, 1),
        PoolGeometry.of((1, 1, 6, 5), 2, 2, 0, 1, True),
    ],
)
def test_readers_are_col2im_of_im2col_of_ones(geometry):
    size, kernel, options = geometry.size, geometry.kernel, {}
    pairs = [p if isinstance(p, tuple) else (p, p + 9) for p in geometry.padding]
    wide = ConvGeometry.of(
        (1, 1, *size), (1, 1, *kernel), None, geometry.stride, tuple(pairs), geometry.dilation
    )
    cpu, ones = backend.of(np.ones(1)), np.ones((1, 1, *size))
    if isinstance(geometry, ConvGeometry):
        expected = cpu.col2im(cpu.im2col(ones, wide), wide)
    else:
        options = {"divisor_override": 1}
        grad_y = np.ones((1, 1, *geometry.out_size))
        expected = cpu.avg_pool_backward(grad_y, ones.shape, geometry, **options)
    counts, gradient = draw_readers(geometry, expected).axes
    assert numbers(counts) == {at: str(int(v)) for at, v in np.ndenumerate(expected[0, 0])}
    assert numbers(gradient) == numbers(counts) and gradient.get_title() == "grad_x"
    zero = {at for at, v in np.ndenumerate(expected[0, 0]) if v == 0}
    assert zero == {at for at, c in colours(counts).items() if c == pictures._UNREAD}


def test_readers_of_adaptive_windows():
    [axes] = draw_readers((adaptive_windows(4, 3), adaptive_windows(2, 1))).axes
    assert [numbers(axes)[h, 0] for h in range(4)] == ["1", "2", "2", "1"]


@pytest.mark.slow
def test_holes_convolved_with_the_flipped_kernel_are_grad_x():
    rng = np.random.default_rng(0)
    geometry = conv((7, 6), (3, 2), stride=(3, 2), padding=1, dilation=(1, 2))
    grad_y = rng.integers(1, 9, geometry.out_size).astype(np.float64)
    w = rng.integers(-3, 4, (1, 1, 3, 2)).astype(np.float64)
    expected = backend.of(w).conv_grad_input(grad_y[None, None], w, geometry)[0, 0]
    for h, k in np.ndindex(7, 6):
        [axes] = draw_holes(geometry, grad_y, (h, k)).axes
        texts = numbers(axes)
        under = [float(texts[at[:2]]) for at in sorted(frames(axes))]
        assert np.dot(under, w[0, 0, ::-1, ::-1].ravel()) == expected[h, k]
    # H + P + P' - K = 6 = (3 - 1) * 3 + 0 rows; 6 + 2 - 3 = 5 = (3 - 1) * 2 + 1 columns.
    over = {k for (_, k), c in colours(axes).items() if c == pictures._UNREAD}
    assert over == {max(k for _, k in colours(axes))}


def test_holes_cut_off_by_padding():
    geometry = conv((3, 3), (1, 1), padding=1)
    [axes] = draw_holes(geometry, np.arange(25).reshape(5, 5)).axes
    assert sorted(map(int, numbers(axes).values())) == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_what_does_not_fit_is_refused():
    geometry = conv()
    with pytest.raises(ValueError, match=r"draw_windows: window expects \(i, j\) below \(4, 4\)"):
        draw_windows(geometry, [(4, 0)])
    with pytest.raises(ValueError, match=r"draw_windows: x expects size \(6, 5\), got \(5, 6\)"):
        draw_windows(geometry, x=np.zeros((5, 6)))
    with pytest.raises(ValueError, match=r"draw_im2col: x expects shape \(1, 6, 5\)"):
        draw_im2col(np.zeros((2, 6, 5)), geometry)
    with pytest.raises(ValueError, match=r"draw_im2col: x expects .* got \(2, 1, 6, 5\)"):
        draw_im2col(np.zeros((2, 1, 6, 5)), geometry)
    with pytest.raises(ValueError, match="draw_readers: grad_x expects size"):
        draw_readers(geometry, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="draw_holes: grad_y expects size"):
        draw_holes(geometry, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="draw_holes: pixel expects"):
        draw_holes(geometry, pixel=(6, 0))
    with pytest.raises(TypeError, match="draw_windows: geometry expects"):
        draw_windows(((0, 2), (1, 3)))
    with pytest.raises(ValueError, match="expects 2 spatial axes, has 3"):
        draw_readers(PoolGeometry.of((1, 1, 4, 4, 4), 2, function="max_pool3d"))


def test_figures_write_themselves_without_pyplot_and_in_the_same_bytes():
    code = (
        "import sys; from minicnn.explain import draw_arrays; "
        "assert 'matplotlib' not in sys.modules; "
        "figure = draw_arrays(x=[1, 2]); first = figure._repr_png_(); "
        "assert first[:4] == b'\\x89PNG' and first == figure._repr_png_(); "
        "assert b'Software' not in first; "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cell_has_four_edges():
    figure = draw_arrays(x=[[0.0]])
    figure.canvas.draw()
    grey = np.asarray(figure.canvas.buffer_rgba())[:, :, 0]
    (left, bottom), (right, top) = (
        figure.axes[0].get_window_extent().get_points().round().astype(int)
    )
    middle, centre, last = (left + right) // 2, (bottom + top) // 2, len(grey) - 1
    inside = grey[last - centre - 10, middle - 10]
    for edge in (left, right):
        assert grey[last - centre - 10, edge - 2 : edge + 3].min() < inside - 50
    for edge in (bottom, top):
        assert grey[last - edge - 2 : last - edge + 3, middle - 10].min() < inside - 50
