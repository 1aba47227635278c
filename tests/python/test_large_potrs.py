"""benchmarks/large_potrs.py: in small anywhere, and with a matrix larger than one GPU."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import large_potrs
import numpy as np
import pytest
from devices import DEVICES, PLATFORM
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import random_matrix, residual

N = 48 * DEVICES


def test_matrix_is_hermitian_and_the_same_in_pieces(mesh, dtype):
    a = np.asarray(large_potrs.make_matrix(mesh, N, dtype))
    assert a.dtype == dtype and a.shape == (N, N)
    assert np.array_equal(a, a.conj().T)
    rows = large_potrs.rows_of_matrix(jnp.int32(7), 5, N, dtype)
    assert np.array_equal(rows, a[7:12])
    off_diagonal = a - N * np.eye(N)
    assert len(np.unique(off_diagonal.real)) > N * N // 3  # no pattern that repeats
    assert abs(off_diagonal.mean()) < 0.1 and np.abs(off_diagonal.real).max() <= 1


def test_residual_is_that_of_the_other_tests(mesh, dtype):
    a = np.asarray(large_potrs.make_matrix(mesh, N, dtype))
    b = random_matrix(N, 1, dtype)[:, 0]
    x = np.linalg.solve(a, b) * (1 + 1e-3 * np.arange(N)).astype(dtype)
    everywhere = NamedSharding(mesh, P())
    found = large_potrs.scaled_residual(
        mesh, jax.device_put(x, everywhere), jax.device_put(b, everywhere)
    )
    assert np.isclose(found, residual(a, x[:, None], b[:, None]), rtol=1e-3)


def run(*arguments, timeout):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    del environment["XLA_PYTHON_CLIENT_PREALLOCATE"]  # as for users
    done = subprocess.run(
        [sys.executable, large_potrs.__file__, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("keep", [False, True])
def test_script(keep):
    status, rows = run("512", "float32", "complex128", *["--keep"] * keep, timeout=240)
    assert status == 0
    assert [row["dtype"] for row in rows] == ["float32", "complex128"]
    for row in rows:
        assert row["result"] == "good" and row["n"] == 512 and row["donate"] != keep
        assert row["residual"] < 1 and row["seconds"] > 0


@pytest.mark.large
@pytest.mark.timeout(600)
@pytest.mark.skipif(PLATFORM != "cuda" or DEVICES < 2, reason="needs two GPUs")
def test_larger_than_one_gpu():
    """128 GiB of A on two GPUs, with JAX's default allocator."""
    n = "131072" if DEVICES == 2 else "196608"
    status, (row,) = run(n, "float64", timeout=580)
    assert status == 0 and row["result"] == "good", row
