"""How fast devices read each other's memory: ``python -m jaxmg info --links``."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax
import numpy as np

#: Of one copy: long against what it takes to start one. CPU devices copy at the memory's rate, and
#: there may be many of them.
BYTES, BYTES_ON_CPU = 2**28, 2**24
REPEATS = 5


def bandwidths(devices: Sequence[jax.Device], size: int | None = None) -> list[list[float | None]]:
    """Bytes a second of a copy by JAX from each device (row) to each other one (column), one at a
    time, the best of `REPEATS`; None for itself.

    Args:
      devices: of this process.
      size: bytes of a copy; each device needs twice as many. If left out, what suits the devices.
    """
    if size is None:
        size = BYTES_ON_CPU if devices[0].platform == "cpu" else BYTES
    rates: list[list[float | None]] = []
    for source in devices:
        x = jax.block_until_ready(jax.device_put(np.zeros(size, np.uint8), source))
        rates.append([None if to == source else size / _seconds(x, to) for to in devices])
    return rates


def _seconds(x: jax.Array, device: jax.Device) -> float:
    """Of the fastest copy; the first one, which takes memory, does not count."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(jax.device_put(x, device))
        times.append(time.perf_counter() - start)
    return min(times[1:])


def wrong_copies(devices: Sequence[jax.Device]) -> list[str]:
    """Pairs of devices, "0 to 1", between which a copy does not arrive as it was sent."""
    wrong = []
    for source in devices:
        sent = np.random.default_rng(source.id).integers(0, 2**31 - 1, 2**18, np.int32)
        x = jax.device_put(sent, source)
        for to in devices:
            if not np.array_equal(jax.device_put(x, to), sent):
                wrong.append(f"{source.id} to {to.id}")
    return wrong
