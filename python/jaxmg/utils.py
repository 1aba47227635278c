"""Helpers for tests and examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._arguments import SUPPORTED


def random_psd(n: int, dtype: Any, seed: int) -> jax.Array:
    """A random, well-conditioned Hermitian positive definite matrix: eigenvalues of 1 to about 5.

    It is ``G @ G^H + I`` with normal entries of variance ``1 / n`` in G, exactly Hermitian, and
    lies on one device.

    Args:
      n: the order.
      dtype: float32, float64, complex64 or complex128. The 64-bit types need ``jax_enable_x64``.
      seed: the same seed gives the same matrix.

    Returns:
      ``(n, n)`` of that dtype.

    Raises:
      TypeError: another dtype.
      ValueError: a 64-bit type without ``jax_enable_x64``, or a negative `n`.

    Example:
      >>> import jax.numpy as jnp, jaxmg
      >>> a = jaxmg.utils.random_psd(64, jnp.float32, seed=0)
      >>> bool(jnp.all(jnp.linalg.eigvalsh(a) > 0.99))
      True
    """
    wanted = np.dtype(dtype)
    if wanted.name not in SUPPORTED:
        raise TypeError(
            f"random_psd: dtype: supports float32, float64, complex64 and complex128, got "
            f"{wanted.name}"
        )
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(
            f"random_psd: dtype: {wanted.name} needs 64-bit types; write "
            'jax.config.update("jax_enable_x64", True) first'
        )
    if n < 0:
        raise ValueError(f"random_psd: n: expected 0 or more, got {n}")
    g = jax.random.normal(jax.random.key(seed), (n, n), wanted) / np.sqrt(max(n, 1))
    a = jnp.matmul(g, g.conj().T, precision=lax.Precision.HIGHEST)
    # The product is Hermitian up to rounding only.
    return ((a + a.conj().T) / 2 + jnp.eye(n, dtype=wanted)).astype(wanted)
