"""Whose algorithms a call runs: the keyword, JAXMG_ENGINE, and what is said where an engine cannot
run. test_potrs.py, test_potri.py and test_syevd.py run with every engine of the platform."""

import types

import jax
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, cpu_only, device_mesh
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg
from jaxmg import _compat, _entry, _library

N = 8 * DEVICES
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)
SPEC = P("x", None)


def solved(w, v):
    """x with A x = B, by the eigenvectors of A."""
    return v @ ((v.conj().T @ B) / w[:, None])


GLOBAL = {
    "potrs": lambda mesh, **how: jaxmg.potrs(by_rows(A, mesh), B, 4, mesh, SPEC, **how),
    "potrs_jit_ctx": lambda mesh, **how: jaxmg.potrs_jit_ctx(
        by_rows(A, mesh), B, 4, mesh, SPEC, **how
    )[1],
    "potrs, under jit": lambda mesh, **how: jax.jit(
        lambda a, b: jaxmg.potrs(a, b, 4, mesh, SPEC, **how)
    )(by_rows(A, mesh), B),
    "potri": lambda mesh, **how: jaxmg.potri(by_rows(A, mesh), 4, mesh, SPEC, **how) @ B,
    "syevd": lambda mesh, **how: solved(*jaxmg.syevd(by_rows(A, mesh), 4, mesh, SPEC, **how)),
    "syevd_jit_ctx": lambda mesh, **how: solved(
        *jaxmg.syevd_jit_ctx(by_rows(A, mesh), 4, mesh, SPEC, **how)[1:3]
    ),
    "eigh": lambda mesh, **how: solved(*jaxmg.eigh(by_rows(A, mesh), 4, mesh, SPEC, **how)),
}


def local_potrs(mesh, **how):
    def local(a, b):
        return jaxmg.potrs_shardmap_ctx(a, b, 4, **how)[0]

    solve = jax.shard_map(local, mesh=mesh, in_specs=(SPEC, P()), out_specs=P(), check_vma=False)
    return jax.jit(solve)(by_rows(A, mesh), everywhere(B, mesh))


def local_potri(mesh, **how):
    def local(a):
        return jaxmg.potri_shardmap_ctx(a, 4, **how)[0]

    invert = jax.shard_map(local, mesh=mesh, in_specs=SPEC, out_specs=SPEC, check_vma=False)
    return jax.jit(invert)(by_rows(A, mesh)) @ B


def local_syevd(mesh, **how):
    def local(a):
        return jaxmg.syevd_shardmap_ctx(a, 4, **how)[:2]

    specs = {"in_specs": SPEC, "out_specs": (P(), P(None, "x")), "check_vma": False}
    return solved(*jax.jit(jax.shard_map(local, mesh=mesh, **specs))(by_rows(A, mesh)))


LOCAL = {
    "potrs, locally": local_potrs,
    "potri, locally": local_potri,
    "syevd, locally": local_syevd,
}
ALL = GLOBAL | LOCAL

every_call = pytest.mark.parametrize("call", ALL.values(), ids=ALL)
every_local_call = pytest.mark.parametrize("call", LOCAL.values(), ids=LOCAL)
every_global_call = pytest.mark.parametrize("call", GLOBAL.values(), ids=GLOBAL)


@every_call
def test_the_engine_that_is_asked_for(call, engine, mesh, monkeypatch):
    assert residual(A, call(mesh, engine=engine), B) < 10
    assert residual(A, call(mesh), B) < 10
    monkeypatch.setenv("JAXMG_ENGINE", "no such engine")
    assert residual(A, call(mesh, engine=engine), B) < 10, "the argument goes first"
    monkeypatch.setenv("JAXMG_ENGINE", "")
    assert residual(A, call(mesh), B) < 10, "empty is as good as not set"


@every_call
def test_unknown_engines(call, mesh, monkeypatch):
    with pytest.raises(
        ValueError, match=r"engine: expected 'jaxmg' or 'cusolvermg', got 'magma'; leave it out"
    ):
        call(mesh, engine="magma")
    monkeypatch.setenv("JAXMG_ENGINE", "magma")
    with pytest.raises(ValueError, match=r"JAXMG_ENGINE: expected 'jaxmg' or .*, got 'magma'"):
        call(mesh)


@cpu_only
@every_global_call
def test_cusolvermg_on_cpu_devices(call, mesh, monkeypatch):
    message = r"expected 'jaxmg' on CPU devices, got 'cusolvermg', which runs on NVIDIA GPUs only"
    with pytest.raises(ValueError, match="engine: " + message):
        call(mesh, engine="cusolvermg")
    monkeypatch.setenv("JAXMG_ENGINE", "cusolvermg")
    with pytest.raises(ValueError, match="JAXMG_ENGINE: " + message):
        call(mesh)
    assert residual(A, call(mesh, engine="jaxmg"), B) < 10


@cpu_only
@every_local_call
def test_cusolvermg_where_there_is_no_cuda_engine(call, mesh):
    """Inside a shard_map the devices are not known."""
    with pytest.raises(
        RuntimeError, match=r"engine: 'cusolvermg' cannot be used: .*CUDA engine.*JAX_PLATFORMS=cpu"
    ):
        call(mesh, engine="cusolvermg")


@cpu_only
def test_cusolvermg_on_an_abstract_mesh(mesh):
    abstract = mesh.abstract_mesh
    with pytest.raises(RuntimeError, match="potrs: engine: 'cusolvermg' cannot be used"):
        jax.jit(lambda a, b: jaxmg.potrs(a, b, 4, abstract, SPEC, engine="cusolvermg"))(
            by_rows(A, mesh), everywhere(B, mesh)
        )


@cpu_only
def test_cusolvermg_on_devices_of_several_processes(mesh, monkeypatch):
    """Whether they are on one host the call finds out."""
    monkeypatch.setattr(_compat, "process_count", lambda: 2)
    monkeypatch.setattr(_entry, "platforms_of", lambda mesh: ["cuda"])
    monkeypatch.setattr(_library, "cusolvermg_problem", lambda: None)
    monkeypatch.setattr(jax, "local_device_count", lambda: DEVICES - 1)
    for known in (mesh, mesh.abstract_mesh, None):
        assert _entry.find_engine("potrs", "cusolvermg", known) == "cusolvermg"


class FakeCuda:
    """A CUDA engine whose cuSOLVERMg cannot be loaded, or can."""

    def __init__(self, reason):
        self.library = types.SimpleNamespace(jaxmg_load_cusolvermg=lambda: reason)


@cpu_only
def test_a_missing_library(mesh, monkeypatch):
    fake = FakeCuda(b"cuSOLVERMg cannot be used: libcusolverMg.so.12: not found")
    monkeypatch.setattr(_library, "_cuda", lambda: fake)
    with pytest.raises(RuntimeError, match=r"'cusolvermg' cannot be used: cuSOLVERMg .*not found"):
        local_potrs(mesh, engine="cusolvermg")


@cpu_only
@every_local_call
def test_a_branch_for_cpus_that_is_taken(call, mesh, monkeypatch):
    """With GPUs and CPUs in one process only the running call knows."""
    with monkeypatch.context() as patched:
        patched.setattr(_library, "cusolvermg_problem", lambda: None)
        with pytest.raises(
            jax.errors.JaxRuntimeError, match="engine: cusolvermg is NVIDIA's library for its GPUs"
        ):
            jax.block_until_ready(call(mesh, engine="cusolvermg"))
    assert residual(A, call(mesh), B) < 10


def test_info_tells(monkeypatch):
    there = _library.engines()["cusolvermg"]
    assert there.startswith("no: it runs in jaxmg's CUDA engine") == (PLATFORM == "cpu")
    monkeypatch.setattr(_library, "cusolvermg_problem", lambda: "no such file")
    assert _library.engines()["cusolvermg"] == "no: no such file"
    monkeypatch.setattr(_library, "cusolvermg_problem", lambda: None)
    assert _library.engines()["cusolvermg"] == "yes"


# ---- Sizes, which need no GPU --------------------------------------------------------------------


def workspaces(n, ranks, tile, order=None, dtype=np.float64):
    """In elements: of potrs with 3 right-hand sides, not in place and in place, of potri, and of
    syevd, not in place and in place."""
    sizes = _library.Sizes("cuda", np.dtype(dtype), n, order or n, ranks, tile)
    found = (
        _library.potrs_workspace(sizes, 3, False, "cusolvermg"),
        _library.potrs_workspace(sizes, 3, True, "cusolvermg"),
        _library.potri_workspace(sizes, False, "cusolvermg"),
        _library.syevd_workspace(sizes, True, False, "cusolvermg"),
        _library.syevd_workspace(sizes, True, True, "cusolvermg"),
    )
    return tuple(size / np.dtype(dtype).itemsize for size in found)


def test_workspace(dtype):
    """As documented: the matrix, unless its storage serves; the right-hand sides; two tiles."""
    n, T = 4096, 256
    slack = 2000
    for ranks in (1, 2, 4):
        copied, in_place, inverse, eigen, eigen_in_place = workspaces(n, ranks, T, dtype=dtype)
        assert eigen == pytest.approx(n * n / ranks + 2 * n * T, abs=slack)
        assert eigen_in_place == pytest.approx(2 * n * T, abs=slack)
        assert copied == pytest.approx(n * n / ranks + 3 * n, abs=slack)
        assert in_place == pytest.approx(3 * n + 2 * n * T, abs=slack)
        assert inverse == pytest.approx(2 * n * T, abs=slack)
    # 4096 columns in tiles of 300: 14 tiles, 7 for each of two ranks.
    copied, in_place, *others = workspaces(n, 2, 300, dtype=dtype)
    assert copied == in_place == pytest.approx(n * 7 * 300 + 3 * n, abs=slack)
    assert others == pytest.approx(3 * [n * 7 * 300 + 2 * n * 300], abs=slack)
    # Padded storage of a matrix of order 4000: 16 tiles.
    copied, in_place, *_ = workspaces(n, 2, T, order=4000, dtype=dtype)
    assert copied == in_place == pytest.approx(4000 * 8 * T + 3 * 4000, abs=slack)


def test_tiles_that_make_wrong_inverses_are_refused():
    with pytest.raises(
        ValueError, match="potri: T_A: cuSOLVERMg's inverses are wrong with tiles of 1024 and more"
    ):
        workspaces(8192, 2, 1024)


def test_tiles_that_the_eigensolver_does_not_take():
    sizes = _library.Sizes("cuda", np.dtype(np.float64), 8192, 8192, 2, 2048)
    with pytest.raises(
        ValueError, match="T_A: cuSOLVERMg's eigensolver takes tiles up to 1024, got 2048; leave"
    ):
        _library.syevd_workspace(sizes, True, False, "cusolvermg")


@pytest.mark.skipif(DEVICES < 2, reason="one device")
def test_two_meshes(engine):
    """Teams of some of the devices, in another order."""
    for devices in ((1, 0), (0, 1), (1,)):
        mesh = device_mesh((len(devices),), devices=devices)
        assert residual(A, GLOBAL["potrs"](mesh), B) < 10
