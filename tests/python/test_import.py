"""What `import jaxmg` does to a process, and what it does not."""

import importlib.util
import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
from devices import cpu_only, device_mesh
from jax.sharding import PartitionSpec as P
from processes import run_python

from jaxmg import UntestedJaxWarning, _compat, _loading

pytestmark = cpu_only

WATCHED = """
    import os, signal, jax, jax.numpy, numpy

    def state():
        return {
            "threads": len(os.listdir("/proc/self/task")),
            "jax's settings": dict(jax.config.values),
            "numpy's errors": numpy.geterr(),
            "environment": dict(os.environ),
            "signals": [signal.getsignal(s) for s in signal.valid_signals()],
        }

    before = state()
    import jaxmg
    after = state()
    print([name for name in before if before[name] != after[name]])
    jax.config.update("jax_num_cpu_devices", 3)  # refused once there are devices
    print(jax.device_count())
"""


def test_import_starts_and_changes_nothing():
    """OpenBLAS, of NumPy and of SciPy, starts threads of its own unless it is told not to."""
    changed, devices = run_python(WATCHED, OPENBLAS_NUM_THREADS="1").splitlines()
    assert changed == "[]"
    assert devices == "3"


def test_a_thread_or_a_setting_would_be_seen():
    code = WATCHED.replace(
        "import jaxmg",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    jax.config.update('jax_enable_x64', not jax.config.jax_enable_x64)",
    )
    changed, _ = run_python(code, OPENBLAS_NUM_THREADS="1").splitlines()
    assert changed == str(["threads", "jax's settings"])


def test_import_loads_nothing_that_is_not_needed():
    heavy = ["jaxmg.bench", "lineax", "matplotlib", "pytest", "sklearn"]
    code = f"import sys, jaxmg; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code) == "[]\n"


COST = """
    import time, jax, jax.numpy
    start = time.process_time()
    import jaxmg
    print(time.process_time() - start)
"""


def test_import_is_quick():
    """In seconds of the processor beyond JAX's own: other programs may run at the same time."""
    assert min(float(run_python(COST, OPENBLAS_NUM_THREADS="1")) for _ in range(3)) < 0.3


def test_no_warning_for_jax_that_was_tested():
    oldest, newest = "0.6.2", _compat.NEWEST_TESTED_JAX
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for version in (oldest, newest, newest + ".1", newest + ".dev20261123"):
            _compat.warn_if_untested(version)


NEWER = """
    import warnings
    warnings.simplefilter("always")
    {first}
    import jax
    jax.__version__ = "999.1.0"
    import jaxmg
    import importlib
    import jaxmg
    print("works")
"""


def test_one_warning_for_newer_jax_which_can_be_silenced():
    with pytest.warns(UntestedJaxWarning, match=r"jax 999\.1 is newer than") as caught:
        _compat.warn_if_untested("999.1")
    assert len(caught) == 1
    shown = "import sys; warnings.showwarning = lambda *what: print(what[1].__name__)"
    assert run_python(NEWER.format(first=shown)) == "UntestedJaxWarning\nworks\n"
    silenced = (
        "warnings.filterwarnings('ignore', message='jax .* is newer', category=UserWarning);"
        + shown
    )
    assert run_python(NEWER.format(first=silenced)) == "works\n"


@pytest.fixture
def compat_of_a_jax_to_come(monkeypatch):
    """`_compat` where JAX's private modules have lost what it takes from them."""
    of_jobs, of_meshes = type(_compat._job).__module__, _compat.get_abstract_mesh.__module__
    monkeypatch.setitem(sys.modules, of_jobs, ModuleType("empty"))
    spec = importlib.util.spec_from_file_location("compat_of_a_jax_to_come", _compat.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, of_meshes, ModuleType("empty"))
    return module


def test_one_process_needs_no_private_jax(compat_of_a_jax_to_come):
    compat = compat_of_a_jax_to_come
    assert compat.process_count() == 1
    assert compat.job("cpu") == compat.Job(0, 1)
    assert compat.context_mesh() is None
    assert not compat.spans_processes()


def test_several_processes_are_refused_without_it(compat_of_a_jax_to_come, monkeypatch):
    compat = compat_of_a_jax_to_come
    monkeypatch.setattr(compat, "_processes_of", lambda mesh: 2)
    spans = compat.shard_map(lambda x: compat.spans_processes() or x, device_mesh(1), P(), P())
    with pytest.raises(RuntimeError, match=r"got those of 2: jax .* of jobs of several processes"):
        spans(np.ones(1))


# ---- The builds of ffi/ --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_xla", "build"),
    [((0, 1), (0, 1)), ((0, 3), (0, 1)), ((0, 5), (0, 5)), ((0, 99), (0, 5))],
)
def test_newest_build_that_is_not_newer_than_xla(of_xla, build):
    assert _loading.chosen_ffi_version(of_xla) == build


@pytest.mark.parametrize("of_xla", [(0, 0), (1, 0)])
def test_an_xla_for_which_there_is_no_build(of_xla):
    with pytest.raises(
        ImportError, match=r"has version \d.0 of XLA.*jaxmg was built for 0.1 and 0"
    ):
        _loading.chosen_ffi_version(of_xla)


SOLVE = """
    import jax
    jax.ffi.include_dir = lambda: {headers!r}
    jax.config.update("jax_num_cpu_devices", 2)
    import numpy, jaxmg
    from jaxmg import _library
    mesh = jax.make_mesh((2,), ("x",))
    x = jaxmg.potrs(4 * numpy.eye(4, dtype="f"), numpy.ones(4, "f"), mesh=mesh)
    assert (x == 0.25).all()
    print(_library.library().jaxmg_ffi_version())
"""


@pytest.mark.parametrize(("major", "minor"), _loading.FFI_VERSIONS)
def test_a_jaxlib_gets_the_build_that_fits_it(major, minor, tmp_path):
    """This jaxlib, which says to be older than it is, takes the build for that one."""
    if _compat.ffi_version() < (major, minor):
        pytest.skip(f"this jaxlib refuses handlers of version {major}.{minor}")
    header = tmp_path / "xla" / "ffi" / "api" / "c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text(f"#define XLA_FFI_API_MAJOR {major}\n#define XLA_FFI_API_MINOR {minor}\n")
    assert run_python(SOLVE.format(headers=str(tmp_path))) == f"{minor}\n"
