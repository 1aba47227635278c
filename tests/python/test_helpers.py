"""The helpers of the published library: padding, the padded layout, its picture, test matrices."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES
from jax.sharding import PartitionSpec as P
from matrices import by_rows, random_matrix

import jaxmg


@pytest.mark.parametrize(
    ("shard_size", "tile", "padding"), [(0, 3, 0), (10, 4, 2), (12, 4, 0), (1, 7, 6), (7, 1, 0)]
)
def test_calculate_padding(shard_size, tile, padding):
    assert jaxmg.calculate_padding(shard_size, tile) == padding


def test_calculate_padding_messages():
    with pytest.raises(ValueError, match="T_A must be positive, got 0"):
        jaxmg.calculate_padding(8, 0)
    with pytest.raises(ValueError, match="shard_size: expected 0 or more, got -1"):
        jaxmg.calculate_padding(-1, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxmg.calculate_padding("10", 4), "calculate_padding: shard_size: .* got str"),
        (lambda: jaxmg.calculate_padding(10.0, 4), r"got float; pass int\(shard_size\)"),
        (lambda: jaxmg.get_cols_cyclic(6.0, 4, 2, 2), "get_cols_cyclic: N: .* got float"),
        (lambda: jaxmg.get_cols_cyclic(6, 4.0, 2, 2), "N_batch: expected an integer, got float"),
        (lambda: jaxmg.get_cols_cyclic(6, 4, 2, None), "num_devices: .* integer, got NoneType"),
        (lambda: jaxmg.plot_block_to_cyclic(24, 2.0, 4), "plot_block_to_cyclic: T_A: .* got float"),
        (lambda: jaxmg.plot_block_to_cyclic("24", 2, 4), "plot_block_to_cyclic: N: .* got str"),
        (lambda: jaxmg.pad_rows([[1.0]], 1), "pad_rows: block: .*, got list; pass jnp.asarray"),
        (lambda: jaxmg.pad_rows(np.ones((2, 2)), 1.0), "pad_rows: padding: .* got float"),
        (lambda: jaxmg.unpad_rows([[1.0]], 1), "unpad_rows: block: .* got list"),
        (lambda: jaxmg.unpad_rows(np.ones((2, 2)), "1"), "unpad_rows: padding: .* got str"),
    ],
)
def test_other_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_integers_of_numpy():
    assert jaxmg.calculate_padding(np.int32(10), np.int64(4)) == 2
    assert jaxmg.get_cols_cyclic(*np.array([2, 1, 1, 2])) == [(0, 0, 0), (1, 1, 1)]


def test_a_block_without_axes():
    for call in (jaxmg.pad_rows, jaxmg.unpad_rows):
        with pytest.raises(ValueError, match=rf"{call.__name__}: block: expected rows, .*\[\]"):
            call(jnp.ones(()), 0)


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_pad_and_unpad(dtype, padding):
    block = jnp.asarray(random_matrix(3, 4, dtype))
    padded = jaxmg.pad_rows(block, padding)
    assert padded.shape == (3 + padding, 4)
    assert padded.dtype == dtype
    np.testing.assert_array_equal(padded[:3], block)
    np.testing.assert_array_equal(padded[3:], 0)
    np.testing.assert_array_equal(jaxmg.unpad_rows(padded, padding), block)


def test_pad_and_unpad_inside_a_shard_map(mesh):
    a = by_rows(random_matrix(16, 16, np.float32), mesh)
    pad = jax.shard_map(
        lambda block: jaxmg.pad_rows(block, 3), mesh=mesh, in_specs=P("x"), out_specs=P("x")
    )
    unpad = jax.shard_map(
        lambda block: jaxmg.unpad_rows(block, 3), mesh=mesh, in_specs=P("x"), out_specs=P("x")
    )
    padded = jax.jit(pad)(a)
    rows = 16 // DEVICES
    assert padded.shape == (DEVICES * (rows + 3), 16)
    blocks = np.asarray(padded).reshape(DEVICES, rows + 3, 16)
    np.testing.assert_array_equal(blocks[:, rows:], 0)
    np.testing.assert_array_equal(jax.jit(unpad)(padded), a)


def test_pad_and_unpad_messages():
    block = jnp.zeros((2, 2))
    with pytest.raises(ValueError, match="pad_rows: padding: expected 0 or more, got -1"):
        jaxmg.pad_rows(block, -1)
    for padding in (-1, 3):
        with pytest.raises(ValueError, match=f"unpad_rows: padding: expected 0 to 2.*{padding}"):
            jaxmg.unpad_rows(block, padding)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("n_loc", [1, 4, 10, 13])
@pytest.mark.parametrize("tile", [1, 2, 5, 7, 100])
def test_padded_layout(ranks, n_loc, tile):
    n = ranks * n_loc
    n_batch = n_loc + jaxmg.calculate_padding(n_loc, tile)
    moves = jaxmg.get_cols_cyclic(n, n_batch, tile, ranks)

    assert [column for column, _, _ in moves] == list(range(n))
    block = [[p * n_batch + local for local in range(n_loc)] for p in range(ranks)]
    assert [source for _, source, _ in moves] == [place for device in block for place in device]
    filled = [0] * ranks
    for column, _, destination in moves:
        owner = column // tile % ranks
        assert destination == owner * n_batch + filled[owner]
        filled[owner] += 1
    assert max(filled) <= n_batch


def test_padded_layout_of_the_paper():
    assert jaxmg.get_cols_cyclic(6, 4, 2, 2) == [
        (0, 0, 0),
        (1, 1, 1),
        (2, 2, 4),
        (3, 4, 5),
        (4, 5, 2),
        (5, 6, 3),
    ]
    assert jaxmg.get_cols_cyclic(0, 0, 2, 2) == []


def test_padded_layout_messages():
    with pytest.raises(ValueError, match="N: expected a multiple of the 4 devices, got 6"):
        jaxmg.get_cols_cyclic(6, 2, 1, 4)
    with pytest.raises(ValueError, match="N_batch: expected at least 4 columns a device, got 3"):
        jaxmg.get_cols_cyclic(6, 3, 2, 2)
    with pytest.raises(ValueError, match="num_devices: expected at least 1, got 0"):
        jaxmg.get_cols_cyclic(6, 3, 2, 0)
    with pytest.raises(ValueError, match="T_A must be positive"):
        jaxmg.get_cols_cyclic(6, 3, -2, 2)


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    yield plt
    plt.close("all")


def rectangles(ax):
    """``(first column, width, colour)`` of what is drawn."""
    return [(int(p.get_x()), int(p.get_width()), p.get_facecolor()) for p in ax.patches]


def test_picture_shows_both_layouts(pyplot):
    fig, axs = jaxmg.plot_block_to_cyclic(N=20, T_A=2, ndev=4, N_rows=3)
    assert len(axs) == 2
    assert all(ax.figure is fig for ax in axs)
    block, cyclic = (rectangles(ax) for ax in axs)
    colour = [device for _, _, device in block]
    assert len(set(colour)) == 4
    assert [(first, width) for first, width, _ in block] == [(0, 5), (5, 5), (10, 5), (15, 5)]
    widths = [2] * 8 + [1] * 4
    firsts = np.cumsum([0, *widths[:-1]]).tolist()
    assert cyclic == [
        (first, width, colour[j % 4])
        for j, (first, width) in enumerate(zip(firsts, widths, strict=True))
    ]
    assert all(ax.get_ylim() == (3, 0) for ax in axs)
    assert "last round of 1" in axs[1].get_title()


@pytest.mark.parametrize(
    ("n", "tile", "ranks"), [(1, 1, 1), (24, 100, 4), (4096, 16, 16), (64, 1, 32)]
)
def test_picture_of_any_size(pyplot, tmp_path, n, tile, ranks):
    fig, axs = jaxmg.plot_block_to_cyclic(n, tile, ranks)
    for ax in axs:
        assert sum(width for _, width, _ in rectangles(ax)) == n
        assert len({device for _, _, device in rectangles(ax)}) == ranks
    fig.savefig(tmp_path / "layout.png")
    assert (tmp_path / "layout.png").stat().st_size > 0


def test_picture_messages(monkeypatch):
    with pytest.raises(ValueError, match="N: expected a multiple of the 4 devices, got 6"):
        jaxmg.plot_block_to_cyclic(6, 2, 4)
    with pytest.raises(ValueError, match="T_A: expected at least 1, got 0"):
        jaxmg.plot_block_to_cyclic(6, 0, 2)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "jaxmg\[plot\]"'):
        jaxmg.plot_block_to_cyclic(6, 2, 2)


@pytest.mark.parametrize("n", [0, 1, 2, 65, 200])
def test_random_psd(dtype, n):
    a = jaxmg.utils.random_psd(n, dtype, seed=3)
    assert a.shape == (n, n)
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, np.asarray(a).conj().T)
    eigenvalues = np.linalg.eigvalsh(np.asarray(a, np.complex128))
    assert np.all(eigenvalues > 0.999)
    assert np.all(eigenvalues < 6)


def test_random_psd_is_deterministic():
    a = jaxmg.utils.random_psd(20, jnp.float64, 0)
    np.testing.assert_array_equal(a, jaxmg.utils.random_psd(20, "float64", 0))
    assert np.any(a != jaxmg.utils.random_psd(20, np.float64, 1))


def test_random_psd_messages():
    with pytest.raises(TypeError, match=r"random_psd: dtype: supports float32.*got int32"):
        jaxmg.utils.random_psd(4, np.int32, 0)
    with pytest.raises(ValueError, match="n: expected 0 or more, got -1"):
        jaxmg.utils.random_psd(-1, np.float32, 0)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="complex128 needs 64-bit types"):
            jaxmg.utils.random_psd(4, np.complex128, 0)
    finally:
        jax.config.update("jax_enable_x64", True)
