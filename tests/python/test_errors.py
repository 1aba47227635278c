"""Every mistake gets a message that says what was expected, what came, and what to write; and a
failing rank gives one error in bounded time, after which the next call works."""

import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, device_mesh, inject_fault
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg
from jaxmg import _compat, _library, _loading

N, T = 64, 8
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)
SPEC = P("x", None)

WRONG = {
    "a is a vector": (
        ValueError,
        dict(a=A[0]),
        r"potrs: a: expected a rank-2 matrix A, got float64\[64\]",
    ),
    "a is a batch": (
        ValueError,
        dict(a=A[None]),
        r"a: expected a rank-2 matrix A.*solved one by one",
    ),
    "a is not square": (
        ValueError,
        dict(a=A[:32]),
        r"a: expected A to be square, got float64\[32,64\]",
    ),
    "a is a list": (
        TypeError,
        dict(a=A.tolist()),
        r"a: expected a JAX or NumPy array, got list; pass jnp",
    ),
    "a is an integer matrix": (
        TypeError,
        dict(a=A.astype(np.int32)),
        r"a: supports float32, float64, complex64 and complex128, got int32; convert it first, a\."
        r"astype",
    ),
    "a is bfloat16": (
        TypeError,
        dict(a=jnp.asarray(A, jnp.bfloat16)),
        r"a: supports .*got bfloat16",
    ),
    "a is float16": (TypeError, dict(a=A.astype(np.float16)), r"a: supports .*got float16"),
    "b has another dtype": (
        TypeError,
        dict(b=B.astype(np.float32)),
        r"b: expected matching A/B dtypes, got float32\[64,2\] for a = float64\[64,64\]"
        r".*b\.astype\(a\.dtype\)",
    ),
    "b is too short": (
        ValueError,
        dict(b=B[:60]),
        r"b: expected matching leading dimensions, 64 rows, got float64\[60,2\]",
    ),
    "b fits neither n nor A": (
        ValueError,
        dict(b=B[:59], n=60),
        r"b: expected matching leading dimensions, 60 or 64 rows, got float64\[59,2\]",
    ),
    "b is a cube": (
        ValueError,
        dict(b=B[None]),
        r"b: expected a rank-1 or rank-2 RHS, got .*reshape",
    ),
    "T_A is zero": (ValueError, dict(T_A=0), r"T_A must be positive, got 0; leave T_A out"),
    "T_A is negative": (ValueError, dict(T_A=-4), r"T_A must be positive, got -4"),
    "T_A is a float": (TypeError, dict(T_A=8.0), r"T_A: expected an integer or None, got float"),
    "T_A is traced": (
        TypeError,
        dict(T_A=jnp.float32(8)),
        r"T_A: expected an integer or None, got float32\[\].*under jit make it static",
    ),
    "b is a scalar": (
        ValueError,
        dict(b=B[0, 0]),
        r"b: expected a rank-1 or rank-2 RHS, got .*pass b\.reshape\(1\)",
    ),
    "engine is a list": (
        ValueError,
        dict(engine=["jaxmg"]),
        r"engine: expected 'jaxmg' or 'cusolvermg', got \['jaxmg'\]",
    ),
    "an axis twice": (
        ValueError,
        dict(in_specs=P("x", "x")),
        r"in_specs: expected each axis once, got .*; pass in_specs=P\(\"x\", None\)",
    ),
    "n is too large": (ValueError, dict(n=65), r"n: expected the true order .* 64 rows.*got 65"),
    "n is negative": (ValueError, dict(n=-1), r"n: expected the true order .*got -1"),
    "n is a float": (TypeError, dict(n=60.0), r"n: expected an integer, .*got float; under jit"),
    "mesh is a list": (
        TypeError,
        dict(mesh=[1]),
        r"mesh: expected a jax\.sharding\.Mesh or AbstractMesh, got list; pass mesh=jax\.make_mesh",
    ),
    "spec is a string": (
        TypeError,
        dict(in_specs="x"),
        r"in_specs must be a PartitionSpec or a 1-element list/tuple containing one, got 'x'; pass",
    ),
    "too many specs": (
        ValueError,
        dict(in_specs=(SPEC, SPEC, SPEC)),
        r"in_specs must be a single PartitionSpec or a 1-element list/tuple, got 3 specs",
    ),
    "spec of nothing": (
        ValueError,
        dict(in_specs=P(None, None)),
        r"in_specs: expected at least one matrix axis .*A must be sharded along the columns",
    ),
    "spec of rank three": (
        ValueError,
        dict(in_specs=P(None, "x", None)),
        r"a spec of rank 2 for A",
    ),
    "spec of another mesh": (
        ValueError,
        dict(in_specs=P("y", None)),
        r"in_specs: expected axes of the mesh \('x',\), got .*'y'.*; pass in_specs=P\(\"x\", "
        r"None\)",
    ),
    "two specs": (
        ValueError,
        dict(matrix_specs=SPEC),
        r"Specify only one of matrix_specs=\.\.\. or in_specs=\.\.\.; got both",
    ),
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "_"))
def test_wrong_arguments(case, jit, mesh):
    error, change, message = WRONG[case]
    arguments = dict(a=A, b=B, T_A=T, mesh=mesh, in_specs=SPEC) | change
    if not jit or "list" in case:
        with pytest.raises(error, match=message):
            jaxmg.potrs(**arguments)
        return
    a, b = arguments.pop("a"), arguments.pop("b")
    with pytest.raises(error, match=message):
        jax.jit(lambda a, b: jaxmg.potrs(a, b, **arguments))(a, b)


def test_no_mesh():
    with pytest.raises(
        ValueError, match=r"mesh: expected a mesh from mesh=.*write potrs\(a, .*make_mesh"
    ):
        jaxmg.potrs(A, B, T)


def test_messages_show_shardings():
    """In JAX's own notation, where axes are Explicit."""
    mesh = device_mesh(axis_type=AxisType.Explicit)
    with pytest.raises(ValueError, match=re.escape("float64[64,32@x]")):
        jaxmg.potrs(
            jax.device_put(A[:, :32], jax.sharding.NamedSharding(mesh, P(None, "x"))), B, T, mesh
        )


@pytest.mark.parametrize("routine", ["potrs", "potrs_jit_ctx"])
def test_global_call_inside_a_shard_map(mesh, routine):
    with pytest.raises(
        ValueError, match=rf"^{routine}: expected global arrays, .*call potrs_shardmap_ctx\(a, b"
    ):
        jax.shard_map(
            lambda a, b: getattr(jaxmg, routine)(a, b, T, mesh, SPEC),
            mesh=mesh,
            in_specs=(SPEC, P()),
            out_specs=P(),
            check_vma=False,
        )(A, B)


def test_local_ctx_errors():
    mesh = device_mesh((2, 4), ("p", "q"))

    def call(in_spec, **options):
        return jax.shard_map(
            lambda a, b: jaxmg.potrs_shardmap_ctx(a, b, T, **options)[0],
            mesh=mesh,
            in_specs=(in_spec, P()),
            out_specs=P(),
            check_vma=False,
        )(A, B)

    with pytest.raises(
        ValueError, match=r"axis_name: .*one of \('p', 'q'\), got None; pass axis_name='p'"
    ):
        call(P("p", None))
    with pytest.raises(ValueError, match=r"axis_name: .*got 'z'"):
        call(P("p", None), axis_name="z")
    with pytest.raises(
        ValueError, match=r"a: expected this device's rows .*N / 4 x N.*float64\[32,64\]"
    ):
        call(P("p", None), axis_name="q")
    with pytest.raises(ValueError, match=r"axis_name: expected a call inside a shard_map"):
        jaxmg.potrs_shardmap_ctx(A, B, T, axis_name="p")


def works(mesh):
    x = jaxmg.potrs(by_rows(A, mesh), everywhere(B, mesh), T, mesh, SPEC)
    return residual(A, x, B) < 10


@pytest.mark.parametrize("rank", sorted({0, DEVICES // 2, DEVICES - 1}))
def test_a_failing_rank(mesh, rank):
    """One error, which names the rank and the cause; then the next call works."""
    works(mesh)
    before = threading.active_count()
    cause = inject_fault(rank)
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=rf"rank {rank} of {DEVICES} failed: {cause}"
    ):
        jax.block_until_ready(jaxmg.potrs(by_rows(A, mesh), everywhere(B, mesh), T, mesh, SPEC))
    assert works(mesh)
    assert threading.active_count() <= before


def test_a_missing_rank(mesh, monkeypatch):
    """A rank takes another branch: the others are told within the time-out, and by number."""
    if DEVICES == 1:
        pytest.skip("needs 2 devices")
    missing = DEVICES // 2
    monkeypatch.setenv("JAXMG_TIMEOUT", "1.5")

    def local(a, b):
        return jax.lax.cond(
            jax.lax.axis_index("x") == missing,
            lambda: b,
            lambda: jaxmg.potrs_shardmap_ctx(a, b, T)[0],
        )

    call = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(SPEC, P()), out_specs=P(), check_vma=False)
    )
    begin = time.monotonic()
    with pytest.raises(
        jax.errors.JaxRuntimeError,
        match=rf"potrs of float64.*ranks {missing} of {DEVICES} did not come",
    ):
        jax.block_until_ready(call(by_rows(A, mesh), everywhere(B, mesh)))
    assert time.monotonic() - begin < 20
    assert works(mesh)


def run_python(code, **variables):
    """A new process, on CPU devices."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_import_is_quiet():
    """No thread, no device, no global switch, no output."""
    done = run_python(
        """
        import os
        os.environ["JAX_PLATFORMS"] = "nowhere"  # a backend could not start
        import jax, scipy.linalg, numpy
        def threads(): return len(os.listdir("/proc/self/task"))
        before = threads(), jax.config.jax_enable_x64, dict(os.environ)
        import jaxmg
        assert (threads(), jax.config.jax_enable_x64, dict(os.environ)) == before
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_float64_without_x64_is_what_jax_makes_of_it():
    done = run_python(
        """
        import jax
        jax.config.update("jax_num_cpu_devices", 4)
        import numpy as np, jaxmg
        from jax.sharding import PartitionSpec as P
        mesh = jax.make_mesh((4,), ("x",))
        x, logdet = jaxmg.potrs(np.eye(8, dtype=np.float32), np.ones(8, np.float32), mesh=mesh,
                                in_specs=P("x", None), return_logdet=True)
        assert x.dtype == logdet.dtype == np.float32
        assert not jax.config.jax_enable_x64
        """
    )
    assert done.returncode == 0, done.stderr


def test_missing_library_says_where_it_was_sought(tmp_path):
    done = run_python("import jaxmg", JAXMG_LIBRARY_DIR=str(tmp_path))
    assert done.returncode != 0
    assert f"compiled library was expected at {tmp_path}" in done.stderr
    assert "set JAXMG_LIBRARY_DIR" in done.stderr


FAKE_PLUGIN = """
import ctypes, sys, types
from importlib.machinery import ModuleSpec
real, without = ctypes.CDLL, {without!r}
def load(name, *rest, **options):  # NVIDIA's libraries are, or are not, there
    if "libcu" not in name:
        return real(name, *rest, **options)
    if without in name:
        raise OSError(name + ": cannot open shared object file")
ctypes.CDLL = load
for name in {plugins!r}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__spec__ = ModuleSpec(name, None)
import jax, jaxmg, numpy
mesh = jax.make_mesh((1,), ("x",))
assert jaxmg.potrs(numpy.eye(2), numpy.ones(2), mesh=mesh)[0] == 1  # CPUs work all the same
from jaxmg import _library
print(_library.engines()["cuda"])
try:
    _library.check_platform("potrs", "gpu")
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("not asked for", r"JAX_PLATFORMS=cpu leaves GPUs out"),
        (
            "no plugin",
            r'JAX has no CUDA plugin here; pip install "jaxmg\[cuda13\]" or "jaxmg\[cuda12',
        ),
        (
            "CUDA 12",
            r"CUDA 12, and this jaxmg was built without that engine: \S+libjaxmg_cu12-ffi0",
        ),
        (
            "not built",
            r"CUDA 13, and this jaxmg was built .*libjaxmg_cu13-\S+ is not there; install",
        ),
        (
            "broken",
            r"libjaxmg_cu13-\S+ could not be loaded: .* needs cuBLAS and cuSOLVER of CUDA 13",
        ),
        (
            "without cuSOLVER",
            r"could not be loaded: \S*libcusolver.so.12: cannot open .*; it needs .*\[cuda13\]",
        ),
        (
            "of another version",
            r"libjaxmg_cu13-\S+ could not be loaded: .*undefined symbol: jaxmg_",
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if "\\" not in value else "",
)
def test_where_there_is_no_cuda_engine(case, reason, tmp_path):
    """Import and CPUs work; what is missing is said by `info` and by a call on GPUs."""
    cpu = _loading.library_path("cpu")
    (tmp_path / cpu.name).symlink_to(cpu)
    engine = tmp_path / cpu.name.replace("cpu", "cu13")
    if case == "broken":
        engine.write_text("not a library")
    elif case != "not built":
        engine.symlink_to(cpu)
    plugins = {"no plugin": [], "CUDA 12": ["jax_cuda12_plugin"]}.get(case, ["jax_cuda13_plugin"])
    if _loading.cuda_plugins() and case in ("no plugin", "CUDA 12"):
        pytest.skip("a plugin is installed here")
    # JAX itself starts CPU devices alone; what jaxmg looks at is set behind its back.
    without = "libcusolver" if case == "without cuSOLVER" else "nothing"
    code = FAKE_PLUGIN.format(plugins=plugins, without=without)
    if case != "not asked for":
        code = code.replace(
            "import jax, jaxmg", "import jax, os; os.environ['JAX_PLATFORMS'] = ''; import jaxmg"
        )
    done = run_python(code, JAXMG_LIBRARY_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told, error = done.stdout.splitlines()
    assert re.search("no: .*" + reason, told)
    assert re.search("potrs: jaxmg's CUDA engine cannot be used: .*" + reason, error)


@pytest.mark.parametrize("plugins", [(), (12,), (13,), (12, 13)])
def test_cuda_majors_that_jax_has_plugins_for(plugins, monkeypatch):
    """13 before 12, which is JAX's own order."""
    installed = {f"jax_cuda{major}_plugin" for major in plugins}
    monkeypatch.setattr(
        _loading.importlib.util, "find_spec", lambda name: name in installed or None
    )
    assert _loading.cuda_plugins() == tuple(sorted(plugins, reverse=True))


@pytest.mark.parametrize(("running", "refused"), [(13, False), (None, False), (12, True)])
def test_engine_for_another_cuda_than_jax_runs(running, refused, monkeypatch):
    monkeypatch.setattr(_library, "_cuda", lambda: _library._CudaEngine(None, 13))
    monkeypatch.setattr(_compat, "running_cuda_major", lambda: running)
    if not refused:
        return _library.check_platform("potrs", "gpu")
    with pytest.raises(
        RuntimeError, match=r"potrs: JAX runs CUDA 12, .*pip uninstall jax-cuda13-pl"
    ):
        _library.check_platform("potrs", "gpu")


@pytest.mark.parametrize(
    ("version", "major"),
    [("PJRT C API\ncuda 12080", 12), ("cuda 13000", 13), ("<unknown>", None), ("rocm 60300", None)],
)
def test_cuda_major_that_jax_says_to_run(version, major, monkeypatch):
    backend = SimpleNamespace(platform_version=version)
    monkeypatch.setattr("jax.extend.backend.get_backend", lambda platform: backend)
    assert _compat.running_cuda_major() == major


def test_where_nvidia_libraries_are_found(tmp_path, monkeypatch):
    """In a wheel of NVIDIA's, as JAX looks for them, else wherever the system has them."""
    loaded = []
    monkeypatch.setattr(_loading.ctypes, "CDLL", loaded.append)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # and not what is installed here
    for folder, name in [("cublas", "libcublas.so.12"), ("cu13", "libcusolver.so.12")]:
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        (tmp_path / "nvidia" / folder / "lib" / name).touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "nvidia"]:
        monkeypatch.delitem(sys.modules, name)
    _loading.load_nvidia_libraries(12)
    cublas = str(tmp_path / "nvidia" / "cublas" / "lib" / "libcublas.so.12")
    assert loaded == ["libcublasLt.so.12", cublas, "libcusolver.so.11"]
    loaded.clear()
    _loading.load_nvidia_libraries(13)
    cusolver = str(tmp_path / "nvidia" / "cu13" / "lib" / "libcusolver.so.12")
    assert loaded == ["libcublasLt.so.13", "libcublas.so.13", cusolver]


def test_devices_without_an_engine(mesh, monkeypatch):
    """The call looks at the platform of its mesh's devices."""
    asked = []
    monkeypatch.setattr(_library, "check_platform", lambda *what: asked.append(what))
    assert works(mesh)
    assert asked == [("potrs", mesh.devices.flat[0].platform)]
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match=r"cyclic_1d: .*got platform 'tpu'; jaxmg has no engine"):
        _library.check_platform("cyclic_1d", "tpu")
