"""Test matrices, placements and LAPACK's scaled residuals."""

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


def random_matrix(rows, cols, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, cols))
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal((rows, cols))
    return x.astype(dtype)


def hermitian_part(a):
    return (a + a.conj().swapaxes(-1, -2)) / 2


def upper_only(a):
    """NaN in the triangle that is not read."""
    spoilt = np.array(a)
    spoilt[np.tril_indices_from(a, -1)] = np.nan
    return spoilt


def with_spectrum(w, dtype, seed=0):
    """Hermitian, with eigenvalues `w`."""
    n = len(w)
    wide = np.complex128 if np.dtype(dtype).kind == "c" else float
    q, _ = np.linalg.qr(random_matrix(n, n, wide, seed))
    return hermitian_part((q * w) @ q.conj().T).astype(dtype)


def spd(n, dtype, seed=0, kappa=1e3):
    """Hermitian positive definite with a geometric spectrum from 1 to 1 / kappa."""
    return with_spectrum(np.geomspace(1, 1 / kappa, n), dtype, seed)


def norm1(x):
    return np.max(np.abs(np.asarray(x)).sum(axis=0), initial=0)


def residual(a, x, b):
    """||b - A x||_1 / (n eps ||A||_1 ||x||_1), computed in double precision."""
    wide = np.complex128 if np.iscomplexobj(a) else np.float64
    a64, x64, b64 = (np.asarray(y, wide) for y in (a, x, b))
    scale = len(a64) * np.finfo(np.asarray(a).dtype).eps * norm1(a64) * norm1(x64)
    return norm1(b64 - a64 @ x64) / scale if scale else norm1(b64 - a64 @ x64)


def by_rows(x, mesh, axes="x"):
    return jax.device_put(x, NamedSharding(mesh, P(axes, *[None] * (x.ndim - 1))))


def everywhere(x, mesh):
    return jax.device_put(x, NamedSharding(mesh, P()))


def by_rows_or_everywhere(a, mesh):
    """By rows where the devices divide them."""
    return by_rows(a, mesh) if a.shape[0] % mesh.size == 0 else everywhere(a, mesh)
