"""What the processes of a job run in test_processes.py: job_program.py CASE INDEX PROCESSES DEVICES
HOSTS GPUS PORT ARGUMENTS."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import random_matrix, residual, spd

ON_GPUS = os.environ["JAX_PLATFORMS"] != "cpu"
TILE = 5


ROWS = P("x", None)


def rows(a, mesh, spec=ROWS):
    """`a`, which all processes have, spread over all of them."""
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(a.shape, sharding, lambda index: a[index])


def host(x):
    """All of a spread array."""
    if x.is_fully_replicated:
        return np.asarray(x)
    everywhere = NamedSharding(x.sharding.mesh, P())
    return np.asarray(jax.jit(lambda x: x, out_shardings=everywhere)(x))


def identity_residual(a, x):
    return residual(a, x, np.eye(len(a), dtype=a.dtype))


def all_routines(mesh, dtypes="float32,float64,complex64,complex128"):
    """Eagerly and under jit, over all devices, by names and by shardings alone."""
    n = 11 * jax.device_count()
    for dtype in map(np.dtype, dtypes.split(",")):
        a, b = spd(n, dtype), random_matrix(n, 3, dtype)
        spread = rows(a, mesh)
        x, logdet, info = jaxmg.potrs(spread, b, TILE, return_logdet=True, return_info=True)
        assert residual(a, host(x), b) < 10 and info == 0
        expected = np.linalg.slogdet(a.astype(np.result_type(dtype, np.float64)))[1]
        np.testing.assert_allclose(logdet, expected, rtol=1e-4)
        inverse = jax.jit(lambda a: jaxmg.potri(a, TILE, mesh, P("x", None)))(spread)
        assert identity_residual(a, host(inverse)) < 10

        factor = jaxmg.cho_factor(spread, TILE)
        assert residual(a, host(factor.solve(b)), b) < 10
        many = random_matrix(n, 70 * jax.device_count(), dtype)
        assert residual(a, host(factor.solve(many)), many) < 10
        assert identity_residual(a, host(factor.inverse())) < 10

        w, v = jaxmg.syevd(spread, TILE, mesh, ROWS)
        w, v = np.asarray(w, np.float64), host(v)
        assert residual(a, v, v * w) < 10
        assert residual(v.conj().T, v, np.eye(n)) < 10
        alone = jax.jit(lambda a: jaxmg.syevd(a, TILE, mesh, ROWS, return_eigenvectors=False))
        np.testing.assert_allclose(alone(spread), w, atol=10 * n * np.finfo(dtype).eps)

        cyclic = jaxmg.cyclic_1d(spread, TILE, mesh, P("x", None))
        order = cyclic_order(n, jax.device_count(), TILE)
        np.testing.assert_array_equal(host(cyclic), a[order])

        x, status = jaxmg.potrs_shardmap_ctx(rows(a, mesh), b, TILE, mesh=mesh)[1:]
        assert residual(a, host(x), b) < 10 and status == 0

        def local(a, b):
            x, status = jaxmg.potrs_shardmap_ctx(a, b, TILE)
            return x, lax.psum(status, "x")

        specs = {"in_specs": (P("x", None), P()), "out_specs": P(), "check_vma": False}
        solve = jax.jit(jax.shard_map(local, mesh=mesh, **specs))
        x, status = solve(spread, b)
        assert residual(a, host(x), b) < 10 and host(status) == 0

        indefinite = a.copy()
        indefinite[n // 2, n // 2] = -1
        x, info = jaxmg.potrs(rows(indefinite, mesh), b, TILE, return_info=True)
        assert info == n // 2 + 1 and np.isnan(host(x)).all()


def by_cusolvermg(mesh, dtypes="float32,float64,complex64,complex128"):
    """NVIDIA's library, which one process calls for all, with tiles that divide the shards and not;
    a matrix that is not positive definite; a rank that fails, and the next call."""
    how = {"engine": "cusolvermg", "return_info": True}
    tile = 16
    for dtype in map(np.dtype, dtypes.split(",")):
        for n in (4 * tile * jax.device_count(), 59 * jax.device_count()):
            a, b = spd(n, dtype), random_matrix(n, 3, dtype)
            spread = rows(a, mesh)
            for donate in (False, True):
                given = rows(a, mesh)
                x, logdet, info = jaxmg.potrs(
                    given, b, tile, return_logdet=True, donate=donate, **how
                )
                assert residual(a, host(x), b) < 10 and info == 0
                expected = np.linalg.slogdet(a.astype(np.result_type(dtype, np.float64)))[1]
                np.testing.assert_allclose(logdet, expected, rtol=1e-4)
            inverse, info = jaxmg.potri(spread, tile, **how)
            assert identity_residual(a, host(inverse)) < 10 and info == 0
            w, v, info = jaxmg.syevd(spread, tile, mesh, ROWS, **how)
            w, v = np.asarray(w, np.float64), host(v)
            assert residual(a, v, v * w) < 10 and info == 0
            assert residual(v.conj().T, v, np.eye(n)) < 10
            alone, info = jaxmg.syevd(spread, tile, return_eigenvectors=False, **how)
            np.testing.assert_allclose(alone, w, atol=10 * n * np.finfo(dtype).eps)

        indefinite = a.copy()
        indefinite[n // 2, n // 2] = -1
        x, info = jaxmg.potrs(rows(indefinite, mesh), b, tile, **how)
        assert info == n // 2 + 1 and np.isnan(host(x)).all()
        inverse, info = jaxmg.potri(rows(indefinite, mesh), tile, **how)
        assert info == n // 2 + 1 and np.isnan(host(inverse)).all()

    last = jax.device_count() - 1
    for after in (5, 25):
        if jax.process_index() == jax.process_count() - 1:
            _library.inject_cuda_fault(last, "error", after)
        expect_failure(
            lambda: jaxmg.potri(spread, tile, **how),
            f"rank {last} of {last + 1} failed",
            "cudaErrorUnknown",
        )
        inverse, info = jaxmg.potri(spread, tile, **how)
        assert identity_residual(a, host(inverse)) < 10 and info == 0


def refused_by_cusolvermg(mesh, why):
    """What it needs is not there; the next call works."""
    n = 64 * jax.device_count()
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    spread = rows(a, mesh)
    for call in (
        lambda **how: jaxmg.potrs(spread, b, 16, **how),
        lambda **how: jaxmg.potri(spread, 16, **how),
        lambda **how: jaxmg.syevd(spread, 16, **how),
    ):
        expect_failure(lambda call=call: call(engine="cusolvermg"), why)
        assert residual(a, host(jaxmg.potrs(spread, b, 16)), b) < 10


def small_and_padded(mesh):
    """Sizes that go to one rank, that the devices do not divide, that are in padded storage; A on
    the host; donated; meshes of all devices in another order and of two axes."""
    for n in (1, 7, jax.device_count() + 1):
        a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
        x = jaxmg.potrs(a, b, mesh=mesh, in_specs=P("x", None))
        assert residual(a, host(x), b) < 10
    n, storage = 13, 4 * jax.device_count()
    n = min(n, storage)
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    padded = np.full((storage, storage), np.nan)
    padded[:n, :n] = a
    assert residual(a, host(jaxmg.potrs(rows(padded, mesh), b, 3, n=n)), b) < 10
    n = 6 * jax.device_count()
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    given = rows(a, mesh)
    assert residual(a, host(jaxmg.potrs(given, b, TILE, donate=True)), b) < 10
    assert given.is_deleted()
    backwards = jax.sharding.Mesh(np.array(jax.devices()[::-1]), ("x",))
    assert residual(a, host(jaxmg.potrs(rows(a, backwards), b, TILE)), b) < 10
    if jax.device_count() % 2 == 0:
        two_axes = jax.make_mesh((2, jax.device_count() // 2), ("team", "x"))
        x = jaxmg.potrs(rows(a, two_axes), b, TILE)
        assert residual(a, host(x), b) < 10
        with_groups = jaxmg.potrs(rows(a, two_axes, P(("team", "x"), None)), b, TILE)
        assert residual(a, host(with_groups), b) < 10


def local_mesh(mesh):
    """A mesh of this process's devices alone is a call of this process alone."""
    own = jax.sharding.Mesh(np.array(jax.local_devices()), ("x",))
    n = 12 * len(jax.local_devices())
    for turn in range(3 + 4 * jax.process_index()):
        a = spd(n, np.float64, seed=turn + 10 * jax.process_index())
        b = random_matrix(n, 2, np.float64)
        assert residual(a, host(jaxmg.potrs(rows(a, own), b, TILE)), b) < 10
    check_all_forms(a, own)


def local_meshes_at_once(mesh):
    """Each process calls on its own devices, which a program does not know when it is traced; each
    call of the others may be taken for its own."""
    own = jax.sharding.Mesh(np.array(jax.local_devices()), ("x",))
    a = spd(12 * len(jax.local_devices()), np.float64, seed=jax.process_index())
    b = random_matrix(len(a), 2, np.float64)
    shape = own.abstract_mesh

    @jax.jit
    def independent(a, b):
        return [jaxmg.potrs(a, (i + 1) * b, TILE, shape, ROWS) for i in range(3)]

    spread, b_there = rows(a, own), rows(b, own, P())
    for turn in range(20 + 3 * jax.process_index()):
        for i, x in enumerate(independent(spread, b_there)):
            assert residual(a, host(x), (i + 1) * b) < 10, (turn, i)


def sub_mesh(mesh):
    """A device of each process: no more than a process has, and yet not one process's."""
    first = {device.process_index: device for device in reversed(jax.devices())}
    some = jax.sharding.Mesh(np.array([first[process] for process in sorted(first)]), ("x",))
    check_all_forms(spd(12 * len(first), np.float64), some)


def check_all_forms(a, mesh):
    """Where the mesh is known when the call is traced, and where it is not."""
    b = random_matrix(len(a), 2, np.float64)
    spread, b_there = rows(a, mesh), rows(b, mesh, P())
    local = jax.shard_map(
        lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, TILE)[0],
        mesh=mesh,
        in_specs=(ROWS, P()),
        out_specs=P(),
        check_vma=False,
    )
    shape = mesh.abstract_mesh
    for solve in (
        lambda a, b: jaxmg.potrs(a, b, TILE),
        jax.jit(lambda a, b: jaxmg.potrs(a, b, TILE, mesh, ROWS)),
        jax.jit(lambda a, b: jaxmg.potrs(a, b, TILE, shape, ROWS)),
        jax.jit(local),
    ):
        assert residual(a, host(solve(spread, b_there)), b) < 10
    gradient = jax.grad(lambda b: jnp.sum(jaxmg.potrs(spread, b, TILE)))(b_there)
    assert residual(a, host(gradient), np.ones_like(b)) < 10


def transformed(mesh):
    """Loops, independent calls of one jitted function, other collectives between, derivatives."""
    n = 9 * jax.device_count()
    b = random_matrix(n, 1, np.float64)
    matrices = [spd(n, np.float64, seed) for seed in range(6)]
    spread = [rows(a, mesh) for a in matrices]
    one = jax.jit(lambda a, b: jaxmg.potrs(a, b, TILE, mesh, P("x", None)))

    @jax.jit
    def independent(spread, b):
        return [one(a, b) for a in spread]

    @jax.jit
    def loop(a, b):
        def step(k, x):
            return one(a, x) + jnp.sum(a) * 0

        return lax.fori_loop(0, 10, step, b)

    for _ in range(5):
        for a, x in zip(matrices, independent(spread, b), strict=True):
            assert residual(a, host(x), b) < 10
    expected = b
    for _ in range(10):
        expected = np.linalg.solve(matrices[0], expected)
    np.testing.assert_allclose(host(loop(spread[0], b)), expected, rtol=1e-4)

    # Many calls under way at once.
    xs = [jaxmg.potrs(a, b, TILE) for _ in range(10) for a in spread]
    for k, x in enumerate(xs):
        assert residual(matrices[k % 6], host(x), b) < 10

    f = jax.jit(jax.value_and_grad(lambda a: jaxmg.potrs(a, b, TILE).sum()))
    value, gradient = f(spread[1])
    x = np.linalg.solve(matrices[1], b)
    y = np.linalg.solve(matrices[1], np.ones_like(b))
    np.testing.assert_allclose(value, x.sum(), rtol=1e-6)
    np.testing.assert_allclose(host(gradient), -(y @ x.T + x @ y.T) / 2, rtol=1e-4, atol=1e-6)


def exported(mesh, path):
    """A program that another process has exported, with as many devices."""
    program = jax.export.deserialize(bytearray(Path(path).read_bytes()))
    n = program.in_avals[0].shape[0]
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    for _ in range(3):
        x = jax.jit(program.call)(rows(a, mesh), rows(b, mesh, P()))
        assert residual(a, host(x), b) < 10


def cached(mesh, folder, expect_hit):
    """A program that XLA has compiled in another job."""
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None
    )
    n = 8 * jax.device_count()
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    x = jax.jit(lambda a, b: jaxmg.potrs(a, b, TILE, mesh, P("x", None)))(rows(a, mesh), b)
    assert residual(a, host(x), b) < 10
    if jax.process_index() == 0:
        assert bool(hits) == (expect_hit == "True"), hits


def device_memory():
    """MiB in use on all GPUs of the host."""
    if not ON_GPUS:
        return 0
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return sum(map(int, subprocess.check_output(query, text=True, timeout=60).split()))


def leak(mesh, calls):
    """Buffers change from call to call; descriptors and memory do not grow."""
    n = 6 * jax.device_count()
    b = random_matrix(n, 2, np.float64)
    matrices = [rows(spd(n, np.float64, seed), mesh) for seed in range(4)]

    def some(count):
        for k in range(count):
            x = jaxmg.potrs(matrices[k % 4] + k, b, TILE)
        jax.block_until_ready(x)

    def in_use():
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        return len(os.listdir("/proc/self/fd")), resident, device_memory()

    some(100)
    descriptors, memory, on_device = in_use()
    some(int(calls))
    descriptors_then, memory_then, on_device_then = in_use()
    print("descriptors", descriptors, descriptors_then, "grown by", memory_then - memory)
    print("MiB on GPUs", on_device, on_device_then)
    assert descriptors_then <= descriptors
    assert memory_then - memory < 50e6 + 200 * int(calls)
    assert on_device_then <= on_device


def expect_failure(call, *parts):
    """`call` raises, with these in its message. Where a process has one device, JAX runs small
    programs on the calling thread, and then makes a ValueError of what fails."""
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError)) as raised:
        jax.block_until_ready(call())
    missing = [part for part in parts if part not in str(raised.value)]
    assert not missing, (missing, str(raised.value))


def failures(mesh):
    """A rank that fails, one that comes late, another program: told to all, and the next works."""
    n = 8 * jax.device_count()
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64)
    spread = rows(a, mesh)
    me = jax.process_index()

    def solve():
        return jaxmg.potrs(spread, b, TILE)

    def works():
        assert residual(a, host(solve()), b) < 10

    works()
    last = jax.device_count() - 1
    cause = "injected fault"
    if ON_GPUS:
        cause = "cudaErrorUnknown"
    if me == jax.process_count() - 1:
        if ON_GPUS:
            _library.inject_cuda_fault(last, "error", 5)
        else:
            _library.library().jaxmg_inject_fault(last)
    expect_failure(solve, f"rank {last} of {last + 1} failed", cause)
    works()

    # The last process comes too late: it fails as well, and then joins the others.
    if me == jax.process_count() - 1:
        time.sleep(float(os.environ["JAXMG_TIMEOUT"]) + 2)
    expect_failure(solve, "did not come", f"{last}")
    works()

    # Another program: each is told of the other's, and is late for that call itself. Both are
    # compiled by then, which on GPUs processes do together.
    calls = {"potri": lambda: jaxmg.potri(spread, TILE), "potrs": solve}
    jax.block_until_ready(calls["potri"]())
    mine, theirs = ("potri", "potrs") if me == 0 else ("potrs", "potri")
    expect_failure(calls[mine], "did not come", f"in {theirs} ")
    time.sleep(float(os.environ["JAXMG_TIMEOUT"]))  # the others have given up by then, too
    expect_failure(calls[theirs], "did not come", f"{theirs} ")
    works()


def refused_without_nccl(mesh):
    """GPUs that share no memory, and may use nothing else."""
    n = 8 * jax.device_count()
    spread = rows(spd(n, np.float64), mesh)
    expect_failure(lambda: jaxmg.potri(spread, TILE), "unset JAXMG_TEAM to use NCCL there")


def killed(mesh):
    """The last process is killed in the middle of a call."""
    n = 512 * jax.device_count()
    generator = np.random.default_rng(1)
    block = generator.standard_normal((n, n))
    a = rows(block + block.T + 4 * n * np.eye(n), mesh)
    small = rows(spd(8 * jax.device_count(), np.float64), mesh)
    jax.block_until_ready(jaxmg.potri(small, TILE))
    invert = jax.jit(lambda a: jaxmg.potri(a, 16, mesh, P("x", None)))
    compiled = invert.lower(a).compile()
    last = jax.device_count() - 1
    if jax.process_index() == jax.process_count() - 1:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
        jax.block_until_ready(compiled(a))
        raise AssertionError("not killed in time")
    begin = time.monotonic()
    first_of_last = last + 1 - len(jax.local_devices())
    expect_failure(lambda: compiled(a), f"rank {first_of_last} of {last + 1}", "has ended")
    assert time.monotonic() - begin < 15
    expect_failure(lambda: jaxmg.potri(small, TILE), "has ended")
    assert time.monotonic() - begin < 20


def killed_while_ranks_wait(mesh, fault):
    """The last process is killed on its way to a call ("late"), or in it, when it has enqueued
    nothing ("stall"). On GPUs ranks wait for each other on the host."""
    n = 512 * jax.device_count()
    a, b = spd(n, np.float64), np.ones((n, 1))
    spread = rows(a, mesh)
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, 256, mesh, ROWS))
    assert residual(a, host(solve(spread, b)), b) < 10
    last = jax.device_count() - 1
    if jax.process_index() == jax.process_count() - 1:
        _library.inject_cuda_fault(last, fault, 60_000)
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
        jax.block_until_ready(solve(spread, b))
        raise AssertionError("not killed in time")
    begin = time.monotonic()
    expect_failure(lambda: solve(spread, b), f"of {last + 1}", "has ended")
    assert time.monotonic() - begin < 15
    expect_failure(lambda: solve(spread, b), "has ended")


def killed_after_return(mesh):
    """The last process is killed when a call has returned, its work being under way: the others'
    results are NaN, and stderr says why."""
    n = 512 * jax.device_count()
    a, b = spd(n, np.float64), np.ones((n, 1))
    spread, right = rows(a, mesh), rows(b, mesh, P())
    solve = jax.jit(lambda a, b: jaxmg.potrs(a, b, 256, mesh, ROWS))
    assert residual(a, host(solve(spread, right)), b) < 10
    if jax.process_index() == jax.process_count() - 1:
        _library.set_cuda_chaos(1, 1_000_000)  # half a second an operation
        threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
        jax.block_until_ready(solve(spread, right))
        raise AssertionError("not killed in time")
    begin = time.monotonic()
    x = solve(spread, right).addressable_shards[0].data
    print("returned after", time.monotonic() - begin)
    assert np.isnan(np.asarray(x)).all()
    assert time.monotonic() - begin < 20


def check_reach(processes, hosts):
    """Processes of one host share memory, which has this name for the system; others share none."""
    shares = "memfd:jaxmg" in Path("/proc/self/maps").read_text()
    assert ON_GPUS or shares == (hosts < processes), (hosts, processes)


def own_gpus(index, devices, gpus):
    """Those of process `index`: with too few for all, processes share them."""
    return [(index * devices + i) % gpus for i in range(devices)]


def main():
    case, index, processes, devices, hosts, gpus, port, *arguments = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    own = own_gpus(int(index), int(devices), int(gpus)) if ON_GPUS else None
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(index), own)
    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    for name in case.split(","):
        begin = time.monotonic()
        globals()[name](mesh, *arguments)
        print(name, "took", time.monotonic() - begin, flush=True)
    if not case.startswith("killed"):
        check_reach(int(processes), int(hosts))
        # What is shared with a process goes when that process ends: not before all have looked.
        multihost_utils.sync_global_devices("checked")
    # Not to wait for processes that have been killed.
    os._exit(0)


if __name__ == "__main__":
    import faulthandler
    import traceback

    patience = 450 if ON_GPUS else 200  # programs for GPUs take long to compile
    faulthandler.dump_traceback_later(1600 if sys.argv[1] == "leak" else patience, exit=True)
    import jaxmg
    from jaxmg import _library
    from jaxmg._cyclic import cyclic_order

    try:
        main()
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
