"""Test matrices of any order, made in n^2 operations where they are needed.

Each device makes its own rows, from vectors of length n: no host and no other device ever holds the
matrix. This file needs NumPy and JAX alone: a program that measures another library loads it by
itself, and so gets the same matrices (benchmarks/external).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

#: What `Matrix.kind` may be.
KINDS = ("random", "diagonal", "kernel")

#: Condition number of `random` and `kernel`, if nothing else is said.
KAPPA = 1e3

#: Width of `kernel`'s Gaussian; its points lie in [0, 1].
_WIDTH = 0.1

#: Entries that are made at a time, which bounds what making a matrix needs beside it.
_CHUNK = 2**24

_Vectors = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A Hermitian matrix, to be made on any mesh; its entries do not depend on that.

    * ``random``: A = Q diag(w) Q^H, dense, with a known spectrum w and a random Q: eigenvalues from
      1 down to 1 / kappa in geometric progression if it is to be definite, else evenly spaced in
      [-1, 1]. Q = R S H Pi has a permutation, the discrete Hartley transform, random phases and a
      reflection R that takes the first unit vector to a random one, so that a tridiagonal matrix
      made of A is that of a random matrix. Entries are then sums of few products.
    * ``diagonal``: diag(1, ..., n), the paper's.
    * ``kernel``: a Gaussian kernel of sorted random points plus a multiple of the identity, the
      phases random too: what breaks factorisations that random spectra do not.

    Attributes:
      kind: one of `KINDS`.
      n: order.
      dtype: NumPy's name of it.
      definite: whether it is to be positive definite; the last two kinds are.
      kappa: condition number of definite ones, of ``kernel`` about.
      seed: of what is random.
    """

    kind: str
    n: int
    dtype: str
    definite: bool = True
    kappa: float = KAPPA
    seed: int = 0

    def eigenvalues(self) -> np.ndarray | None:
        """In ascending order and float64, as they are meant; None: not known."""
        if self.kind == "random":
            return _spectrum(self)
        return np.arange(1.0, self.n + 1) if self.kind == "diagonal" else None

    def maker(self, mesh: Mesh) -> Callable[[], jax.Array]:
        """A function that makes the matrix anew and returns it when it is there.

        By rows over the mesh's only axis, on every device where these do not divide n.
        """
        (axis,) = mesh.axis_names
        spread = self.n % mesh.size == 0
        rows = self.n // mesh.size if spread else self.n

        def local(vectors: dict[str, jax.Array]) -> jax.Array:
            first = lax.axis_index(axis) * rows if spread else jnp.int32(0)
            return _rows(self, vectors, first, rows)

        spec = P(axis, None) if spread else P()
        make = jax.jit(
            jax.shard_map(local, mesh=mesh, in_specs=P(), out_specs=spec, check_vma=False)
        )
        everywhere = jax.device_put(_vectors(self), jax.sharding.NamedSharding(mesh, P()))
        return lambda: jax.block_until_ready(make(everywhere))


def right_hand_sides(n: int, rhs: int, dtype: str, kind: str) -> np.ndarray:
    """``1, 2, ...`` in each column, scaled to at most 1; ones for a diagonal matrix, as the paper.

    A vector if there is one.
    """
    if kind == "diagonal":
        return np.ones((n, rhs) if rhs != 1 else n, dtype)
    ramp = np.arange(1, n + 1) / n
    b = ramp if rhs == 1 else np.outer(ramp, np.arange(1, rhs + 1) / rhs)
    return b.astype(dtype)


def _spectrum(matrix: Matrix) -> np.ndarray:
    if matrix.definite:
        return np.geomspace(1 / matrix.kappa, 1, matrix.n)
    return np.linspace(-1, 1, matrix.n)


def _vectors(matrix: Matrix) -> _Vectors:
    """What the entries are made of, computed in double precision on the host."""
    rng = np.random.default_rng(matrix.seed)
    make: dict[str, Callable[[Matrix, np.random.Generator], _Vectors]] = {
        "random": _random_vectors,
        "diagonal": lambda matrix, rng: {},
        "kernel": _kernel_vectors,
    }
    dtype = np.dtype(matrix.dtype)
    real = np.finfo(dtype).dtype
    return {
        name: value.astype(dtype if np.iscomplexobj(value) else real)
        for name, value in make[matrix.kind](matrix, rng).items()
    }


def _is_complex(matrix: Matrix) -> bool:
    return np.dtype(matrix.dtype).kind == "c"


def _phases(matrix: Matrix, rng: np.random.Generator) -> np.ndarray:
    if _is_complex(matrix):
        return np.exp(2j * np.pi * rng.random(matrix.n))
    return rng.choice([-1.0, 1.0], matrix.n)


def _hartley(x: np.ndarray) -> np.ndarray:
    """The orthonormal discrete Hartley transform: entries (cos + sin)(2 pi j k / n) / sqrt(n)."""
    if np.iscomplexobj(x):
        return _hartley(x.real) + 1j * _hartley(x.imag)
    f = np.fft.fft(x) / np.sqrt(len(x))
    return f.real - f.imag


def _random_vectors(matrix: Matrix, rng: np.random.Generator) -> _Vectors:
    """B = S H diag(w) H S^H has the entries s_i conj(s_j) (c_(i-j) + d_(i+j)), indices modulo n,
    since cas x cas y = cos(x - y) + sin(x + y). R = I - 2 v v^H makes B - v p^H - p v^H of it."""
    n = matrix.n
    w = rng.permutation(_spectrum(matrix))
    s = _phases(matrix, rng)
    f = np.fft.fft(w) / n
    g = rng.standard_normal(n)
    if _is_complex(matrix):
        g = g + 1j * rng.standard_normal(n)
        g[0] = g[0].real
    v = -g / np.linalg.norm(g)
    v[0] += 1
    v /= np.linalg.norm(v) or 1  # of order 1 it may be zero
    bv = s * _hartley(w * _hartley(s.conj() * v))
    p = 2 * (bv - np.vdot(v, bv).real * v)
    return {"c": f.real, "d": -f.imag, "s": s, "v": v, "p": p}


def _kernel_vectors(matrix: Matrix, rng: np.random.Generator) -> _Vectors:
    return {"x": np.sort(rng.random(matrix.n)), "s": _phases(matrix, rng)}


def _upper(matrix: Matrix, of: dict[str, jax.Array], i: jax.Array, j: jax.Array) -> jax.Array:
    """Entries (i, j), i <= j."""
    if matrix.kind == "diagonal":
        return jnp.where(i == j, i + 1, 0).astype(matrix.dtype)
    s = of["s"]
    if matrix.kind == "kernel":
        # Its largest eigenvalue is about n sqrt(2 pi) width.
        shift = matrix.n * np.sqrt(2 * np.pi) * _WIDTH / matrix.kappa
        distance = (of["x"][i] - of["x"][j]) / of["x"].dtype.type(_WIDTH)
        k = jnp.exp(-(distance**2) / 2) + jnp.where(i == j, shift, 0).astype(distance.dtype)
        return s[i] * s[j].conj() * k
    v, p = of["v"], of["p"]
    b = s[i] * s[j].conj() * (of["c"][j - i] + of["d"][(i + j) % matrix.n])
    return b - v[i] * p[j].conj() - p[i] * v[j].conj()


def _rows(matrix: Matrix, of: dict[str, jax.Array], first: jax.Array, rows: int) -> jax.Array:
    """Rows of the matrix from `first` on: exactly Hermitian, since both triangles are the upper
    one's entries."""
    n = matrix.n

    def some(begin: jax.Array, count: int) -> jax.Array:
        i = begin + lax.broadcasted_iota(jnp.int32, (count, n), 0)
        j = lax.broadcasted_iota(jnp.int32, (count, n), 1)
        a = _upper(matrix, of, jnp.minimum(i, j), jnp.maximum(i, j))
        if not _is_complex(matrix):
            return a
        below = jnp.where(i > j, -a.imag, jnp.where(i == j, 0, a.imag))
        return lax.complex(a.real, below)

    chunk = max(1, min(rows, _CHUNK // max(n, 1)))
    if chunk >= rows:
        return some(first, rows)

    def step(k: Any, a: jax.Array) -> jax.Array:
        # The last chunk has rows of the one before again, where chunks do not divide them.
        begin = jnp.minimum(k * chunk, rows - chunk).astype(jnp.int32)
        return lax.dynamic_update_slice_in_dim(a, some(first + begin, chunk), begin, 0)

    return lax.fori_loop(0, -(-rows // chunk), step, jnp.zeros((rows, n), matrix.dtype))
