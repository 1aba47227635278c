"""Loads the compiled library, gives it SciPy's BLAS, registers its handlers with JAX."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from . import _compat, _loading

_PLATFORMS = {"cpu": 0, "cuda": 1, "cpu_processes": 2}
#: Whose algorithms a call runs; see `_entry.find_engine`.
ENGINES = {"jaxmg": 0, "cusolvermg": 1}
_DTYPES = {"float32": 0, "float64": 1, "complex64": 2, "complex128": 3}

_TARGETS = (
    "jaxmg_cho_factor",
    "jaxmg_cho_inverse",
    "jaxmg_cho_solve",
    "jaxmg_cyclic",
    "jaxmg_potri",
    "jaxmg_potrs",
    "jaxmg_syevd",
)


def _load() -> ctypes.CDLL:
    path = _loading.library_path("cpu")
    if not path.exists():
        raise ImportError(
            f"jaxmg's compiled library was expected at {path} and is not there. Install the "
            "package (`pip install .` in its source tree), or set JAXMG_LIBRARY_DIR to the folder "
            f"that holds {path.name}."
        )
    library = ctypes.CDLL(str(path))
    library.jaxmg_last_error.restype = ctypes.c_char_p
    for name, arguments in {
        "jaxmg_blas_entries": "",
        "jaxmg_potrs_workspace": "iiqqiqqii",
        "jaxmg_factor_tile": "iiqqiq",
        "jaxmg_cho_factor_workspace": "iiqqiqi",
        "jaxmg_cho_solve_workspace": "iiqqiqqii",
        "jaxmg_cho_inverse_workspace": "iiqqiq",
        "jaxmg_potri_workspace": "iiqqiqii",
        "jaxmg_syevd_workspace": "iiqqiqiii",
    }.items():
        function = getattr(library, name)
        function.restype = ctypes.c_int64
        function.argtypes = [{"i": ctypes.c_int32, "q": ctypes.c_int64}[a] for a in arguments]
    return library


def _capsule_pointer(capsule: object) -> int:
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


class _JobAnswer(ctypes.Structure):
    """As in ffi/job.hpp."""

    _fields_ = (
        ("process", ctypes.c_int32),
        ("processes", ctypes.c_int32),
        ("local_devices", ctypes.c_int32),
        ("devices", ctypes.c_int32),
        ("name", ctypes.c_char * 128),
        ("listening", ctypes.c_int32),
        ("secret", ctypes.c_char * 64),
        ("contact", ctypes.c_char * 64),
        ("others", ctypes.c_char_p),
    )


#: What libraries were told; they keep no copy of what they only read.
_told_jobs: list[Any] = []

_TellJob = ctypes.CFUNCTYPE(None, ctypes.POINTER(_JobAnswer))


def _job_teller(platform: str) -> Any:
    """What the library for `platform` asks when a program with its calls is about to be run."""

    def tell(answer: Any) -> None:
        try:
            job = _compat.job(platform)
            if platform == "cuda" and job.processes > 1:
                _loading.load_nccl()
        except Exception as error:
            job = _compat.Job(0, 0, name=str(error).encode("ascii", "replace").decode()[:100])
        told = _JobAnswer(*(x.encode() if isinstance(x, str) else x for x in job))
        _told_jobs.append(told)  # it has `others`, which the library reads
        answer[0] = told

    return _TellJob(tell)


_tell_cpu_job, _tell_cuda_job = _job_teller("cpu"), _job_teller("cuda")


def _give_blas(library: ctypes.CDLL) -> None:
    """SciPy's BLAS and LAPACK, as jaxlib takes them: no second copy in the process."""
    from scipy.linalg import cython_blas, cython_lapack

    routines = {**cython_blas.__pyx_capi__, **cython_lapack.__pyx_capi__}
    names = [
        kind + routine
        for kind in "sdcz"
        for routine in (
            "gemm",
            "gemv",
            "herk" if kind in "cz" else "syrk",
            "trsm",
            "potrf",
            "trtri",
            "steqr",
            "geqrf",
            "larft",
            "heevd" if kind in "cz" else "syevd",
        )
    ]
    if len(names) != library.jaxmg_blas_entries():
        raise ImportError(
            f"jaxmg's compiled library in {_loading.directory()} belongs to another version of the "
            "package"
        )
    pointers = (ctypes.c_void_p * len(names))(*[_capsule_pointer(routines[n]) for n in names])
    library.jaxmg_set_blas(pointers, b"SciPy's BLAS")


class _CudaEngine(NamedTuple):
    library: ctypes.CDLL
    major: int


def _load_cuda() -> _CudaEngine | str:
    """The CUDA engine with its handlers registered, or why it is not there."""
    platforms = os.environ.get("JAX_PLATFORMS") or "cuda"
    if not {"cuda", "gpu"} & set(platforms.split(",")):
        return f"JAX_PLATFORMS={platforms} leaves GPUs out"
    plugins = _loading.cuda_plugins()
    if not plugins:
        return 'JAX has no CUDA plugin here; pip install "jaxmg[cuda13]" or "jaxmg[cuda12]"'
    major = plugins[0]
    path = _loading.library_path(f"cu{major}")
    if not path.exists():
        return (
            f"JAX has its plugin for CUDA {major}, and this jaxmg was built without that engine: "
            f"{path} is not there; install it again where the build finds CUDA {major}"
        )
    try:
        _loading.load_nvidia_libraries(major)
        loaded = ctypes.CDLL(str(path))
        handlers = {
            target: {
                "instantiate": jax.ffi.pycapsule(loaded.jaxmg_instantiate_cuda),
                "execute": jax.ffi.pycapsule(getattr(loaded, f"{target}_cuda")),
            }
            for target in _TARGETS
        }
    except (OSError, AttributeError) as error:
        return (
            f"{path} could not be loaded: {error}; it needs cuBLAS and cuSOLVER of CUDA {major}, "
            f'from `pip install "jaxmg[cuda{major}]"` or the system'
        )
    loaded.jaxmg_set_cuda_job(_tell_cuda_job)
    for target, stages in handlers.items():
        jax.ffi.register_ffi_target(target, stages, "CUDA")
    return _CudaEngine(loaded, major)


@functools.cache
def _cuda() -> _CudaEngine | str:
    return _load_cuda()


def cuda_library() -> ctypes.CDLL | None:
    """The CUDA engine, where JAX has a CUDA plugin and the package was built for its CUDA."""
    cuda = _cuda()
    return None if isinstance(cuda, str) else cuda.library


def cusolvermg_problem() -> str | None:
    """Why the engine "cusolvermg" cannot be used by this process, or None. Loads its library."""
    cuda = _cuda()
    if isinstance(cuda, str):
        return f"it runs in jaxmg's CUDA engine, which cannot be used: {cuda}"
    load = cuda.library.jaxmg_load_cusolvermg
    load.restype = ctypes.c_char_p
    reason = load()
    return None if reason is None else reason.decode()


def engines() -> dict[str, str]:
    """What this installation can run on, or why it cannot."""
    cuda, cusolvermg = _cuda(), cusolvermg_problem()
    return {
        "cpu": "yes",
        "cuda": f"no: {cuda}" if isinstance(cuda, str) else f"yes, for CUDA {cuda.major}",
        "cusolvermg": "yes" if cusolvermg is None else f"no: {cusolvermg}",
    }


def _check_cuda_major(routine: str, engine: _CudaEngine) -> None:
    """JAX may have plugins for both: then its GPUs are those of the one that it took."""
    running = _compat.running_cuda_major()
    if running is not None and running != engine.major:
        raise RuntimeError(
            f"{routine}: JAX runs CUDA {running}, and jaxmg loaded its engine for CUDA "
            f"{engine.major}, since JAX's plugins for both are installed; remove one of them: "
            f"`pip uninstall jax-cuda{engine.major}-plugin jax-cuda{engine.major}-pjrt`"
        )


def check_platform(routine: str, platform: str) -> None:
    """Raises RuntimeError if there is no engine for JAX's devices of that platform."""
    cuda = _cuda()
    if platform == "cpu":
        return
    if platform in ("gpu", "cuda"):
        if not isinstance(cuda, str):
            return _check_cuda_major(routine, cuda)
        raise RuntimeError(
            f"{routine}: jaxmg's CUDA engine cannot be used: {cuda}. `python -m jaxmg info` shows "
            "what is installed"
        )
    raise RuntimeError(
        f"{routine}: expected CPU or NVIDIA GPU devices, got platform {platform!r}; jaxmg has no "
        "engine for it"
    )


@contextlib.contextmanager
def noted_stages(platform: str) -> Iterator[dict[str, float]]:
    """For benchmarks: within, calls on ``cpu`` or ``cuda`` devices note their stages, and wait for
    the devices between them. Afterwards the seconds of each stage of the call that ended last, by
    its name; empty where the routine has none."""
    noting = library() if platform == "cpu" else cuda_library()
    assert noting is not None
    noting.jaxmg_noted_stages.restype = ctypes.c_char_p
    seconds: dict[str, float] = {}
    noting.jaxmg_note_stages(1)
    try:
        yield seconds
        for line in noting.jaxmg_noted_stages().decode().splitlines():
            time, _, name = line.partition(" ")
            seconds[name] = seconds.get(name, 0.0) + float(time)
    finally:
        noting.jaxmg_note_stages(0)


_SeeCallSite = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_uint64, ctypes.c_int32)


@contextlib.contextmanager
def watched_call_sites(platform: str) -> Iterator[list[tuple[int, int, int]]]:
    """For tests: within, notes the run, the address and the rank of each foreign call on ``cpu`` or
    ``cuda`` devices."""
    watched = library() if platform == "cpu" else cuda_library()
    assert watched is not None
    seen: list[tuple[int, int, int]] = []
    see = _SeeCallSite(lambda *site: seen.append(site))
    watched.jaxmg_watch_call_sites(see)
    try:
        yield seen
    finally:
        watched.jaxmg_watch_call_sites(None)


#: What `inject_cuda_fault` knows; see ffi/cuda/fault.hpp.
CUDA_FAULTS = {"error": 1, "out of memory": 2, "late": 3, "trap": 4, "stall": 5}


def inject_cuda_fault(rank: int, fault: str, after: int = 1) -> None:
    """For tests: what goes wrong with `rank` of the next call on GPUs."""
    cuda = cuda_library()
    assert cuda is not None
    cuda.jaxmg_inject_cuda_fault(rank, CUDA_FAULTS[fault], after)


def set_cuda_chaos(seed: int, max_delay_us: int = 0) -> None:
    """For tests: random delays on the queues of GPUs; seed 0 switches them off."""
    cuda = cuda_library()
    assert cuda is not None
    cuda.jaxmg_set_cuda_chaos(seed, max_delay_us)


def swap_cuda_seats(groups: bool = False) -> None:
    """For tests: calls that have run before mistake each GPU, or each group, for its neighbour."""
    cuda = cuda_library()
    assert cuda is not None
    cuda.jaxmg_swap_cuda_seats(groups)


@functools.cache
def library() -> ctypes.CDLL:
    """The CPU library, ready for use."""
    loaded = _load()
    _give_blas(loaded)
    loaded.jaxmg_set_job(_tell_cpu_job)
    for target in (*_TARGETS, "jaxmg_announce"):
        stages = {
            "instantiate": jax.ffi.pycapsule(loaded.jaxmg_instantiate_cpu),
            "execute": jax.ffi.pycapsule(getattr(loaded, f"{target}_cpu")),
        }
        jax.ffi.register_ffi_target(target, stages, "cpu")
    return loaded


def _checked(value: int) -> int:
    if value < 0:
        raise ValueError(library().jaxmg_last_error().decode())
    return value


class Sizes(NamedTuple):
    """What workspaces depend on in all routines: a matrix of `order` in `columns` over `ranks`."""

    platform: str
    dtype: np.dtype
    columns: int
    order: int
    ranks: int
    tile: int  # 0: chosen by the library

    def ask(self, function: str, *further: int) -> int:
        """What a function of the library says that takes these, and `further` ones."""
        platform, dtype, *sizes = self
        function_of_sizes = getattr(library(), function)
        codes = _PLATFORMS[platform], _DTYPES[dtype.name]
        return _checked(function_of_sizes(*codes, *sizes, *map(int, further)))

    def ask_of_engine(self, engine: str, function: str, *further: int) -> int:
        """The same of a routine that several engines have."""
        if engine != "jaxmg" and self.platform != "cuda":
            return 0  # that call fails when it runs: it may be a branch that is never taken
        return self.ask(function, *further, ENGINES[engine])


def potrs_workspace(sizes: Sizes, rhs: int, in_place: bool, engine: str = "jaxmg") -> int:
    """Bytes of workspace that one device needs in a call of potrs."""
    return sizes.ask_of_engine(engine, "jaxmg_potrs_workspace", rhs, in_place)


def factor_tile(sizes: Sizes) -> int:
    """The tile of a kept factor."""
    return sizes.ask("jaxmg_factor_tile")


def cho_factor_workspace(sizes: Sizes, in_place: bool) -> int:
    """Bytes of workspace that one device needs in a call of cho_factor."""
    return sizes.ask("jaxmg_cho_factor_workspace", in_place)


def cho_solve_workspace(sizes: Sizes, rhs: int, spread: bool, has_inverses: bool) -> int:
    """Bytes of workspace that one device needs in a call of cho_solve."""
    return sizes.ask("jaxmg_cho_solve_workspace", rhs, spread, has_inverses)


def cho_inverse_workspace(sizes: Sizes) -> int:
    """Bytes of workspace that one device needs in a call of a factor's inverse."""
    return sizes.ask("jaxmg_cho_inverse_workspace")


def potri_workspace(sizes: Sizes, in_place: bool, engine: str = "jaxmg") -> int:
    """Bytes of workspace that one device needs in a call of potri."""
    return sizes.ask_of_engine(engine, "jaxmg_potri_workspace", in_place)


def syevd_workspace(sizes: Sizes, vectors: bool, in_place: bool, engine: str = "jaxmg") -> int:
    """Bytes of workspace that one device needs in a call of syevd."""
    return sizes.ask_of_engine(engine, "jaxmg_syevd_workspace", vectors, in_place)
