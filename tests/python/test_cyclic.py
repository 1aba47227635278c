"""The 1-D block-cyclic layout: jaxmg.cyclic_1d and jaxmg.verify_cyclic."""

import jax
import numpy as np
import pytest
from devices import DEVICES, device_mesh
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix

import jaxmg


def by_tiles(a, ranks, tile):
    """The layout written out: the rows of A, tile by tile, onto the piles of the devices."""
    n_loc = len(a) // ranks
    piles = [[] for _ in range(ranks)]
    row, dealt = 0, 0
    while row < len(a):
        width = min(tile, n_loc - dealt // ranks * tile)
        piles[dealt % ranks].append(a[row : row + width])
        row, dealt = row + width, dealt + 1
    return np.concatenate([tile_rows for pile in piles for tile_rows in pile])


@pytest.mark.parametrize("tile", [1, 2, 3, 4, 7, 13, 29, 30, 31, 1000])
def test_rows_are_dealt_in_tiles(mesh, dtype, tile):
    a = random_matrix(DEVICES * 30, DEVICES * 30, dtype)
    a_cyclic = jaxmg.cyclic_1d(by_rows(a, mesh), tile, mesh, P("x", None))
    assert a_cyclic.dtype == dtype
    np.testing.assert_array_equal(a_cyclic, by_tiles(a, DEVICES, tile))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("n_loc", [0, 1, 2, 6, 17])
def test_any_number_of_devices(ranks, n_loc, axis_type):
    mesh = device_mesh((ranks,), axis_type=axis_type)
    a = by_rows(random_matrix(ranks * n_loc, ranks * n_loc, np.float32), mesh)
    for tile in (1, 3, n_loc + 5):
        a_cyclic = jaxmg.cyclic_1d(a, tile, mesh, P("x", None))
        # XLA calls an array of no elements replicated.
        assert a.size == 0 or a_cyclic.sharding.is_equivalent_to(a.sharding, 2)
        jaxmg.verify_cyclic(a, a_cyclic, tile)


def test_the_last_devices_in_another_order(axis_type):
    mesh = device_mesh((4,), devices=[6, 4, 7, 5], axis_type=axis_type)
    a = random_matrix(44, 44, np.float64)
    a_cyclic = jaxmg.cyclic_1d(by_rows(a, mesh), 4, mesh, P("x", None))
    np.testing.assert_array_equal(a_cyclic, by_tiles(a, 4, 4))


def test_two_axes(axis_type):
    mesh = device_mesh((2, 4), ("x", "y"), axis_type=axis_type)
    a = random_matrix(48, 48, np.float64)
    over_both = jaxmg.cyclic_1d(by_rows(a, mesh, ("x", "y")), 4)
    np.testing.assert_array_equal(over_both, by_tiles(a, 8, 4))
    over_y = jaxmg.cyclic_1d(by_rows(a, mesh, "y"), 5, mesh, P("y", None))
    np.testing.assert_array_equal(over_y, by_tiles(a, 4, 5))


def test_under_jit(axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = by_rows(random_matrix(80, 80, np.complex64), mesh)

    @jax.jit
    def two_tiles(a):
        return jaxmg.cyclic_1d(a, 3, mesh, P("x", None)), jaxmg.cyclic_1d(2 * a, 4, mesh, P("x"))

    of_three, of_four = two_tiles(a)
    jaxmg.verify_cyclic(a, of_three, 3)
    jaxmg.verify_cyclic(2 * a, of_four, 4)


def test_mesh_and_spec_left_out():
    a = random_matrix(40, 40, np.float64)
    for mesh in (device_mesh((max(1, DEVICES // 2),)), device_mesh(axis_type=AxisType.Explicit)):
        a_rows = by_rows(a, mesh)
        jaxmg.verify_cyclic(a, jaxmg.cyclic_1d(a_rows, 2), 2)
        jaxmg.verify_cyclic(a, jax.jit(lambda a, m=mesh: jaxmg.cyclic_1d(a, 3, m))(a_rows), 3)


@pytest.mark.parametrize("spec", [P("x", None), (P("x", None),), [P("x", None)], P("x")])
def test_forms_of_the_spec(mesh, spec):
    a = by_rows(random_matrix(40, 40, np.float32), mesh)
    jaxmg.verify_cyclic(a, jaxmg.cyclic_1d(a, 3, mesh, spec, pad=False), 3)


def test_other_placements_of_a(axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a = random_matrix(40, 40, np.float64)
    columns = jax.device_put(a, jax.NamedSharding(mesh, P(None, "x")))
    for placed in (a, jax.numpy.asarray(a), everywhere(a, mesh), columns):
        a_cyclic = jaxmg.cyclic_1d(placed, 2, mesh, P("x", None))
        np.testing.assert_array_equal(a_cyclic, by_tiles(a, DEVICES, 2))
    np.testing.assert_array_equal(columns, a)


@pytest.mark.skipif(not hasattr(jax, "set_mesh"), reason="a newer jax has it")
def test_under_another_mesh(axis_type):
    some = device_mesh((max(1, DEVICES // 2),), axis_type=axis_type)
    a = random_matrix(40, 40, np.float64)
    with jax.set_mesh(device_mesh(axis_type=axis_type)):
        moved = jaxmg.cyclic_1d(by_rows(a, some), 2)
    np.testing.assert_array_equal(moved, by_tiles(a, some.size, 2))


def test_a_is_not_changed_and_many_calls_agree(mesh):
    values = random_matrix(64, 64, np.float32)
    a = by_rows(values, mesh)
    for _ in range(4):
        # XLA itself hangs, in a psum too, with more than 32 programs in flight on CPU devices.
        for _ in range(16):
            a_cyclic = jaxmg.cyclic_1d(a, 3, mesh, P("x", None))
        a_cyclic.block_until_ready()
    np.testing.assert_array_equal(a, values)
    jaxmg.verify_cyclic(a, a_cyclic, 3)


def test_same_as_the_padded_layout_where_tiles_fit(mesh):
    a = by_rows(random_matrix(96, 96, np.float64), mesh)
    a_cyclic = np.asarray(jaxmg.cyclic_1d(a, 4, mesh, P("x", None)))
    for column, _, destination in jaxmg.get_cols_cyclic(96, 96 // DEVICES, 4, DEVICES):
        np.testing.assert_array_equal(a_cyclic[destination], a[column])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, m: jaxmg.cyclic_1d(a[:, :39], 2, m), ValueError, r"expected A to be square"),
        (lambda a, m: jaxmg.cyclic_1d(a[0], 2, m), ValueError, r"expected a rank-2 matrix"),
        pytest.param(
            lambda a, m: jaxmg.cyclic_1d(a[:39, :39], 2, m),
            ValueError,
            rf"cyclic_1d: a: .* the {DEVICES} devices divide, got float32\[39.*,39\]; pad it to "
            "40 rows",
            marks=pytest.mark.skipif(DEVICES == 1, reason="one device divides any number of rows"),
        ),
        (lambda a, m: jaxmg.cyclic_1d(a, 0, m), ValueError, r"T_A must be positive, got 0"),
        (lambda a, m: jaxmg.cyclic_1d(a, 2.5, m), TypeError, r"T_A: expected an integer"),
        (lambda a, m: jaxmg.cyclic_1d(a, None, m), TypeError, r"T_A: .* integer, got None"),
        (lambda a, m: jaxmg.cyclic_1d(a.astype(int), 2, m), TypeError, r"supports float32"),
        (lambda a, m: jaxmg.cyclic_1d(a, 2, m, P(None, None)), ValueError, r"at least one matrix"),
        (lambda a, m: jaxmg.cyclic_1d(a, 2, m, P("z", None)), ValueError, r"axes of the mesh"),
        (lambda a, m: jaxmg.cyclic_1d(a, 2, m, "x"), TypeError, r"must be a PartitionSpec"),
        (lambda a, m: jaxmg.cyclic_1d(a, 2), ValueError, r"cyclic_1d: mesh: expected a mesh"),
    ],
)
def test_messages(mesh, call, error, message):
    with pytest.raises(error, match=message):
        call(random_matrix(40, 40, np.float32), mesh)


def test_inside_a_shard_map_is_an_error(mesh):
    inside = jax.shard_map(
        lambda rows: jaxmg.cyclic_1d(rows, 2), mesh=mesh, in_specs=P("x"), out_specs=P("x")
    )
    with pytest.raises(ValueError, match="inside a shard_map; call it outside"):
        inside(by_rows(random_matrix(40, 40, np.float32), mesh))


def test_verify_names_the_first_wrong_row(dtype):
    mesh = device_mesh((8,))
    a = random_matrix(80, 80, dtype)
    good = np.asarray(jaxmg.cyclic_1d(by_rows(a, mesh), 3, mesh, P("x", None)))
    jaxmg.verify_cyclic(a, by_rows(good, mesh), 3)
    wrong = good.copy()
    wrong[17, 79] += 1
    wrong[60, 0] = np.nan
    with pytest.raises(
        AssertionError,
        match=r"row 17 of A_cyclic \(device 1, its row 7\) is not row 52 of A, .* T_A = 3 on 8 "
        r"devices; 2 of 80 rows are wrong",
    ):
        jaxmg.verify_cyclic(a, by_rows(wrong, mesh), 3)
    with pytest.raises(AssertionError, match=r"row 2 of A_cyclic .* is not row 16 of A"):
        jaxmg.verify_cyclic(a, by_rows(good, mesh), 2)


def test_verify_takes_nan_for_nan(mesh):
    a = random_matrix(16, 16, np.float32)
    a[5, 3] = np.nan
    jaxmg.verify_cyclic(a, jaxmg.cyclic_1d(by_rows(a, mesh), 1), 1)


def test_verify_needs_devices_and_equal_shapes(mesh):
    a = random_matrix(16, 16, np.float32)
    with pytest.raises(
        TypeError, match=r"A_cyclic: expected a sharded JAX array.*float32\[16,16\]"
    ):
        jaxmg.verify_cyclic(a, a, 2)
    with pytest.raises(TypeError, match="verify_cyclic: A: expected a JAX or NumPy array, got lis"):
        jaxmg.verify_cyclic(a.tolist(), by_rows(a, mesh), 2)
    with pytest.raises(AssertionError, match="expected the shape of A"):
        jaxmg.verify_cyclic(a[:8], by_rows(a, mesh), 2)


def test_verify_needs_rows_over_the_devices(axis_type):
    """By another sharding it would take the devices for one, and A itself for its layout."""
    mesh = device_mesh((2, 4), ("x", "y"), axis_type=axis_type)
    a = random_matrix(16, 16, np.float32)
    for spec in (P(), P(None, "y"), P("x", "y")):
        placed = jax.device_put(a, jax.NamedSharding(mesh, spec))
        with pytest.raises(ValueError, match="A_cyclic: expected rows that are sharded over the d"):
            jaxmg.verify_cyclic(a, placed, 2)
    jaxmg.verify_cyclic(a, jax.device_put(a, jax.devices()[0]), 2)
    one = device_mesh((1, 4), ("x", "y"), axis_type=axis_type)
    jaxmg.verify_cyclic(a, jaxmg.cyclic_1d(by_rows(a, one), 2), 2)
