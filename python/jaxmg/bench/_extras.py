"""Packages that only benchmarks need."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str) -> Any:
    """The module; where it is missing, an error that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f'jaxmg bench needs {module}, which is not installed: pip install "jaxmg[bench]"'
        ) from None


def have(module: str) -> Any | None:
    """The module, or None."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
