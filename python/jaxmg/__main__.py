"""``python -m jaxmg``: `info` says what is installed, `bench` measures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence


def _info(arguments: argparse.Namespace) -> int:
    from ._library import engines
    from .bench.environment import as_text, describe_environment

    environment = describe_environment()
    if arguments.json:
        print(json.dumps(environment | {"engines": engines()}, indent=1))
        return 0
    print(as_text(environment))
    for platform, there in engines().items():
        print(f"engine    {platform}: {there}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    from .bench import command

    parser = argparse.ArgumentParser(prog="python -m jaxmg", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show versions, processor, BLAS, devices and engines")
    info.add_argument("--json", action="store_true", help="as JSON, for bug reports")
    info.set_defaults(run=_info)

    bench = commands.add_parser("bench", help="measure, draw, compare")
    command.add_to(bench)

    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["bench"]:
        given[1:] = command.with_command(given[1:])
    arguments = parser.parse_args(given)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
