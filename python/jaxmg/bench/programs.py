"""What `jaxmg_baselines` measures, a program of its own: NVIDIA's libraries.

It runs before JAX starts. JAX takes 75 % of every GPU's memory when it first touches it and
never gives it back: a program that came later would find no room. So these series do not take turns
with the others.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .outcome import Outcome, Outcomes, is_out_of_memory
from .routines import ROUTINES
from .routines.cho_solve import cho_solve_flops
from .routines.potrf import potrf_flops
from .routines.potri import potri_flops

if TYPE_CHECKING:
    from .suite import Case, Suite

#: In the suite's folder of programs.
PROGRAM = "jaxmg_baselines"
#: The series that JAX measures (`gemm`) where there is no folder of programs.
GEMM = "gemm"
#: Order of ``gemm``'s matrices, whatever the order of the case: large enough for its best rate.
GEMM_ORDER = 16384
GEMM_REPEATS = 10
#: cuSOLVERMg is measured with each; its best one counts.
TILES = (1024, 2048, 4096)
#: Seconds that one run of a program may take.
TIMEOUT = 150


@dataclasses.dataclass(frozen=True)
class Request:
    """One run of a program: all that it measures with the same settings.

    Attributes:
      series: a name in `SERIES`.
      measures: what it measures there.
      dtype: NumPy's name of it.
      devices: number of GPUs, the first ones.
      warmups: runs of each case before the timed ones.
      repeats: timed runs.
      orders: of the matrices.
    """

    series: str
    measures: ProgramSeries
    dtype: str
    devices: int
    warmups: int
    repeats: int
    orders: tuple[int, ...]


def _same(value: int) -> int:
    return value


@dataclasses.dataclass(frozen=True)
class ProgramSeries:
    """How a program is asked for a series, and what of its JSON lines that is.

    Attributes:
      asks: the program's name of it.
      stages: whose times count, together.
      routine: what the stages are.
      flops: of the stages, for a dtype and an order; None: the line tells the rate.
      order: the order of the matrix, for a case of order n.
      devices: the GPUs that it works on, for a case's.
    """

    asks: str
    stages: tuple[str, ...]
    routine: str
    flops: Callable[[str, int], float] | None
    order: Callable[[int], int] = _same
    devices: Callable[[int], int] = _same


def _gemm_order(n: int) -> int:
    return GEMM_ORDER


def _one(devices: int) -> int:
    return 1


_GEMM = ProgramSeries(GEMM, ("gemm",), "gemm", None, order=_gemm_order)
_DN_FACTOR = ProgramSeries("dn_potrs", ("potrf",), "potrf", potrf_flops, devices=_one)
_MG_FACTOR = ProgramSeries("mg_potrs", ("potrf",), "potrf", potrf_flops)
_MG_SOLVE = ProgramSeries("mg_potrs", ("potrs",), "cho_solve", cho_solve_flops)
_MG_INVERSE = ProgramSeries("mg_potri", ("potrf", "potri"), "potri", potri_flops)

#: What each series measures, for a case of each routine. A call of `jaxmg.potrs` is compared with
#: the libraries' factorisation alone.
SERIES: dict[str, dict[str, ProgramSeries]] = {
    GEMM: dict.fromkeys(ROUTINES, _GEMM),
    "cusolver_dn": {"potrf": _DN_FACTOR, "potrs": _DN_FACTOR},
    "cusolver_mg": {
        "potrf": _MG_FACTOR,
        "potrs": _MG_FACTOR,
        "potri": _MG_INVERSE,
        "cho_solve": _MG_SOLVE,
    },
}


def _command(request: Request) -> list[str]:
    options = {
        "routine": request.measures.asks,
        "dtype": request.dtype,
        "n": _commas(request.orders),
        "tile": _commas(TILES),
        "devices": _commas(range(request.devices)),
        "warmups": str(request.warmups),
        "repeats": str(request.repeats),
    }
    return [text for name, value in options.items() for text in (f"--{name}", value)]


def _outcome(request: Request, line: dict[str, Any]) -> Outcome:
    """Of the stages that count; a factorisation counts as right if what is solved with it is."""
    measures = request.measures
    seconds = _together(line, measures.stages, "seconds")
    if measures.flops is None:
        gflops = line["gflops"]
    elif seconds:
        gflops = measures.flops(request.dtype, line["n"]) / statistics.median(seconds) / 1e9
    else:
        gflops = None
    return Outcome(
        routine=measures.routine,
        n=line["n"],
        devices=len(line["devices"]),
        tile=line["tile"],
        warmup_seconds=_together(line, measures.stages, "warmup_seconds"),
        seconds=seconds,
        gflops=gflops,
        device_gflops=line["device_gflops"],
        residual=line["residual"],
        failure=line["message"],
        out_of_memory=is_out_of_memory(line["message"]),
    )


def _together(line: dict[str, Any], stages: Sequence[str], times: str) -> list[float]:
    """Run by run."""
    runs = [line["stages"].get(stage, {times: []})[times] for stage in stages]
    return [sum(run) for run in zip(*runs, strict=True)]


def series_of(case: Case) -> list[str]:
    """The series of a case that programs measure."""
    return [name for name in case.baselines if name in SERIES]


def requests_of(suite: Suite) -> list[Request]:
    """The runs that the suite needs: each one serves as many cases as it can."""
    orders: dict[Request, set[int]] = {}
    for case in suite.cases:
        for name in series_of(case):
            if name == GEMM and suite.programs is None:
                continue  # JAX measures it
            settings = _settings(case, name)
            orders.setdefault(settings, set()).add(settings.measures.order(case.n))
    return [
        dataclasses.replace(settings, orders=tuple(sorted(of))) for settings, of in orders.items()
    ]


def _settings(case: Case, name: str) -> Request:
    measures = SERIES[name][case.routine]
    repeats = GEMM_REPEATS if name == GEMM else case.repeats
    devices = measures.devices(case.devices)
    # A first run creates handles and loads kernels, which is nobody's time.
    return Request(name, measures, case.dtype, devices, max(case.warmups, 1), repeats, ())


def measure(suite: Suite, outcomes: Outcomes, report: Callable[[str], None]) -> None:
    """Runs the programs of a suite one after the other; `report` hears of each before it starts."""
    for request in requests_of(suite):
        report(f"{PROGRAM}: {request.series} {request.dtype} n={_commas(request.orders)}")
        of_orders: dict[int, list[Outcome]] = {}
        for outcome in run(request, suite.programs):
            of_orders.setdefault(outcome.n, []).append(outcome)
        settings = dataclasses.replace(request, orders=())
        for case in suite.cases:
            if request.series in series_of(case) and _settings(case, request.series) == settings:
                of_case = of_orders[request.measures.order(case.n)]
                outcomes.add(case, request.series, of_case)


def run(request: Request, folder: str | None) -> list[Outcome]:
    """Runs a program. Every order has an outcome, if only a failure."""
    path = Path(folder or "") / PROGRAM
    if folder is None or not path.is_file():
        where = "programs: in the suite or --programs" if folder is None else folder
        return _failures(
            request,
            f"{PROGRAM}: expected in {where}, where it is not; it is built with the CUDA "
            "engine, in build/bin",
        )
    try:
        done = subprocess.run(
            [str(path.resolve()), *_command(request)],
            capture_output=True,
            env=_environment(),
            timeout=TIMEOUT,
            check=False,
        )
        output, trouble = done.stdout, _trouble(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        output, trouble = error.stdout or b"", f"took more than {TIMEOUT} s"
    except OSError as error:
        output, trouble = b"", str(error)
    try:
        outcomes = [_outcome(request, line) for line in _lines(output)]
    except (KeyError, TypeError, ValueError) as error:
        return _failures(request, f"{PROGRAM}: not the JSON expected: {error!r}")
    there = {outcome.n for outcome in outcomes}
    missing = [n for n in request.orders if n not in there]
    return outcomes + _failures(request, f"{PROGRAM}: {trouble}", missing)


def _lines(output: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects; what else there is, such as half a line of a killed program, is not."""
    for text in output.decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _trouble(status: int, stderr: bytes) -> str:
    words = stderr.decode(errors="replace").strip()
    return f"exit status {status}, without a result" + (f": {words[-500:]}" if words else "")


def _failures(request: Request, message: str, orders: Sequence[int] | None = None) -> list[Outcome]:
    return [
        Outcome(request.measures.routine, n, request.devices, failure=message)
        for n in (request.orders if orders is None else orders)
    ]


def _commas(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)


def _environment() -> dict[str, str]:
    """With NVIDIA's wheels, if JAX brought them, for programs that do not find its libraries.

    CUDA 13's wheels share a folder, CUDA 12's have one each.
    """
    environment = dict(os.environ)
    nvidia = importlib.util.find_spec("nvidia")
    folders = [
        str(folder)
        for place in (nvidia.submodule_search_locations if nvidia else None) or ()
        for folder in sorted(Path(place).glob("*/lib"))
    ]
    before = environment.get("LD_LIBRARY_PATH")
    if folders:
        environment["LD_LIBRARY_PATH"] = ":".join([*([before] if before else []), *folders])
    return environment
