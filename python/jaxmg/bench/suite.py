"""Suites: which cases to measure, read from YAML and from the command line."""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._arguments import SUPPORTED
from .._library import ENGINES
from . import machine
from ._extras import need
from .baselines import BASELINES
from .matrices import KAPPA, KINDS
from .programs import SERIES
from .routines import ROUTINES

#: The engine that is jaxmg's own, and the name of its series.
OURS = "jaxmg"


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem to measure, and how.

    Attributes:
      routine: a name in `ROUTINES`.
      dtype: NumPy's name of it.
      n: order of the matrix.
      rhs: right-hand sides.
      devices: number of JAX devices, the first ones.
      engine: a name in `ENGINES`.
      tile: ``T_A``; None has it chosen.
      matrix: what A is, one of `KINDS`.
      kappa: condition number of A, where its kind has one.
      repeats: timed runs of each series.
      warmups: runs of each series before these; the first one compiles.
      max_seconds: a series whose runs have taken this long together makes no more of them.
      donate: whether jaxmg may destroy A.
      jit: whether jaxmg's call is made within a caller's ``jit``, as the baseline ``jax`` is.
      arrays: whether operands are made anew for each run, and that timed too.
      stages: whether one more run of jaxmg's tells the times of its stages, if it has any.
      baselines: names in the routine's `baselines`, in `SERIES`, ``gemm``, or of externals.
    """

    routine: str
    dtype: str
    n: int
    rhs: int = 1
    devices: int = 1
    engine: str = OURS
    tile: int | None = None
    matrix: str = KINDS[0]
    kappa: float = KAPPA
    repeats: int = 7
    warmups: int = 1
    max_seconds: float | None = None
    donate: bool = False
    jit: bool = True
    arrays: bool = False
    stages: bool = False
    baselines: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [self.routine, self.dtype, f"n={self.n}", f"rhs={self.rhs}"]
        words += [] if self.tile is None else [f"tile={self.tile}"]
        words += [] if self.matrix == KINDS[0] else [self.matrix]
        words += [] if self.kappa == KAPPA else [f"kappa={self.kappa:g}"]
        return " ".join(words)


@dataclasses.dataclass(frozen=True)
class Suite:
    """Cases of one platform.

    Attributes:
      name: what records and tables call it.
      platform: JAX's name of the platform: ``cpu``, ``cuda``.
      devices: number of devices that the platform must have; CPUs are made to.
      cases: what to measure.
      programs: folder of the programs that some series need.
      externals: commands that measure other libraries, by the names of their series.
    """

    name: str
    platform: str
    devices: int
    cases: tuple[Case, ...]
    programs: str | None = None
    externals: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def together(self) -> list[tuple[Case, ...]]:
        """The cases that are measured together, on one matrix: they differ in their engines and
        tiles only."""

        def alike(case: Case) -> Case:
            return dataclasses.replace(case, engine=OURS, tile=None)

        groups: dict[Case, list[Case]] = {}
        for case in self.cases:
            groups.setdefault(alike(case), []).append(case)
        return [tuple(group) for group in groups.values()]


def each_tile(cases: Sequence[Case]) -> list[Case]:
    """Of cases that are measured together, those of one engine: what another library is asked."""
    return [case for case in cases if case.engine == cases[0].engine]


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the command line says about a suite.

    Attributes:
      only: keys of cases with the values to keep: other cases are left out.
      instead: keys of cases or their defaults, with what replaces the suite's values.
      platform: instead of the suite's.
      programs: the folder of the programs.
      externals: more of them.
    """

    only: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    instead: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    platform: str | None = None
    programs: str | None = None
    externals: Mapping[str, str] = dataclasses.field(default_factory=dict)


# The last one goes fastest.
_SWEPT = ("routine", "dtype", "devices", "matrix", "n", "rhs", "engine", "tile")
_OPTIONS = (
    *("kappa", "repeats", "warmups", "max_seconds"),
    *("donate", "jit", "arrays", "stages", "baselines"),
)
#: Cases that differ in these alone are one.
_HOW_MEASURED: dict[str, Any] = {"repeats": 1, "warmups": 0, "max_seconds": None, "baselines": ()}
_SUITE = ("name", "description", "platform", "devices", "programs", "externals", *_OPTIONS, "cases")

#: In a suite: whatever is there.
_ANY, _ALL = "any", "all"


def names() -> list[str]:
    """The suites that come with the package."""
    files = importlib.resources.files(__package__).joinpath("suites").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_suite(source: str | Path, choices: Choices | None = None) -> Suite:
    """Reads a suite.

    A suite is a mapping with a list ``cases``. There may be ``name``, ``description``;
    ``platform``, JAX's name of it or ``any``, which is CUDA where there are GPUs; ``devices``, a
    number or ``all``; ``programs`` (a folder); ``externals``, a mapping of names to commands; and
    the defaults ``kappa``, ``repeats``, ``warmups``, ``max_seconds``, ``donate``, ``jit``,
    ``arrays``, ``stages``, ``baselines``. A case has ``routine``, ``dtype``, ``n``, ``rhs``,
    ``devices``, ``matrix``, ``engine`` and ``tile``, any of them a list, which stands for all
    combinations, and may set the defaults anew. A tile of ``auto`` is chosen by jaxmg. ``jit``,
    where nobody says it, is true unless A is donated. Combinations of a routine and an engine that
    it does not have are left out.

    Args:
      source: a YAML file, or one of `names`.
      choices: what the command line says.

    Returns:
      The suite. Cases of more devices than there are have been left out of one with all devices.

    Raises:
      ValueError: the file is no suite, or no case is left; the message names the file, the place
        and what was expected.
      ImportError: PyYAML is not installed.
      OSError: the file cannot be read.
    """
    path = Path(source)
    yaml = need("yaml")
    if str(source) in names():
        text = importlib.resources.files(__package__).joinpath(f"suites/{source}.yaml").read_text()
    else:
        if not path.suffix and not path.exists():
            raise ValueError(f"suite: expected a file or one of {', '.join(names())}, got {path}")
        text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    try:
        return suite_of(content, path.stem, choices or Choices())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def suite_of(content: Any, name: str, choices: Choices) -> Suite:
    """The suite that a mapping describes, as `load_suite` has it."""
    _check_keys("suite", content, _SUITE, required=("cases",))
    platform = choices.platform or content.get("platform", _ANY)
    if platform == _ANY:
        platform = machine.platform()
    whatever_is_there = content.get("devices", _ALL) == _ALL
    devices = (
        machine.devices(platform)
        if whatever_is_there
        else _whole("devices", content["devices"], at_least=1)
    )
    if "devices" in choices.instead:
        devices, whatever_is_there = max(choices.instead["devices"]), False
    if platform != "cpu" and devices < 1:
        raise ValueError(
            f"platform: expected one that has devices here, got {platform!r}: nvidia-smi -L lists "
            "no GPU that CUDA_VISIBLE_DEVICES leaves in; --platform cpu measures on CPUs"
        )
    externals = {**_externals(content.get("externals", {})), **choices.externals}
    if not isinstance(content["cases"], list) or not content["cases"]:
        raise ValueError("cases: expected a list of cases")
    defaults = {key: content[key] for key in _OPTIONS if key in content}
    cases: list[Case] = []
    for number, entry in enumerate(content["cases"], 1):
        where = f"case {number}"
        _check_keys(where, entry, (*_SWEPT, *_OPTIONS), required=("routine", "dtype", "n"))
        try:
            settings = {"devices": devices, **defaults, **entry, **choices.instead}
            cases.extend(_cases(settings, externals))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    cases = [case for case in cases if case.engine in ROUTINES[case.routine].engines]
    for key, values in choices.only.items():
        cases = [case for case in cases if getattr(case, key) in values]
    if whatever_is_there:
        cases = [case for case in cases if case.devices <= devices]
    if not cases:
        raise ValueError("cases: expected some; none of the suite's is as the command line has it")
    if (most := max(case.devices for case in cases)) > devices:
        raise ValueError(f"devices: expected at most the suite's {devices}, got {most}")
    programs = choices.programs or content.get("programs")
    # What replaces lists may make a case occur more than once: the first says how it is measured.
    once: dict[Case, Case] = {}
    for case in cases:
        once.setdefault(dataclasses.replace(case, **_HOW_MEASURED), case)
    name = str(content.get("name", name))
    return Suite(name, str(platform), devices, tuple(once.values()), programs, externals)


def _externals(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise ValueError(f"externals: expected a mapping of names to commands, got {given!r}")
    return {str(name): text for name, text in given.items()}


def _cases(settings: Mapping[str, Any], externals: Iterable[str]) -> Iterator[Case]:
    """All combinations of the values that are lists."""
    swept = {key: settings[key] for key in _SWEPT if key in settings}
    lists = [value if isinstance(value, list) else [value] for value in swept.values()]
    options = {key: settings[key] for key in _OPTIONS if key in settings}
    if not isinstance(options.get("baselines", []), list):
        raise ValueError(f"baselines: expected a list, got {options['baselines']!r}")
    for name in externals:
        if name in BASELINES or name in SERIES:
            raise ValueError(f"externals: expected a name that is not taken, got {name!r}")
    options["baselines"] = tuple(dict.fromkeys([*options.get("baselines", []), *externals]))
    for values in itertools.product(*lists):
        yield _case({**dict(zip(swept, values, strict=True)), **options}, externals)


def _case(fields: dict[str, Any], externals: Iterable[str]) -> Case:
    if fields.get("tile") == "auto":
        fields["tile"] = None
    fields.setdefault("jit", fields.get("donate") is not True)
    case = Case(**fields)
    _one_of("routine", case.routine, ROUTINES)
    _one_of("dtype", case.dtype, SUPPORTED)
    _one_of("engine", case.engine, ENGINES)
    _one_of("matrix", case.matrix, KINDS)
    of_programs = [name for name, measures in SERIES.items() if case.routine in measures]
    allowed = (*ROUTINES[case.routine].baselines, *of_programs, *externals)
    for name in case.baselines:
        _one_of("baselines", name, allowed)
    for key in ("donate", "jit", "arrays", "stages"):
        if not isinstance(getattr(case, key), bool):
            raise ValueError(f"{key}: expected true or false, got {getattr(case, key)!r}")
    for key, at_least in {"n": 1, "rhs": 1, "devices": 1, "repeats": 1, "warmups": 0}.items():
        _whole(key, getattr(case, key), at_least)
    if case.tile is not None:
        _whole("tile", case.tile, at_least=1)
    for key, above in {"kappa": 1, "max_seconds": 0}.items():
        value = getattr(case, key)
        if value is not None and not (isinstance(value, int | float) and value > above):
            raise ValueError(f"{key}: expected a number above {above}, got {value!r}")
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
