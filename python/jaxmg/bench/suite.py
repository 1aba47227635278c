"""Suites: which cases to measure, read from YAML."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._arguments import SUPPORTED
from ._extras import need
from .programs import SERIES
from .routines import ROUTINES


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem to measure, and how.

    Attributes:
      routine: a name in `ROUTINES`.
      dtype: NumPy's name of it.
      n: order of the matrix.
      rhs: right-hand sides.
      devices: number of JAX devices, the first ones.
      tile: ``T_A``; None has it chosen.
      repeats: timed runs of each series.
      warmups: runs of each series before these; the first one compiles.
      donate: whether jaxmg may destroy A.
      baselines: names in the routine's `baselines`, or in `SERIES`.
    """

    routine: str
    dtype: str
    n: int
    rhs: int = 1
    devices: int = 1
    tile: int | None = None
    repeats: int = 7
    warmups: int = 1
    donate: bool = False
    baselines: tuple[str, ...] = ()

    def __str__(self) -> str:
        tile = "" if self.tile is None else f" tile={self.tile}"
        return f"{self.routine} {self.dtype} n={self.n} rhs={self.rhs}{tile}"


@dataclasses.dataclass(frozen=True)
class Suite:
    """Cases of one platform.

    Attributes:
      name: what records and tables call it.
      platform: JAX's name of the platform: ``cpu``, ``cuda``.
      devices: number of devices that the platform must have; CPUs are made to.
      cases: what to measure.
      programs: folder of the programs that some series need.
    """

    name: str
    platform: str
    devices: int
    cases: tuple[Case, ...]
    programs: str | None = None


_SWEPT = ("routine", "dtype", "n", "rhs", "tile")
_OPTIONS = ("repeats", "warmups", "donate", "baselines")
_SUITE = ("name", "description", "platform", "devices", "programs", *_OPTIONS, "cases")


def load_suite(path: str | Path, repeats: int | None = None, programs: str | None = None) -> Suite:
    """Reads a suite.

    A suite is a mapping with ``platform``, ``devices`` and a list ``cases``; ``name``,
    ``description``, ``programs`` (a folder) and the defaults ``repeats``, ``warmups``, ``donate``,
    ``baselines`` may be there. A case
    has ``routine``, ``dtype``, ``n``, ``rhs`` and ``tile``, any of them a list, which stands for
    all combinations, and may set the defaults anew.

    Args:
      path: a YAML file.
      repeats: if given, the number of timed runs of all cases.
      programs: if given, the folder of the programs.

    Returns:
      The suite.

    Raises:
      ValueError: the file is no suite; the message names the file, the place and what was expected.
      ImportError: PyYAML is not installed.
      OSError: the file cannot be read.
    """
    path = Path(path)
    yaml = need("yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    try:
        return _suite(content, path.stem, repeats, programs)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _suite(content: Any, name: str, repeats: int | None, programs: str | None) -> Suite:
    _check_keys("suite", content, _SUITE, required=("platform", "devices", "cases"))
    devices = _whole("devices", content["devices"], at_least=1)
    defaults = {key: content[key] for key in _OPTIONS if key in content}
    given = {} if repeats is None else {"repeats": repeats}
    if not isinstance(content["cases"], list) or not content["cases"]:
        raise ValueError("cases: expected a list of cases")
    cases: list[Case] = []
    for number, entry in enumerate(content["cases"], 1):
        where = f"case {number}"
        _check_keys(where, entry, (*_SWEPT, *_OPTIONS), required=("routine", "dtype", "n"))
        settings = {**defaults, **entry, **given}
        try:
            cases.extend(_cases(settings, devices))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return Suite(
        str(content.get("name", name)),
        str(content["platform"]),
        devices,
        tuple(cases),
        programs or content.get("programs"),
    )


def _cases(settings: Mapping[str, Any], devices: int) -> list[Case]:
    """All combinations of the values that are lists."""
    swept = {key: settings[key] for key in _SWEPT if key in settings}
    lists = [value if isinstance(value, list) else [value] for value in swept.values()]
    options = {key: settings[key] for key in _OPTIONS if key in settings}
    if not isinstance(options.get("baselines", []), list):
        raise ValueError(f"baselines: expected a list, got {options['baselines']!r}")
    return [
        _case({**dict(zip(swept, values, strict=True)), **options}, devices)
        for values in itertools.product(*lists)
    ]


def _case(fields: dict[str, Any], devices: int) -> Case:
    case = Case(**{**fields, "devices": devices, "baselines": tuple(fields.get("baselines", ()))})
    _one_of("routine", case.routine, ROUTINES)
    _one_of("dtype", case.dtype, SUPPORTED)
    of_programs = (name for name, measures in SERIES.items() if case.routine in measures)
    allowed = (*ROUTINES[case.routine].baselines, *of_programs)
    for name in case.baselines:
        _one_of("baselines", name, allowed)
    if not isinstance(case.donate, bool):
        raise ValueError(f"donate: expected true or false, got {case.donate!r}")
    _whole("n", case.n, at_least=1)
    _whole("rhs", case.rhs, at_least=1)
    _whole("repeats", case.repeats, at_least=1)
    _whole("warmups", case.warmups, at_least=0)
    if case.tile is not None:
        _whole("tile", case.tile, at_least=1)
    return case


def _check_keys(where: str, entry: Any, allowed: Any, required: Any) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a mapping with {', '.join(required)}, got {entry!r}")
    for key in required:
        if key not in entry:
            raise ValueError(f"{where}: expected {key}, which is missing")
    for key in entry:
        if key not in allowed:
            raise ValueError(f"{where}: expected one of {', '.join(allowed)}, got {key!r}")


def _one_of(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(sorted(allowed))}, got {value!r}")


def _whole(name: str, value: Any, at_least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name}: expected a whole number from {at_least} on, got {value!r}")
    return value


def needs_x64(suite: Suite) -> bool:
    """Whether a case has a dtype that JAX has only with ``jax_enable_x64``."""
    return any(np.finfo(case.dtype).bits == 64 for case in suite.cases)
