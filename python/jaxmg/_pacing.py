"""Eager calls on CPU devices wait for earlier ones, so that JAX does not hang.

JAX before 0.12 launches a program on several CPU devices by threads that block while 32 programs of
a device are in flight. The programs in flight need those threads, and may never get them.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from . import _compat

#: Of a call two or three programs can be in flight: its own, and what places its operands.
MOST_CALLS = 8
#: Results that are kept to wait for them; a larger one is waited for at once.
MOST_BYTES = 64 * 2**20

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: The smallest result of each call that may be in flight.
_in_flight: collections.deque[jax.Array] = collections.deque()
_lock = threading.Lock()


def paced(program: Callable[_P, _R]) -> Callable[_P, _R]:
    """`program` that an eager call on CPU devices runs once at most `MOST_CALLS` are in flight."""

    @functools.wraps(program)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        results = program(*args, **kwargs)
        _keep_pace(results)
        return results

    return call


def _keep_pace(results: Any) -> None:
    arrays = jax.tree.leaves(results)
    if _compat.is_traced(arrays[0]) or _is_on_gpus(arrays[0]):
        return
    overdue = []
    with _lock:
        _in_flight.append(min(arrays, key=lambda x: x.nbytes))
        while len(_in_flight) > MOST_CALLS or sum(x.nbytes for x in _in_flight) > MOST_BYTES:
            overdue.append(_in_flight.popleft())
    for x in overdue:
        # A call that failed says so to who reads its results; one that was donated is no more.
        with contextlib.suppress(RuntimeError):
            x.block_until_ready()


def _is_on_gpus(x: jax.Array) -> bool:
    device: Any = next(iter(x.sharding.device_set))
    return bool(device.platform != "cpu")
