"""The command line of ``python -m jaxmg bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import record, report
from .compare import compare
from .plot import Only, plot
from .runner import run_suite
from .suite import Choices, Suite, load_suite, names, suite_of

_COMMANDS = ("run", "plot", "table", "compare")


def with_command(arguments: Sequence[str]) -> list[str]:
    """``bench SUITE`` means ``bench run SUITE``."""
    first = arguments[0] if arguments else "--help"
    named = first in (*_COMMANDS, "-h", "--help")
    return list(arguments) if named else ["run", *arguments]


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of the benchmarks."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)

    draw = commands.add_parser("plot", help="draw times and fractions of P x GEMM against n")
    draw.add_argument("records", nargs="+", metavar="RECORD.json")
    draw.add_argument("--output", metavar="FILE", default="bench.svg", help="bench.svg by default")
    draw.add_argument("--arrays", action="store_true", help="times with the making of the arrays")
    draw.add_argument("--routine", type=_texts, metavar="NAME,...", help="only these panels")
    draw.add_argument("--dtype", type=_texts, metavar="NAME,...", help="only these panels")
    draw.set_defaults(run=_guarded(_plot))

    table = commands.add_parser("table", help="print records in Markdown")
    table.add_argument("records", nargs="+", metavar="RECORD.json")
    table.set_defaults(run=_guarded(_table))

    compared = commands.add_parser(
        "compare",
        help="look for regressions",
        epilog="Exit status: 0 none, 1 some, 2 nothing could be compared.",
    )
    compared.add_argument("old", metavar="OLD.json")
    compared.add_argument("new", metavar="NEW.json")
    compared.add_argument(
        "--bound",
        type=_number(float, above=1),
        default=1.1,
        metavar="X",
        help="a regression takes more than X times as long, in its median and its shortest run; "
        "1.1 by default",
    )
    compared.set_defaults(run=_guarded(_compare))


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="measure the cases of a suite; what `bench SUITE` does",
        epilog="Exit status: 0 all went well, 1 some rows failed (those that are out of memory did "
        "not), 2 nothing was measured.",
    )
    run.add_argument(
        "suite",
        nargs="?",
        metavar="SUITE",
        help=f"a YAML file or one of {', '.join(names())}; without one, --routine, --dtype and --n "
        "say what to measure",
    )
    cases = run.add_argument_group("cases", "lists have commas; all combinations are measured")
    cases.add_argument(
        "--routine", type=_texts, metavar="NAME,...", help="of the suite, only these"
    )
    cases.add_argument("--dtype", type=_texts, metavar="NAME,...", help="of the suite, only these")
    for option, text in {
        "--n": "orders of the matrices",
        "--rhs": "right-hand sides",
        "--devices": "how many devices, the first ones",
    }.items():
        cases.add_argument(option, type=_wholes, metavar="N,...", help=text)
    cases.add_argument("--engine", type=_texts, metavar="NAME,...", help="jaxmg, cusolvermg")
    cases.add_argument("--tile", type=_tiles, metavar="T,...", help="T_A; auto has it chosen")
    cases.add_argument("--matrix", type=_texts, metavar="KIND,...", help="random, diagonal, kernel")
    cases.add_argument(
        "--kappa", type=_number(float, above=1), metavar="X", help="condition number"
    )
    cases.add_argument(
        "--baselines", type=_texts, metavar="NAME,...", help="none for no baselines at all"
    )
    cases.add_argument("--repeat", type=_number(int, above=0), metavar="N", help="timed runs")
    cases.add_argument("--warmups", type=_number(int, above=-1), metavar="N", help="runs before")
    cases.add_argument(
        "--max-seconds",
        type=_number(float, above=0),
        metavar="X",
        help="no further runs of a series whose runs took this long together",
    )
    for option, text in {
        "--donate": "jaxmg may destroy A",
        "--jit": "call jaxmg within a jax.jit; without this, where A is not donated",
        "--arrays": "make the operands anew for each run, and time that too",
        "--stages": "run syevd once more for the times of its stages",
    }.items():
        cases.add_argument(option, action=argparse.BooleanOptionalAction, help=text)

    where = run.add_argument_group("where, and what comes of it")
    where.add_argument("--platform", metavar="NAME", help="cpu or cuda, instead of the suite's")
    where.add_argument(
        "--programs", metavar="FOLDER", help="where jaxmg_baselines is; gemm is then measured by it"
    )
    where.add_argument(
        "--external",
        type=_external,
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a command that measures another library; see benchmarks/README.md",
    )
    where.add_argument("--output", metavar="FILE.json", help="write the record there")
    where.add_argument(
        "--resume",
        action="store_true",
        help="go on with the record in FILE.json: what it has stays there, and is not measured "
        "again, but for failures",
    )
    where.add_argument("--device-note", metavar="TEXT", help="about the devices, for the record")
    run.set_defaults(run=_guarded(_run))


# ---- What the commands do ------------------------------------------------------------------------


def _guarded(
    command: Callable[[argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    """What the user can mend is a line, not a traceback."""

    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            print(f"jaxmg bench: {error}", file=sys.stderr)
            return 2

    return guarded


def _run(arguments: argparse.Namespace) -> int:
    suite = _suite(arguments)
    record.validator()  # what a long run would end without
    output, earlier = arguments.output, None
    if arguments.resume:
        if output is None:
            raise ValueError("--resume: expected --output FILE.json, which is to go on")
        if Path(output).exists():
            earlier = _earlier(output)
    elif output is not None and Path(output).exists():
        raise ValueError(
            f"--output: {output} is there already; --resume goes on with it, or remove it"
        )
    result = run_suite(
        suite,
        device_note=arguments.device_note,
        earlier=earlier,
        save=None if output is None else lambda so_far: record.write(so_far, output),
    )
    for table in (report.ratios(result), report.shares_of_gemm(result), report.stages(result)):
        if table:
            print("\n" + table)
    if output is None:
        record.validate(result)
    else:
        print(f"\nwritten to {output}")
    return 1 if any(row["status"] == "failed" for row in result["rows"]) else 0


def _earlier(path: str) -> dict[str, Any]:
    earlier = record.read(path)
    if "cases" not in earlier:
        raise ValueError(f"--resume: {path} does not say what its cases were: it is too old")
    return earlier


def _suite(arguments: argparse.Namespace) -> Suite:
    given = {
        "n": arguments.n,
        "rhs": arguments.rhs,
        "devices": arguments.devices,
        "engine": arguments.engine,
        "tile": arguments.tile,
        "matrix": arguments.matrix,
        "kappa": arguments.kappa,
        "baselines": [] if arguments.baselines == ["none"] else arguments.baselines,
        "repeats": arguments.repeat,
        "warmups": arguments.warmups,
        "max_seconds": arguments.max_seconds,
        "donate": arguments.donate,
        "jit": arguments.jit,
        "arrays": arguments.arrays,
        "stages": arguments.stages,
    }
    chosen = {"routine": arguments.routine, "dtype": arguments.dtype}
    choices = Choices(
        only={key: value for key, value in chosen.items() if value is not None},
        instead={key: value for key, value in given.items() if value is not None},
        platform=arguments.platform,
        programs=arguments.programs,
        externals=dict(arguments.external),
    )
    if arguments.suite is not None:
        return load_suite(arguments.suite, choices)
    for option in ("routine", "dtype", "n"):
        if getattr(arguments, option) is None:
            raise ValueError(f"expected a suite, or --{option} too")
    return suite_of({"cases": [chosen | {"n": arguments.n}]}, "command line", choices)


def _plot(arguments: argparse.Namespace) -> int:
    records = [record.read(path) for path in arguments.records]
    stems = [Path(path).stem for path in arguments.records]
    only = Only(arguments.routine or (), arguments.dtype or ())
    for file in plot(records, stems, arguments.output, arguments.arrays, only):
        print(f"written to {file}")
    return 0


def _table(arguments: argparse.Namespace) -> int:
    print("\n\n".join(report.markdown(record.read(path)) for path in arguments.records))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    old, new = record.read(arguments.old), record.read(arguments.new)
    devices = [one["environment"]["devices"] for one in (old, new)]
    if devices[0] != devices[1]:
        print(f"measured on different devices: {devices[0]}, {devices[1]}", file=sys.stderr)
    comparison = compare(old, new, arguments.bound)
    print("\n".join(comparison.lines))
    if comparison.compared == 0:
        raise ValueError("compare: expected rows that both records have, found none")
    print(f"\n{comparison.regressions} of {comparison.compared} rows are regressions")
    return 1 if comparison.regressions else 0


# ---- Values of options ---------------------------------------------------------------------------


def _number(kind: type, above: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
        if not value > above:
            least = f"at least {above + 1}" if kind is int else f"more than {above}"
            raise argparse.ArgumentTypeError(f"expected {least}, got {value}")
        return value

    return parse


def _texts(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _wholes(text: str) -> list[int]:
    return [_number(int, above=0)(word) for word in _texts(text)]


def _tiles(text: str) -> list[int | str]:
    return [word if word == "auto" else _number(int, above=0)(word) for word in _texts(text)]


def _external(text: str) -> tuple[str, str]:
    name, sign, command = text.partition("=")
    if not (name and sign and command):
        raise argparse.ArgumentTypeError(f"expected NAME=COMMAND, got {text!r}")
    return name, command
