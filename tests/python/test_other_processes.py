"""Programs that leave the process: exported ones, and compiled ones in a cache. On GPUs XLA does
not instantiate the handlers of the latter."""

import jax
import numpy as np
import pytest
from devices import DEVICES as ALL
from devices import PLATFORM
from jax import export
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import random_matrix, residual, spd
from processes import run_python

import jaxmg

N, DEVICES = 24, min(4, ALL)
PLATFORMS = {"JAX_PLATFORMS": {"cpu": "cpu", "cuda": "cuda,cpu"}[PLATFORM]}
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)

#: All routines, one of them twice: each call has to find its own partners in a process that traced
#: none of them.
PROGRAM = """
def all_routines(a, b):
    x = jaxmg.potrs(a, b, 4, mesh, P("x", None))
    y = jaxmg.potrs(2 * a, b, 4, mesh, P("x", None))
    z = jaxmg.cho_solve(jaxmg.cho_factor(a, 4, mesh, P("x", None)), b)
    inverse = jaxmg.potri(a, 4, mesh, P("x", None))
    w, v = jaxmg.syevd(a, 4, mesh, P("x", None))
    return {"x": x, "y": y, "z": z, "inverse": inverse, "w": w, "v": v}
"""
TARGETS = ("cho_factor", "cho_solve", "potri", "potrs", "syevd")

PREAMBLE = """
import jax, jaxmg, numpy as np
from jax import export
from jax.sharding import NamedSharding, PartitionSpec as P
jax.config.update("jax_num_cpu_devices", DEVICES)
jax.config.update("jax_enable_x64", True)
mesh = jax.make_mesh((DEVICES,), ("x",), devices=jax.devices()[:DEVICES])
given = np.load(FILE)
a = jax.device_put(given["a"], NamedSharding(mesh, P("x", None)))
b = jax.device_put(given["b"], NamedSharding(mesh, P()))
"""


@pytest.fixture
def preamble(tmp_path):
    np.savez(tmp_path / "given.npz", a=A, b=B)
    return PREAMBLE.replace("FILE", repr(str(tmp_path / "given.npz"))).replace(
        "DEVICES", str(DEVICES)
    )


def check(path):
    found = np.load(path)
    assert residual(A, found["x"], B) < 10
    assert residual(2 * A, found["y"], B) < 10
    assert residual(A, found["z"], B) < 10
    assert residual(A, found["inverse"], np.eye(N)) < 10
    w, v = found["w"], found["v"]
    assert np.all(np.diff(w) >= 0)
    for error in (A @ v - v * w, A @ (v.T @ v - np.eye(N))):
        assert np.linalg.norm(error, 1) < 10 * N * np.finfo(A.dtype).eps * np.linalg.norm(A, 1)


def test_exported_program_runs_in_another_process(tmp_path, preamble):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:DEVICES]), ("x",))
    rows, everywhere = NamedSharding(mesh, P("x", None)), NamedSharding(mesh, P())
    names = {"jaxmg": jaxmg, "mesh": mesh, "P": P}
    exec(PROGRAM, names)
    exported = export.export(
        jax.jit(names["all_routines"], in_shardings=(rows, everywhere)),
        disabled_checks=[
            export.DisabledSafetyCheck.custom_call(f"jaxmg_{target}") for target in TARGETS
        ],
    )(jax.ShapeDtypeStruct(A.shape, A.dtype), jax.ShapeDtypeStruct(B.shape, B.dtype))
    (tmp_path / "program").write_bytes(exported.serialize())
    program, results = str(tmp_path / "program"), str(tmp_path / "found.npz")
    run_python(
        preamble
        + f"""
exported = export.deserialize(bytearray(open({program!r}, "rb").read()))
np.savez({results!r}, **jax.jit(exported.call)(a, b))
""",
        **PLATFORMS,
    )
    check(results)


def test_compilation_cache_serves_another_process(tmp_path, preamble):
    results, cache = str(tmp_path / "found.npz"), str(tmp_path / "cache")
    code = (
        preamble
        + PROGRAM
        + f"""
hits = []
jax.monitoring.register_event_listener(
    lambda event, **rest: hits.append(event) if event.endswith("cache_hits") else None)
np.savez({results!r}, **jax.jit(all_routines)(a, b))
print(len(hits))
"""
    )
    settings = PLATFORMS | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    first = int(run_python(code, **settings))
    check(results)
    assert int(run_python(code, **settings)) > first
    check(results)
