"""potrs: right answers over dtypes, sizes, device counts, tiles and right-hand sides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from devices import DEVICES, device_mesh
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg

BOUND = 10  # on the scaled residual

pytestmark = pytest.mark.usefixtures("engine")


def real_eps(dtype):
    return np.finfo(dtype).eps


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("rounds", [0, 1, 4, 5, 6, 13])
def test_solves(dtype, devices, rounds):
    n = devices * rounds
    mesh = device_mesh((devices,))
    a, b = spd(n, dtype), random_matrix(n, 3, dtype, 1)
    for tile in (None, 1, 2, 5, 1000):
        x = jaxmg.potrs(by_rows(a, mesh), b, tile, mesh, P("x", None))
        assert x.shape == b.shape and x.dtype == dtype
        assert residual(a, x, b) < BOUND


@pytest.mark.parametrize("n", [1, 2, 7, 53, 97, 100])
def test_any_n_replicated(dtype, n, axis_type):
    """A arrives replicated, whether the devices divide n or not."""
    mesh = device_mesh(axis_type=axis_type)
    a, b = spd(n, dtype), random_matrix(n, 2, dtype, 1)
    x = jaxmg.potrs(everywhere(a, mesh), everywhere(b, mesh), 16, mesh, P("x", None))
    assert residual(a, x, b) < BOUND


@pytest.mark.parametrize("rows_of_b", ["n", "all"])
@pytest.mark.parametrize("n", [0, 1, 60, 63, 64])
def test_padded_storage(dtype, n, rows_of_b, axis_type):
    """n= tells the order; what lies beyond it is never read, and x is zero there."""
    mesh = device_mesh(axis_type=axis_type)
    a, b = spd(n, dtype), random_matrix(n, 2, dtype, 1)
    storage = np.full((64, 64), np.nan, dtype)
    storage[:n, :n] = a
    rhs = b if rows_of_b == "n" else np.concatenate([b, np.full((64 - n, 2), np.nan, dtype)])
    x = jaxmg.potrs(by_rows(storage, mesh), everywhere(rhs, mesh), 8, mesh, P("x", None), n=n)
    x = np.asarray(x)
    assert x.shape == rhs.shape
    assert residual(a, x[:n], b) < BOUND
    assert not np.any(x[n:])


@pytest.mark.parametrize("shape", [(64,), (64, 1), (64, 2), (64, 17), (64, 300), (64, 0)])
def test_right_hand_sides(dtype, shape, mesh):
    a, b = spd(64, dtype), random_matrix(64, int(np.prod(shape[1:])), dtype, 1).reshape(shape)
    x = jaxmg.potrs(by_rows(a, mesh), b, mesh=mesh)
    assert x.shape == shape
    assert residual(a, x, b) < BOUND


def test_row_sharded_right_hand_side(dtype, axis_type):
    mesh = device_mesh(axis_type=axis_type)
    a, b = spd(64, dtype), random_matrix(64, 3, dtype, 1)
    x = jaxmg.potrs(by_rows(a, mesh), by_rows(b, mesh))
    assert residual(a, x, b) < BOUND
    assert {s.data.shape for s in x.addressable_shards} == {(64 // DEVICES, 3)}
    vector = jaxmg.potrs(by_rows(a, mesh), by_rows(b[:, 0], mesh))
    assert residual(a, vector, b[:, 0]) < BOUND
    assert {s.data.shape for s in vector.addressable_shards} == {(64 // DEVICES,)}


def test_reads_the_upper_triangle_alone(dtype, mesh):
    a, b = spd(64, dtype), random_matrix(64, 1, dtype, 1)
    half = np.where(np.tri(64, k=-1, dtype=bool), np.nan, a)
    for donate in (False, True):
        x = jaxmg.potrs(by_rows(half, mesh), b, 8, mesh, donate=donate)
        assert residual(a, x, b) < BOUND


def test_logdet_status_and_info(dtype, mesh):
    a, b = spd(104, dtype), random_matrix(104, 1, dtype, 1)
    x, logdet, status, info = jaxmg.potrs(
        by_rows(a, mesh), b, 8, mesh, return_logdet=True, return_status=True, return_info=True
    )
    assert residual(a, x, b) < BOUND
    assert logdet.shape == status.shape == info.shape == ()
    assert logdet.dtype == np.finfo(dtype).dtype
    assert status.dtype == info.dtype == np.int32
    assert int(status) == int(info) == 0
    expected = np.linalg.slogdet(a.astype(np.complex128))[1]
    assert abs(float(logdet) - expected) < 100 * 104 * real_eps(dtype) * abs(expected)


@pytest.mark.parametrize("bad", [0, 1, 40, 103])
@pytest.mark.parametrize("what", ["indefinite", "nan"])
def test_not_positive_definite(dtype, bad, what, mesh):
    a, b = spd(104, dtype), random_matrix(104, 3, dtype, 1)
    a[bad, bad] = np.nan if what == "nan" else -1
    x, logdet, status, info = jaxmg.potrs(
        by_rows(a, mesh), b, 8, mesh, return_logdet=True, return_status=True, return_info=True
    )
    assert int(status) == 7
    assert int(info) == bad + 1
    for shard in x.addressable_shards:
        assert np.isnan(np.asarray(shard.data)).all()
    assert np.isnan(logdet)
    for shard in info.addressable_shards:
        assert int(shard.data) == bad + 1
    good = spd(104, dtype)
    assert residual(good, jaxmg.potrs(by_rows(good, mesh), b, 8, mesh), b) < BOUND


def test_info_is_lapacks(dtype, mesh):
    rng = np.random.default_rng(5)
    potrf = scipy.linalg.get_lapack_funcs("potrf", dtype=dtype)
    for seed in range(8):
        a = spd(64, dtype, seed) - (0.3 * rng.random() * np.eye(64)).astype(dtype)
        info = jaxmg.potrs(by_rows(a, mesh), a[:, 0], 8, mesh, return_info=True)[1]
        assert int(info) == potrf(a, lower=False)[1]


def kernel(kind, n, kappa, dtype, order):
    """RBF or Matern kernel of points on a line, with a jitter for the condition."""
    points = np.sort(np.random.default_rng(3).random(n))
    if order == "shuffled":
        points = np.random.default_rng(4).permutation(points)
    d = np.abs(points[:, None] - points[None, :]) / 0.1
    k = np.exp(-(d**2) / 2) if kind == "rbf" else (1 + np.sqrt(3) * d) * np.exp(-np.sqrt(3) * d)
    k = k + np.eye(n) * (np.abs(k).sum(axis=0).max() / kappa)
    if np.dtype(dtype).kind == "c":
        phase = np.exp(2j * np.pi * np.random.default_rng(6).random(n))
        k = phase[:, None] * k * phase.conj()[None, :]
    return k.astype(dtype)


@pytest.mark.parametrize("kind", ["rbf", "matern"])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_kernel_matrices(dtype, kind, order, mesh):
    """Nearly singular kernels, which break unstable panels: no false status 7, small residuals."""
    n = 400
    largest = 1e7 if real_eps(dtype) > 1e-10 else 1e14
    potrf = scipy.linalg.get_lapack_funcs("potrf", dtype=dtype)
    for kappa in (1e3, np.sqrt(largest), largest):
        a, b = kernel(kind, n, kappa, dtype, order), random_matrix(n, 2, dtype, 1)
        x, info = jaxmg.potrs(by_rows(a, mesh), b, 24, mesh, return_info=True)
        if int(info) != 0:
            assert potrf(a, lower=False)[1] != 0, "LAPACK factors this matrix"
        else:
            assert residual(a, x, b) < BOUND


@pytest.mark.parametrize("kappa", [1, 1e3, "0.1/eps"])
def test_conditioned_spectra(dtype, kappa, mesh):
    kappa = 0.1 / real_eps(dtype) if kappa == "0.1/eps" else kappa
    a, b = spd(200, dtype, 2, kappa), random_matrix(200, 2, dtype, 1)
    x, status = jaxmg.potrs(by_rows(a, mesh), b, 16, mesh, return_status=True)
    potrf = scipy.linalg.get_lapack_funcs("potrf", dtype=dtype)
    assert int(status) == 0 or potrf(a, lower=False)[1] != 0
    assert int(status) == 7 or residual(a, x, b) < BOUND


def test_numpy_and_single_device_operands(dtype, mesh):
    a, b = spd(64, dtype), random_matrix(64, 2, dtype, 1)
    assert residual(a, jaxmg.potrs(a, b, 8, mesh, P("x", None)), b) < BOUND
    on_one = jax.device_put(a, jax.devices()[-1]), jax.device_put(b, jax.devices()[DEVICES // 2])
    assert residual(a, jaxmg.potrs(*on_one, 8, mesh, P("x", None)), b) < BOUND


def test_input_stays_as_it_was(dtype, mesh):
    a, b = spd(64, dtype), random_matrix(64, 2, dtype, 1)
    sharded, rhs = by_rows(a, mesh), everywhere(b, mesh)
    jaxmg.potrs(sharded, rhs, 8, mesh)
    assert np.array_equal(sharded, a) and np.array_equal(rhs, b)


@pytest.mark.slow
def test_large_double(mesh):
    a, b = spd(1600, np.float64, 1, 1e6), random_matrix(1600, 10, np.float64, 1)
    for donate in (False, True):
        x = jaxmg.potrs(by_rows(a, mesh), jnp.asarray(b), mesh=mesh, donate=donate)
        assert residual(a, x, b) < 1
