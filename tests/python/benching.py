"""Small suites, and runs of them in this process, for the tests of the benchmarks."""

from pathlib import Path

from jaxmg.bench import Choices, record, run_suite
from jaxmg.bench.suite import suite_of

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
RESULTS = SUITES.parent / "results"

SMALL = """
name: small
platform: cpu
devices: 8
repeats: 3
baselines: [scipy]
cases:
  - { routine: potrs, dtype: [float32, complex128], n: [40, 37], tile: 3 }
  - { routine: potrs, dtype: float64, n: 64, rhs: 5, repeats: 2, warmups: 2, baselines: [] }
"""


def suite_with(*cases, **settings):
    """A suite on eight CPU devices; a case is a small potrs one, where it says nothing else."""
    choices = settings.pop("choices", Choices())
    small = {"routine": "potrs", "dtype": "float64", "n": 24, "repeats": 3}
    content = {"platform": "cpu", "devices": 8, "cases": [{**small, **case} for case in cases]}
    return suite_of({**content, **settings}, "small", choices)


def run(suite, **options):
    """The record of a suite, as it should be, and the lines on the console."""
    lines = []
    result = run_suite(suite, lines.append, **options)
    record.validate(result)
    return result, lines


def one_case(**case):
    """The rows of a small potrs case."""
    result, lines = run(suite_with(case))
    assert len(lines) == 1 + len(result["rows"])
    return result["rows"]


def of_series(rows, case, series):
    return [row for row in rows if row["case"] == case and row["series"] == series]


def row(series="jaxmg", n=64, seconds=(1.0, 1.0), **fields):
    """A row of a record that nobody has measured."""
    made = {
        "case": 0,
        "routine": "potrs",
        "dtype": "float64",
        "n": n,
        "rhs": 1,
        "devices": 2,
        "matrix": "random",
        "kappa": 1e3,
        "tile": None,
        "series": series,
        "status": "ok",
        "message": None,
        "warmup_seconds": [9.0],
        "seconds": list(seconds),
        "median": sum(seconds) / len(seconds),
        "min": min(seconds),
        "gflops": 50.0,
        "residual": 0.1,
        "ratios": {},
    }
    return made | fields


def record_of(*rows):
    """A record that nobody has measured."""
    made = {
        "version": record.VERSION,
        "suite": "made",
        "started": "2026-11-23T05:46:02+00:00",
        "environment": {
            "versions": dict.fromkeys(["python", "jaxmg", "jax", "jaxlib", "numpy", "scipy"], "1"),
            "revision": None,
            "platform": "none",
            "cpu": {"model": None, "cores": 1},
            "blas": None,
            "devices": [{"platform": "cpu", "kind": "cpu", "count": 2}],
            "settings": {},
        },
        "rows": list(rows),
    }
    record.validate(made)
    return made
