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


def _bench(arguments: argparse.Namespace) -> int:
    from .bench import load_suite, record, report, run_suite

    try:
        suite = load_suite(arguments.suite, arguments.repeat, arguments.programs)
        record.validator()  # what a long run would end without
        result = run_suite(suite, device_note=arguments.device_note)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(f"jaxmg bench: {error}", file=sys.stderr)
        return 2
    for table in (report.ratios(result), report.shares_of_gemm(result)):
        if table:
            print("\n" + table)
    if arguments.output is None:
        record.validate(result)
    else:
        record.write(result, arguments.output)
        print(f"\nwritten to {arguments.output}")
    return 1 if any(row["status"] == "failed" for row in result["rows"]) else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxmg", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show versions, processor, BLAS, devices and engines")
    info.add_argument("--json", action="store_true", help="as JSON, for bug reports")
    info.set_defaults(run=_info)

    bench = commands.add_parser(
        "bench",
        help="measure the cases of a suite",
        epilog="Exit status: 0 all went well, 1 some rows failed, 2 nothing was measured.",
    )
    bench.add_argument("suite", metavar="SUITE.yaml", help="see benchmarks/suites")
    bench.add_argument("--output", metavar="FILE.json", help="write the record there")
    bench.add_argument("--repeat", type=_positive, metavar="N", help="timed runs of every case")
    bench.add_argument(
        "--programs", metavar="FOLDER", help="where jaxmg_baselines and jaxmg_tester are"
    )
    bench.add_argument("--device-note", metavar="TEXT", help="about the devices, for the record")
    bench.set_defaults(run=_bench)

    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
