"""The ceiling: a product of matrices on every device at the same time, by JAX."""

from __future__ import annotations

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from .outcome import Outcome
from .routines._routine import complex_factor
from .series import RESIDUAL_LIMIT

#: Orders of the matrices, whatever the order of the case: large enough for the best rate.
CPU_ORDER, GPU_ORDER = 1024, 16384
REPEATS = 10


def measure_gemm(dtype: str, mesh: Mesh, platform: str) -> Outcome:
    """``A @ A`` of random A, one on each device, warm; the rate is that of all together.

    Checked as Freivalds does, with a random vector.
    """
    n = CPU_ORDER if platform == "cpu" else GPU_ORDER
    compiled: Any = _on_each(mesh)
    try:
        a = compiled(lambda: jax.random.normal(jax.random.key(0), (n, n), dtype), 0)()
        product = compiled(lambda a: jnp.matmul(a, a, precision=lax.Precision.HIGHEST), 1)
        warmups = [_seconds(product, a) for _ in range(2)]
        seconds = [_seconds(product, a) for _ in range(REPEATS)]
        residual = float(jnp.max(compiled(_residual, 2)(a, product(a))))
    except Exception as error:
        return Outcome("gemm", n, mesh.size, failure=f"{type(error).__name__}: {error}")
    wrong = f"residual {residual:.3g}, expected at most {RESIDUAL_LIMIT:g}"
    return Outcome(
        "gemm",
        n,
        mesh.size,
        warmup_seconds=warmups,
        seconds=seconds,
        gflops=mesh.size * complex_factor(dtype) * 2.0 * n**3 / statistics.median(seconds) / 1e9,
        residual=residual,
        failure=None if residual <= RESIDUAL_LIMIT else wrong,
    )


def _on_each(mesh: Mesh) -> Any:
    def compiled(function: Any, operands: int) -> Any:
        specs = (P("x"),) * operands
        return jax.jit(
            jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P("x"), check_vma=False)
        )

    return compiled


def _seconds(product: Any, a: jax.Array) -> float:
    start = time.perf_counter()
    jax.block_until_ready(product(a))
    return time.perf_counter() - start


def _residual(a: jax.Array, c: jax.Array) -> jax.Array:
    def by(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)

    v = jax.random.normal(jax.random.key(1), (a.shape[0],), a.dtype)
    norm = jnp.linalg.norm
    scale = a.shape[0] * float(np.finfo(a.dtype).eps) * norm(a) ** 2 * norm(v)
    return (norm(by(c, v) - by(a, by(a, v))) / scale)[None]
