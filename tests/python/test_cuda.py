"""What only GPUs can show: early return, buffers that are reused at once, failing devices, leaks.

JAXMG_TEST_PLATFORM=cuda runs these and the other tests on all GPUs of the host.
"""

import ctypes
import os
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, resources
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg
from jaxmg import _library

pytestmark = pytest.mark.skipif(PLATFORM != "cuda", reason="JAXMG_TEST_PLATFORM is not cuda")

BOUND = 10
RANKS = sorted({0, DEVICES - 1})


@pytest.fixture
def chaos():
    """Switches random delays on; they end with the test."""
    yield _library.set_cuda_chaos
    _library.set_cuda_chaos(0)


def dominant(n, dtype, seed=0):
    """Positive definite, and cheap to make at any n."""
    a = random_matrix(n, n, dtype, seed)
    return ((a + a.conj().T) / (4 * np.sqrt(max(n, 1))) + 2 * np.eye(n)).astype(dtype)


def large_on(mesh, n, dtype):
    """Likewise, made on the devices."""

    def make():
        i = jax.lax.broadcasted_iota(dtype, (n, n), 0)
        j = jax.lax.broadcasted_iota(dtype, (n, n), 1)
        return jnp.cos(i * j) / n + 2 * (i == j)

    return jax.jit(make, out_shardings=NamedSharding(mesh, P("x", None)))()


# ---- Sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("n_loc", [1, 63, 64, 65, 127, 128, 129, 300, 509])
def test_sizes_around_the_blocks_of_the_kernels(dtype, n_loc, donate, mesh):
    n = DEVICES * n_loc
    a, b = dominant(n, dtype), random_matrix(n, 3, dtype, 1)
    for i, tile in enumerate((None, 31, 64, 65, 127, 128, 129, 200, n_loc)):
        rhs = b if i % 2 else b[:, 0]
        x = jaxmg.potrs(by_rows(a, mesh), rhs, tile, mesh, P("x", None), donate=donate)
        assert residual(a, x, rhs) < BOUND, tile


# ---- A call returns before its work is done ----------------------------------------------------


def test_asynchronous_dispatch(mesh):
    n = 16384
    a, b = large_on(mesh, n, np.float64), everywhere(np.ones((n, 1)), mesh)
    jax.block_until_ready([jaxmg.potrs(a, b, mesh=mesh) for _ in range(2)])
    shares = []
    for _ in range(3):
        begin = time.perf_counter()
        x = jaxmg.potrs(a, b, mesh=mesh)
        returned = time.perf_counter() - begin
        x.block_until_ready()
        shares.append(returned / (time.perf_counter() - begin))
    assert min(shares) < 0.5, shares


#: Overwrites the storage of its operand, as soon as the devices' streams come to it.
spoil = jax.jit(lambda x: x * jnp.nan, donate_argnums=0)
#: Takes storage that is free and writes to it.
scribble = jax.jit(lambda x, value: x * 0 + value)


@pytest.mark.parametrize("tile", [None, 37, 64])
@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shards_are_overwritten_while_copies_are_late(seed, donate, tile, mesh, chaos):
    n = 64 * DEVICES * 3
    a, b = dominant(n, np.float64), random_matrix(n, 2, np.float64, 1)
    expected = np.linalg.solve(a, b)
    chaos(seed, 200)
    for _ in range(25):
        given, rhs = by_rows(a, mesh), everywhere(b, mesh)
        x = jaxmg.potrs(given, rhs, tile, mesh, P("x", None), donate=donate)
        if not donate:
            spoil(given)
        spoil(rhs)
        # Whatever has been freed is taken, and written to, by somebody else.
        others = [scribble(by_rows(a, mesh), value) for value in (1.0, 2.0)]
        assert np.abs(x - expected).max() < 1e-10
        del others


def test_results_of_late_copies(dtype, mesh, chaos):
    """Every step waits for what it reads, and no buffer is written before it has been read."""
    n = 100 * DEVICES
    a, b = dominant(n, dtype), random_matrix(n, 3, dtype, 1)
    for seed in range(1, 13):
        chaos(seed, 100)
        tile = (None, 16, 33, 100)[seed % 4]
        x, logdet, info = jaxmg.potrs(
            by_rows(a, mesh),
            b,
            tile,
            mesh,
            donate=seed % 2 == 0,
            return_logdet=True,
            return_info=True,
        )
        assert residual(a, x, b) < BOUND and int(info) == 0
        assert np.isclose(float(logdet), np.linalg.slogdet(a)[1], rtol=1e-4)


def test_cyclic_layout_with_late_copies(mesh, chaos):
    a = random_matrix(60 * DEVICES, 60 * DEVICES, np.float64)
    wanted = np.asarray(jaxmg.cyclic_1d(by_rows(a, mesh), 7, mesh, P("x", None)))
    for seed in range(1, 31):
        chaos(seed, 300)
        given = by_rows(a, mesh)
        a_cyclic = jaxmg.cyclic_1d(given, 7, mesh, P("x", None))
        spoil(given)
        assert np.array_equal(a_cyclic, wanted)


def test_sixteen_in_flight_with_late_copies(mesh, chaos):
    n = 32 * DEVICES
    a, b = dominant(n, np.float64), random_matrix(n, 2, np.float64, 1)
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, jaxmg.potrs(a, b, 8, mesh), 16, mesh))
    expected = np.linalg.solve(a, np.linalg.solve(a, b))
    chaos(5, 50)
    operands = by_rows(a, mesh), everywhere(b, mesh)
    for _ in range(3):
        for x in [solve(*operands) for _ in range(16)]:
            assert np.abs(x - expected).max() < 1e-10


# ---- Failures ----------------------------------------------------------------------------------

N, T = 128 * DEVICES, 32  # four tiles a rank
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)


def call(mesh, donate=False):
    return jaxmg.potrs(by_rows(A, mesh), everywhere(B, mesh), T, mesh, P("x", None), donate=donate)


def works(mesh):
    return residual(A, call(mesh), B) < BOUND


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("donate", [False, True])
def test_a_cuda_error_anywhere(rank, donate, mesh):
    """Whichever of its CUDA calls a rank fails at, all are told, and the next call works."""
    assert works(mesh)
    for after in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        _library.inject_cuda_fault(rank, "error", after)
        with pytest.raises(
            jax.errors.JaxRuntimeError,
            match=rf"rank {rank} of {DEVICES} failed: \w+\(.*\): cudaErrorUnknown",
        ):
            jax.block_until_ready(call(mesh, donate))
        assert works(mesh), after


@pytest.mark.parametrize("rank", RANKS)
def test_out_of_memory_on_one_device(rank, mesh):
    assert works(mesh)
    for _ in range(3):
        _library.inject_cuda_fault(rank, "out of memory")
        with pytest.raises(
            jax.errors.JaxRuntimeError,
            match=rf"rank {rank} of {DEVICES} failed: cudaMalloc\(.*\): cudaErrorMemoryAllocation",
        ):
            jax.block_until_ready(call(mesh))
        assert works(mesh)


@pytest.mark.parametrize("rank", RANKS)
def test_a_late_rank(rank, mesh):
    assert works(mesh)
    _library.inject_cuda_fault(rank, "late", 1000)
    assert works(mesh)


@pytest.mark.parametrize("rank", RANKS)
def test_a_rank_that_is_too_late(rank, mesh, monkeypatch):
    """It finds that the others have given up, and fails as they did."""
    if DEVICES == 1:
        pytest.skip("needs 2 devices")
    assert works(mesh)
    monkeypatch.setenv("JAXMG_TIMEOUT", "0.5")
    _library.inject_cuda_fault(rank, "late", 2000)
    begin = time.monotonic()
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"ranks {rank} of {DEVICES} did not come"):
        jax.block_until_ready(call(mesh))
    assert time.monotonic() - begin < 20
    monkeypatch.setenv("JAXMG_TIMEOUT", "60")
    assert works(mesh)


@pytest.mark.parametrize("groups", [False, True])
def test_a_device_that_is_taken_for_another(mesh, groups):
    """Should what is remembered of a call site ever be wrong, no number that is wrong comes out,
    and the next call is right."""
    if DEVICES % 2 and not groups:
        pytest.skip("needs neighbours")
    a, b = by_rows(A, mesh), everywhere(B, mesh)

    def solve():
        return jaxmg.potrs(a, b, T, mesh, P("x", None), return_logdet=True, return_info=True)

    def cyclic():
        return jaxmg.cyclic_1d(a, T, mesh, P("x", None))

    wanted = np.asarray(cyclic())
    solve()  # what is made for it makes the library forget what it knows of cyclic()'s
    cyclic()
    assert residual(A, solve()[0], B) < BOUND
    _library.swap_cuda_seats(groups)
    x, logdet, info = jax.block_until_ready(solve())
    for result in (x, logdet):
        for shard in result.addressable_shards:
            assert np.isnan(np.asarray(shard.data)).all()
    for shard in info.addressable_shards:
        assert int(shard.data) == -1
    assert residual(A, solve()[0], B) < BOUND
    assert np.array_equal(cyclic(), wanted)

    _library.swap_cuda_seats(groups)
    for shard in jax.block_until_ready(cyclic()).addressable_shards:
        assert np.isnan(np.asarray(shard.data)).all()
    assert np.array_equal(cyclic(), wanted)


def run_python(code, **variables):
    """A new process on the same GPUs, which may be lost to it; returns what it printed."""
    preamble = """
        import os, jax, jaxmg
        import jax.numpy as jnp, numpy as np
        from jax.sharding import PartitionSpec as P
        from jaxmg import _library
        jax.config.update("jax_enable_x64", True)
        mesh = jax.make_mesh((jax.device_count(),), ("x",))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout


def test_a_device_that_is_lost():
    """A trap makes the GPU unusable for its process: the message says what to do."""
    told = run_python(
        """
        n = 64 * jax.device_count()
        def solve():
            return jaxmg.potrs(2 * np.eye(n), np.ones(n), 16, mesh, P("x", None))
        assert np.allclose(solve(), 0.5)
        _library.inject_cuda_fault(jax.device_count() - 1, "trap")
        try:
            jax.block_until_ready(solve())
        except jax.errors.JaxRuntimeError as error:
            print(error, flush=True)
            os._exit(0)
        os._exit(1)
        """
    )
    assert f"rank {DEVICES - 1} of {DEVICES} failed" in told
    assert "must be restarted" in told


def test_xla_has_no_memory_on_one_device():
    """The call never begins there. The others give up when they have waited long enough."""
    told = run_python(
        """
        n, last = 8192, jax.devices()[-1]
        a = jax.jit(lambda: 2 * jnp.eye(n), out_shardings=jax.NamedSharding(mesh, P("x", None)))()
        def solve():
            return np.asarray(jaxmg.potrs(a, np.ones(n), 512, mesh, P("x", None)))
        assert np.allclose(solve(), 0.5)
        taken = []
        for size in (2**30, 2**26, 2**24):
            try:
                while True:
                    taken.append(jnp.zeros(size, np.uint8, device=last).block_until_ready())
            except jax.errors.JaxRuntimeError as error:
                assert "RESOURCE_EXHAUSTED" in str(error)
        try:
            solve()
        except jax.errors.JaxRuntimeError as error:
            print(error, flush=True)
        del taken
        assert np.allclose(solve(), 0.5)
        print("the next call works")
        """,
        JAXMG_TIMEOUT="4",
        XLA_PYTHON_CLIENT_MEM_FRACTION=".1",
    )
    assert "RESOURCE_EXHAUSTED" in told or "did not come within" in told
    assert told.endswith("the next call works\n")


# ---- Nothing is left behind --------------------------------------------------------------------


def free_memory():
    """Bytes that the driver has free on each GPU: JAX's allocator sees only its own pool."""
    driver = ctypes.CDLL("libcuda.so.1")
    free = []
    for ordinal in range(DEVICES):
        device, context = ctypes.c_int(), ctypes.c_void_p()
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        for status in (
            driver.cuDeviceGet(ctypes.byref(device), ordinal),
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device),
            driver.cuCtxPushCurrent_v2(context),
            driver.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total)),
            driver.cuCtxPopCurrent_v2(ctypes.byref(context)),
            driver.cuDevicePrimaryCtxRelease_v2(device),
        ):
            assert status == 0
        free.append(left.value)
    return free


def test_calls_by_cusolvermg_leave_nothing(mesh):
    """Handles, descriptors and workspaces of calls that go well and of calls that fail."""

    def run(count):
        for i in range(count):
            x = jaxmg.potrs(by_rows(A, mesh), everywhere(B, mesh), 64, mesh, engine="cusolvermg")
            assert residual(A, x, B) < BOUND
            w, v = jaxmg.eigh(by_rows(A, mesh), 64, mesh, engine="cusolvermg")
            assert residual(A, v @ ((v.T @ B) / w[:, None]), B) < BOUND
            _library.inject_cuda_fault(i % DEVICES, "error", 5)
            with pytest.raises(jax.errors.JaxRuntimeError, match="cudaErrorUnknown"):
                jax.block_until_ready(jaxmg.potri(by_rows(A, mesh), 64, mesh, engine="cusolvermg"))

    run(5)
    (threads, files, _), free = resources(), free_memory()
    run(20)
    threads_after, files_after, _ = resources()
    assert threads_after <= threads + 2
    assert files_after <= files + 2
    assert all(after >= before - 2**26 for before, after in zip(free, free_memory(), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_calls_leave_nothing(mesh):
    operands = by_rows(A, mesh), everywhere(B, mesh)
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, 64, mesh, P("x", None)))

    def run(count):
        for _ in range(count // 10):
            x = [solve(*operands) for _ in range(10)][-1].block_until_ready()
        assert residual(A, x, B) < BOUND

    def state():
        in_use = [device.memory_stats()["bytes_in_use"] for device in jax.devices()]
        return resources(), in_use, free_memory()

    run(1000)
    (threads, files, rss), in_use, free = state()
    run(10000)
    (threads_after, files_after, rss_after), in_use_after, free_after = state()
    assert threads_after <= threads + 2
    assert files_after <= files + 2
    assert rss_after <= rss + 30  # MiB
    assert all(now <= then + 2**20 for then, now in zip(in_use, in_use_after, strict=True))
    assert all(after >= before - 2**20 for before, after in zip(free, free_after, strict=True))


@pytest.mark.slow
def test_failing_calls_leave_nothing(mesh):
    def fail(count):
        for i in range(count):
            _library.inject_cuda_fault(RANKS[-1], "error", 1 + i % 50)
            with pytest.raises(jax.errors.JaxRuntimeError, match="cudaErrorUnknown"):
                jax.block_until_ready(call(mesh, donate=i % 2 == 0))
        assert works(mesh)

    fail(100)
    before, free = resources(), free_memory()
    fail(300)
    after, free_after = resources(), free_memory()
    assert after[0] <= before[0] + 2 and after[1] <= before[1] + 2 and after[2] <= before[2] + 30
    assert all(now >= then - 2**20 for then, now in zip(free, free_after, strict=True))
