"""Loads the compiled library, gives it SciPy's BLAS, registers its handlers with JAX."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from pathlib import Path

import jax
import numpy as np

_PLATFORMS = {"cpu": 0, "cuda": 1}
_DTYPES = {"float32": 0, "float64": 1, "complex64": 2, "complex128": 3}

_HANDLERS = {"jaxmg_cyclic": "jaxmg_cyclic_cpu", "jaxmg_potrs": "jaxmg_potrs_cpu"}
_CUDA_HANDLERS = {"jaxmg_potrs": "jaxmg_potrs_cuda"}


def _directory() -> Path:
    override = os.environ.get("JAXMG_LIBRARY_DIR")
    return Path(override) if override else Path(__file__).parent / "_lib"


def _load() -> ctypes.CDLL:
    path = _directory() / "libjaxmg_cpu.so"
    if not path.exists():
        raise ImportError(
            f"jaxmg's compiled library was expected at {path} and is not there. Install the "
            "package (`pip install .` in its source tree), or set JAXMG_LIBRARY_DIR to the folder "
            "that holds libjaxmg_cpu.so."
        )
    library = ctypes.CDLL(str(path))
    library.jaxmg_last_error.restype = ctypes.c_char_p
    for name, arguments in {
        "jaxmg_blas_entries": "",
        "jaxmg_potrs_workspace": "iiqqiqqi",
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
        )
    ]
    if len(names) != library.jaxmg_blas_entries():
        raise ImportError(
            f"jaxmg's compiled library in {_directory()} belongs to another version of the package"
        )
    pointers = (ctypes.c_void_p * len(names))(*[_capsule_pointer(routines[n]) for n in names])
    library.jaxmg_set_blas(pointers, b"SciPy's BLAS")


@functools.cache
def cuda_library() -> ctypes.CDLL | None:
    """The CUDA engine, where JAX has its CUDA 13 plugin and the wheel was built with it."""
    path = _directory() / "libjaxmg_cu13.so"
    wanted = os.environ.get("JAX_PLATFORMS", "cuda")
    if wanted == "cpu" or importlib.util.find_spec("jax_cuda13_plugin") is None:
        return None
    if not path.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(
            f"jaxmg's CUDA engine could not be loaded: {error}. It needs cuBLAS and cuSOLVER of "
            'CUDA 13, from `pip install "jax[cuda13]"` or the system; or set JAX_PLATFORMS=cpu.'
        ) from error
    for target, symbol in _CUDA_HANDLERS.items():
        stages = {
            "instantiate": jax.ffi.pycapsule(loaded.jaxmg_instantiate_cuda),
            "execute": jax.ffi.pycapsule(getattr(loaded, symbol)),
        }
        jax.ffi.register_ffi_target(target, stages, "CUDA")
    return loaded


@functools.cache
def library() -> ctypes.CDLL:
    """The CPU library, ready for use."""
    loaded = _load()
    _give_blas(loaded)
    for target, symbol in _HANDLERS.items():
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(loaded, symbol)), "cpu")
    return loaded


def _checked(value: int) -> int:
    if value < 0:
        raise ValueError(library().jaxmg_last_error().decode())
    return value


def potrs_workspace(
    platform: str,
    dtype: np.dtype,
    columns: int,
    order: int,
    ranks: int,
    tile: int,
    rhs: int,
    in_place: bool,
) -> int:
    """Bytes of workspace that one device needs in a call of potrs."""
    return _checked(
        library().jaxmg_potrs_workspace(
            _PLATFORMS[platform],
            _DTYPES[dtype.name],
            columns,
            order,
            ranks,
            tile,
            rhs,
            int(in_place),
        )
    )
