"""``python -m jaxmg``: `info` says what is installed, `doctor` checks it, `bench` measures."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

#: Environment variables that the package reads; docs/environment.md has what they do.
VARIABLES = ("JAXMG_LIBRARY_DIR", "JAXMG_ENGINE", "JAXMG_TEAM", "JAXMG_TIMEOUT")


def _info(arguments: argparse.Namespace) -> int:
    from ._library import engines
    from .bench.environment import as_text, describe_environment

    environment = describe_environment()
    variables = {name: os.environ.get(name) for name in VARIABLES}
    rates = _bandwidths() if arguments.links else None
    if arguments.json:
        more = {"engines": engines(), "variables": variables}
        print(json.dumps(environment | more | ({"bandwidths": rates} if rates else {}), indent=1))
        return 0
    print(as_text(environment))
    for name, value in variables.items():
        if value is None:
            print(f"variable  {name} is not set")
    for platform, there in engines().items():
        print(f"engine    {platform}: {there}")
    if rates is not None:
        print("bandwidth GB/s from the device of the row to that of the column, one at a time")
        for row in rates:
            cells = ("-" if rate is None else f"{rate / 1e9:.1f}" for rate in row)
            print("bandwidth" + "".join(cell.rjust(8) for cell in cells))
    return 0


def _bandwidths() -> list[list[float | None]]:
    """Between this process's devices of JAX's default platform."""
    import jax

    from ._links import bandwidths

    return bandwidths(jax.local_devices())


def _doctor(arguments: argparse.Namespace) -> int:
    from ._doctor import FAIL, findings

    found = []
    for finding in findings():
        found.append(finding)
        if not arguments.json:
            print(finding, flush=True)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in found], indent=1))
    return 1 if any(finding.status == FAIL for finding in found) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    from .bench import command

    parser = argparse.ArgumentParser(prog="python -m jaxmg", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show versions, processor, BLAS, devices and engines")
    info.add_argument("--json", action="store_true", help="as JSON, for bug reports")
    info.add_argument(
        "--links", action="store_true", help="measure how fast devices copy from each other"
    )
    info.set_defaults(run=_info)

    doctor = commands.add_parser(
        "doctor",
        help="check that everything works, and say what mends it",
        epilog="Exit status: 0 nothing failed, 1 something did.",
    )
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)

    bench = commands.add_parser("bench", help="measure, draw, compare")
    command.add_to(bench)

    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["bench"]:
        given[1:] = command.with_command(given[1:])
    arguments = parser.parse_args(given)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
