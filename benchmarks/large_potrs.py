"""Solves the largest systems that the devices hold, with a matrix that no host could make.

    python benchmarks/large_potrs.py 131072 float64          # a donated, the residual checked
    python benchmarks/large_potrs.py 65536 float64 --keep    # a not donated
    python benchmarks/large_potrs.py probe float64 float32   # the largest n of each, both ways

Prints one line of JSON a run. Exit status 1 if a residual is too large or a run failed. A probe
starts from the n for which shard and workspace fill the devices' memory, and shrinks it until the
call goes through; every try is a process of its own.

Entries are hashes of their indices, made where they are needed: A is never on the host, and the
residual is computed from rows that are made again, so that no second n x n array exists.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxmg
from jaxmg import _library

DTYPES = ("float32", "float64", "complex64", "complex128")
BOUND = 10  # on the scaled residual
CHUNK = 2**28  # bytes of the rows that the residual is computed from at a time


def noise(i: jax.Array, j: jax.Array, salt: int, dtype: Any) -> jax.Array:
    """Uniform in [-1, 1), a hash of (i, j); exact in float32."""
    h = i * jnp.uint32(0x9E3779B1) ^ j * jnp.uint32(0x85EBCA77) ^ jnp.uint32(salt)
    for factor in (0x7FEB352D, 0x846CA68B):
        h = (h ^ (h >> 16)) * jnp.uint32(factor)
    h = h ^ (h >> 15)
    return (h >> 8).astype(dtype) * 2.0**-23 - 1


def rows_of_matrix(first: jax.Array, rows: int, n: int, dtype: Any) -> jax.Array:
    """Rows of A: a_ij = f(min(i, j), max(i, j)), conjugated below the diagonal, plus n on it."""
    real = np.finfo(dtype).dtype
    i = first.astype(jnp.uint32) + jax.lax.broadcasted_iota(jnp.uint32, (rows, n), 0)
    j = jax.lax.broadcasted_iota(jnp.uint32, (rows, n), 1)
    low, high = jnp.minimum(i, j), jnp.maximum(i, j)
    a = noise(low, high, 1, real) + jnp.where(i == j, n, 0).astype(real)
    if np.dtype(dtype).kind == "c":
        sign = (j > i).astype(real) - (j < i).astype(real)
        a = jax.lax.complex(a, sign * noise(low, high, 2, real))
    return a


def make_matrix(mesh: jax.sharding.Mesh, n: int, dtype: Any) -> jax.Array:
    """A, each device making its own rows."""
    n_loc = n // mesh.size

    def local() -> jax.Array:
        return rows_of_matrix(jax.lax.axis_index("x") * n_loc, n_loc, n, dtype)

    return jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(), out_specs=P("x", None), check_vma=False)
    )()


def scaled_residual(mesh: jax.sharding.Mesh, x: jax.Array, b: jax.Array) -> float:
    """||b - A x||_1 / (n eps ||A||_1 ||x||_1), in double precision, A made again chunk by chunk."""
    n, dtype = x.shape[0], x.dtype
    n_loc = n // mesh.size
    wide = np.dtype("complex128" if dtype.kind == "c" else "float64")
    fitting = max(1, CHUNK // (n * wide.itemsize))
    chunk = next(rows for rows in range(min(fitting, n_loc), 0, -1) if n_loc % rows == 0)

    def local(x: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(k: jax.Array, so_far: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            error, norm = so_far
            first = jax.lax.axis_index("x") * n_loc + k * chunk
            a = rows_of_matrix(first, chunk, n, dtype).astype(wide)
            mine = jax.lax.dynamic_slice_in_dim(b, first, chunk)
            error = error + jnp.sum(jnp.abs(mine.astype(wide) - a @ x.astype(wide)))
            return error, jnp.maximum(norm, jnp.max(jnp.sum(jnp.abs(a), axis=1)))

        zero = jnp.float64(0)
        error, norm = jax.lax.fori_loop(0, n_loc // chunk, step, (zero, zero))
        return jax.lax.psum(error, "x"), jax.lax.pmax(norm, "x")

    check = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(P(), P()), out_specs=(P(), P()), check_vma=False)
    )
    error, norm = check(x, b)
    scale = n * float(np.finfo(dtype).eps) * float(norm) * float(jnp.sum(jnp.abs(x)))
    return float(error) / scale


def start() -> jax.sharding.Mesh:
    jax.config.update("jax_enable_x64", True)
    return jax.make_mesh((jax.device_count(),), ("x",))


def platform() -> str:
    return "cpu" if jax.devices()[0].platform == "cpu" else "cuda"


def measure(n: int, dtype_name: str, donate: bool, tile: int | None, repeats: int) -> dict:
    """One row: `repeats` solves, each of a fresh A if it is donated; the shortest counts."""
    mesh = start()
    dtype = np.dtype(dtype_name)
    if n % mesh.size:
        raise ValueError(f"n: expected a multiple of the {mesh.size} devices, got {n}")
    row: dict[str, Any] = {"n": n, "dtype": dtype_name, "devices": mesh.size, "donate": donate}
    row["device"] = jax.devices()[0].device_kind
    row["shard_bytes"] = n * n // mesh.size * dtype.itemsize
    sizes = _library.Sizes(platform(), dtype, n, n, mesh.size, tile or 0)
    row["workspace_bytes"] = _library.potrs_workspace(sizes, 1, donate)
    i = jnp.arange(n, dtype=jnp.uint32)
    b = jax.device_put(
        noise(i, i, 3, np.finfo(dtype).dtype).astype(dtype), NamedSharding(mesh, P())
    )
    seconds = []
    try:
        a = None
        for _ in range(repeats):
            if a is None or donate:
                a = jax.block_until_ready(make_matrix(mesh, n, dtype))
            begin = time.perf_counter()
            x, status = jaxmg.potrs(
                a, b, tile, mesh, P("x", None), return_status=True, donate=donate
            )
            jax.block_until_ready(x)
            seconds.append(time.perf_counter() - begin)
            if donate and not a.is_deleted():
                raise RuntimeError("a was donated and is still there")
        row |= {"seconds": min(seconds), "all_seconds": seconds, "status": int(status)}
        flops = n**3 / 3 * (4 if dtype.kind == "c" else 1)
        row["teraflops"] = flops / min(seconds) / 1e12
        row["peak_bytes"] = [
            (device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.devices()
        ]
        row["residual"] = scaled_residual(mesh, x, b)
        row["result"] = "good" if row["residual"] < BOUND else "wrong"
    except jax.errors.JaxRuntimeError as error:
        out_of_memory = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
        row["result"] = "out of memory" if out_of_memory else "failed"
        row["error"] = str(error)[:500]
    return row


def limits() -> tuple[int, int, str]:
    """Devices, bytes that JAX's allocator gives on each of them, and jaxmg's platform."""
    mesh = start()
    stats = [device.memory_stats() for device in jax.devices()]
    if not all(stats):
        raise SystemExit("probe: these devices do not say how much memory they have")
    return mesh.size, min(s["bytes_limit"] for s in stats), platform()


def in_new_process(function: Any, *arguments: Any) -> Any:
    """This process must not take the devices' memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def probe(dtype_name: str, donate: bool) -> dict:
    """The largest n that goes through, to a hundredth."""
    ranks, limit, where = in_new_process(limits)
    dtype = np.dtype(dtype_name)
    unit = 256 * ranks

    def needed(n: int) -> int:
        workspace = _library.potrs_workspace(
            _library.Sizes(where, dtype, n, n, ranks, 0), 1, donate
        )
        return n * n // ranks * dtype.itemsize + workspace + 16 * n * dtype.itemsize

    low, high = 1, 2
    while needed(high * unit) <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle * unit) <= limit else (low, middle)
    by_formula = n = low * unit
    while True:
        row = in_new_process(measure, n, dtype_name, donate, None, 1)
        row["n_by_formula"] = by_formula
        if row["result"] != "out of memory" or n <= by_formula // 2:
            return row
        print(json.dumps(row), flush=True)
        n = max(1, n * 99 // 100 // unit) * unit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", metavar="N", help="the order, or `probe`")
    parser.add_argument("dtype", metavar="DTYPE", nargs="*", choices=[[], *DTYPES])
    parser.add_argument("--keep", action="store_true", help="do not donate a")
    parser.add_argument("--tile", type=int, help="T_A; chosen by the library if left out")
    parser.add_argument("--repeats", type=int, default=2, help="the first also compiles")
    arguments = parser.parse_args()
    rows = []
    for dtype_name in arguments.dtype or DTYPES:
        if arguments.n == "probe":
            some = (probe(dtype_name, donate) for donate in (True, False))
        else:
            options = (not arguments.keep, arguments.tile, arguments.repeats)
            some = (measure(int(arguments.n), dtype_name, *options) for _ in range(1))
        for row in some:
            print(json.dumps(row), flush=True)
            rows.append(row)
    return 0 if all(row["result"] == "good" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
