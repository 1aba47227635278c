"""Which of the compiled libraries fits this JAX, and what of NVIDIA's it needs."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
from pathlib import Path

from . import _compat

#: The versions of XLA's foreign function interface that the libraries are built against, each a
#: library of its own. XLA takes handlers of its own version or an older one, down to a minimum that
#: it may raise: so the newest is loaded that is not newer than XLA's.
FFI_VERSIONS = ((0, 1), (0, 5))

#: NVIDIA's libraries that the CUDA engines are linked to, and the wheel's module that holds each.
NVIDIA_LIBRARIES = {
    12: (
        ("nvidia.cublas", "libcublasLt.so.12"),
        ("nvidia.cublas", "libcublas.so.12"),
        ("nvidia.cusolver", "libcusolver.so.11"),
    ),
    13: (
        ("nvidia.cu13", "libcublasLt.so.13"),
        ("nvidia.cu13", "libcublas.so.13"),
        ("nvidia.cu13", "libcusolver.so.12"),
    ),
}


def directory() -> Path:
    """Where the compiled libraries are."""
    override = os.environ.get("JAXMG_LIBRARY_DIR")
    return Path(override) if override else Path(__file__).parent / "_lib"


def chosen_ffi_version(of_xla: tuple[int, int]) -> tuple[int, int]:
    """Which of FFI_VERSIONS fits an XLA of that version; ImportError if none does."""
    fitting = [own for own in FFI_VERSIONS if own[0] == of_xla[0] and own <= of_xla]
    if not fitting:
        known = " and ".join(f"{major}.{minor}" for major, minor in FFI_VERSIONS)
        raise ImportError(
            f"this jaxlib has version {of_xla[0]}.{of_xla[1]} of XLA's foreign function interface, "
            f"and jaxmg was built for {known}: install a newer jaxmg, or a jax that "
            f"docs/compatibility.md lists (the newest tested is {_compat.NEWEST_TESTED_JAX})"
        )
    return max(fitting)


@functools.cache
def _ffi_version() -> tuple[int, int]:
    return chosen_ffi_version(_compat.ffi_version())


def library_path(engine: str) -> Path:
    """The file of an engine, "cpu", "cu12" or "cu13", for this JAX."""
    major, minor = _ffi_version()
    return directory() / f"libjaxmg_{engine}-ffi{major}.{minor}.so"


def cuda_plugins() -> tuple[int, ...]:
    """The CUDA majors that JAX has plugins for, in the order in which JAX looks for them."""
    return tuple(
        major
        for major in sorted(NVIDIA_LIBRARIES, reverse=True)
        if importlib.util.find_spec(f"jax_cuda{major}_plugin") is not None
    )


def _in_wheel(module: str, name: str) -> Path | None:
    """The file of a library in one of NVIDIA's wheels, if that is installed."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # there is no `nvidia` at all
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "lib" / name
        if path.exists():
            return path
    return None


def load_nccl() -> None:
    """Loads NCCL as JAX does, for the library to find by its name; nothing if it is not there."""
    with contextlib.suppress(OSError):
        name = "libnccl.so.2"
        ctypes.CDLL(str(_in_wheel("nvidia.nccl", name) or name))


def load_nvidia_libraries(major: int) -> None:
    """Loads cuBLAS and cuSOLVER as JAX does: from NVIDIA's wheels, else from the system.

    What is loaded once is found by its name from then on, by JAX and by our libraries.
    """
    for module, name in NVIDIA_LIBRARIES[major]:
        ctypes.CDLL(str(_in_wheel(module, name) or name))
