"""Benchmarks: suites, runner, record, and the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from jaxmg.bench import Case, load_suite, record, report, run_suite
from jaxmg.bench.baselines import BASELINES
from jaxmg.bench.environment import as_text, describe_environment
from jaxmg.bench.routines import ROUTINES
from jaxmg.bench.suite import needs_x64

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"

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


@pytest.fixture
def suite_of(tmp_path):
    def write(text):
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return path

    return write


def run(suite):
    lines = []
    result = run_suite(suite, report=lines.append)
    record.validate(result)
    assert len(lines) == 1 + len(result["rows"])
    return result


def one_case(suite_of, **settings):
    """The rows of a small potrs case."""
    fields = {"routine": "potrs", "dtype": "float64", "n": 24, "repeats": 3, **settings}
    text = json.dumps({"platform": "cpu", "devices": 8, "cases": [fields]})
    return run(load_suite(suite_of(text)))["rows"]


def test_a_run(suite_of):
    result = run(load_suite(suite_of(SMALL)))
    assert result["suite"] == "small"
    rows = result["rows"]
    assert [(r["case"], r["dtype"], r["n"], r["series"]) for r in rows] == [
        *((0, "float32", 40, s) for s in ("jaxmg", "scipy")),
        *((1, "float32", 37, s) for s in ("jaxmg", "scipy")),
        *((2, "complex128", 40, s) for s in ("jaxmg", "scipy")),
        *((3, "complex128", 37, s) for s in ("jaxmg", "scipy")),
        (4, "float64", 64, "jaxmg"),
    ]
    for row in rows:
        assert row["status"] == "ok", row["message"]
        assert row["devices"] == 8
        assert len(row["seconds"]) == (2 if row["case"] == 4 else 3)
        assert len(row["warmup_seconds"]) == (2 if row["case"] == 4 else 1)
        assert row["min"] == min(row["seconds"])
        assert row["median"] == np.median(row["seconds"])
        assert 0 <= row["residual"] < 1
    assert [r["tile"] for r in rows] == [3, None] * 4 + [None]
    assert rows[0]["ratios"]["scipy"] == {
        value: rows[0][value] / rows[1][value] for value in ("median", "min")
    }
    assert all(row["ratios"] == {} for row in [*rows[1::2], rows[8]])
    assert rows[8]["rhs"] == 5
    assert rows[8]["gflops"] * rows[8]["median"] * 1e9 == pytest.approx(64**3 / 3 + 10 * 64**2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("rhs", [1, 4])
def test_baselines(suite_of, dtype, rhs):
    ours, *rows = one_case(suite_of, dtype=dtype, n=50, rhs=rhs, baselines=["scipy", "lapack"])
    for row in rows:
        assert row["status"] == "ok", row["message"]
        assert row["residual"] < 1
    assert set(ours["ratios"]) == {"scipy", "lapack"}


def test_tables(suite_of):
    result = run(load_suite(suite_of(SMALL)))
    table = report.ratios(result).splitlines()
    assert len(table) == 2 + 4
    assert "baseline" in table[1]
    assert all("scipy" in line for line in table[2:])
    assert "float32" in report.line(result["rows"][0])
    assert report.ratios({"rows": result["rows"][8:]}) == ""


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_problem_is_well_conditioned(mesh, dtype):
    problem = ROUTINES["potrs"].problem(Case("potrs", dtype, 96, rhs=2, devices=8), mesh)
    a = np.asarray(problem.a)
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, a.conj().T)
    eigenvalues = np.linalg.eigvalsh(a)
    assert eigenvalues[0] > 1
    assert eigenvalues[-1] < 5
    assert problem.b.shape == (96, 2)


def test_flops_count_complex_as_four():
    flops = ROUTINES["potrs"].flops
    assert flops(Case("potrs", "float32", 30)) == 30**3 / 3 + 2 * 30**2
    assert flops(Case("potrs", "complex64", 30)) == 4 * flops(Case("potrs", "float32", 30))


def test_series_take_turns(suite_of, monkeypatch):
    turns = []

    def recorded(name, make):
        def prepare(case, problem):
            once = make(case, problem)

            def turn():
                turns.append(name)
                return once()

            return turn

        return prepare

    monkeypatch.setattr(ROUTINES["potrs"], "prepare", recorded("a", ROUTINES["potrs"].prepare))
    monkeypatch.setitem(BASELINES, "scipy", recorded("b", BASELINES["scipy"]))
    one_case(suite_of, baselines=["scipy"], warmups=2, repeats=4)
    assert "".join(turns) == "aabb" + "ab" + "ba" + "ab" + "ba"


def test_what_fails_becomes_a_row(suite_of, monkeypatch):
    def cannot(case, problem):
        raise NotImplementedError("not for this case")

    def runs_out_of_memory(case, problem):
        calls = []

        def turn():
            calls.append(1)
            if len(calls) == 3:
                raise MemoryError("4 TiB\nand more")
            return problem.b

        return turn

    def wrong(case, problem):
        return lambda: 2 * problem.b

    def not_finite(case, problem):
        return lambda: np.nan * problem.b

    for baseline in (cannot, runs_out_of_memory, wrong, not_finite):
        monkeypatch.setitem(BASELINES, baseline.__name__, baseline)
    names = ["cannot", "runs_out_of_memory", "wrong", "not_finite", "scipy"]
    ours, *rows, scipy = one_case(suite_of, baselines=names)
    assert ours["status"] == scipy["status"] == "ok"
    assert set(ours["ratios"]) == {"scipy"}
    assert all(row["status"] == "failed" for row in rows)
    assert rows[0]["message"] == "NotImplementedError: not for this case"
    assert rows[0]["seconds"] == []
    assert rows[0]["median"] is None
    assert rows[1]["message"] == "MemoryError: 4 TiB\nand more"
    assert len(rows[1]["seconds"]) == 1
    assert report.line(rows[1]).endswith("failed: MemoryError: 4 TiB ...")
    assert rows[2]["message"].startswith("residual ")
    assert rows[2]["residual"] > 1e10
    assert rows[3]["message"] == "residual nan, expected at most 10"
    assert rows[3]["residual"] is None


def test_operands_that_fail(suite_of, monkeypatch):
    def problem(case, mesh):
        raise MemoryError("no room")

    monkeypatch.setattr(ROUTINES["potrs"], "problem", problem)
    rows = one_case(suite_of, baselines=["scipy"])
    assert [row["message"] for row in rows] == ["operands: MemoryError: no room"] * 2


def test_more_devices_than_there_are(suite_of):
    text = "{platform: cpu, devices: 9, cases: [{routine: potrs, dtype: float32, n: 8}]}"
    with pytest.raises(RuntimeError, match="expected 9 cpu devices, got 8; run it in a process"):
        run_suite(load_suite(suite_of(text)))


def test_combinations_and_defaults(suite_of):
    suite = load_suite(suite_of(SMALL))
    assert len(suite.cases) == 5
    assert suite.cases[1] == Case(
        "potrs", "float32", 37, 1, devices=8, tile=3, repeats=3, baselines=("scipy",)
    )
    assert suite.cases[4].baselines == ()
    assert needs_x64(suite)
    assert {case.repeats for case in load_suite(suite_of(SMALL), repeats=9).cases} == {9}


def test_64_bit_types_only_where_a_case_needs_them(suite_of):
    text = "{platform: cpu, devices: 1, cases: [{routine: potrs, dtype: [%s], n: 8}]}"
    assert not needs_x64(load_suite(suite_of(text % "float32, complex64")))
    assert needs_x64(load_suite(suite_of(text % "float32, complex128")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", r"suite.yaml: not YAML"),
        ("[1, 2]", r"suite: expected a mapping with platform, devices, cases"),
        ("{platform: cpu, devices: 8}", r"suite: expected cases, which is missing"),
        ("{platform: cpu, devices: 8, cases: []}", r"cases: expected a list of cases"),
        ("{platform: cpu, devices: 0, cases: [{}]}", r"devices: expected a whole number from 1 on"),
        ("{platform: cpu, devices: 8, sizes: 3, cases: [{}]}", r"suite: .*, got 'sizes'"),
        ("{platform: cpu, devices: 8, cases: [{dtype: x}]}", r"case 1: expected routine, which"),
    ],
)
def test_suites_with_mistakes(suite_of, text, message):
    with pytest.raises(ValueError, match=message):
        load_suite(suite_of(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"routine": "potrx"}, r"case 1: routine: expected one of potrs, got 'potrx'"),
        ({"dtype": "float16"}, r"dtype: expected one of complex128, .*, got 'float16'"),
        ({"n": 0}, r"n: expected a whole number from 1 on, got 0"),
        ({"n": [8, "9"]}, r"n: expected a whole number from 1 on, got '9'"),
        ({"rhs": 1.5}, r"rhs: expected a whole number from 1 on, got 1.5"),
        ({"tile": -1}, r"tile: expected a whole number"),
        ({"repeats": True}, r"repeats: expected a whole number"),
        ({"baselines": "scipy"}, r"baselines: expected a list, got 'scipy'"),
        ({"baselines": ["mkl"]}, r"baselines: expected one of .*scipy.*, got 'mkl'"),
        ({"tiles": 3}, r"case 1: expected one of .*, got 'tiles'"),
    ],
)
def test_cases_with_mistakes(suite_of, change, message):
    case = {"routine": "potrs", "dtype": "float32", "n": 8, **change}
    with pytest.raises(ValueError, match=message):
        load_suite(suite_of(json.dumps({"platform": "cpu", "devices": 8, "cases": [case]})))


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_suites_of_this_repository(path):
    suite = load_suite(path)
    assert suite.name == path.stem
    assert suite.cases


def test_schema():
    jsonschema.Draft202012Validator.check_schema(record.schema())
    row = record.schema()["$defs"]["row"]
    assert set(row["required"]) == set(row["properties"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("suite"), r"record: 'suite' is a required property"),
        (lambda r: r.update(version=2), r"record.version: 1 was expected"),
        (lambda r: r.update(more=1), r"record: .*'more' was unexpected"),
        (lambda r: r["rows"][0].update(n=0), r"record.rows\[0\].n: "),
        (lambda r: r["rows"][0].update(median=None), r"record.rows\[0\].median: "),
        (lambda r: r["rows"][1].update(status="failed"), r"record.rows\[1\].message: "),
    ],
)
def test_records_with_mistakes(suite_of, tmp_path, change, message):
    text = SMALL.replace("[40, 37]", "8").replace("[float32, complex128]", "float32")
    result = run(load_suite(suite_of(text)))
    path = tmp_path / "new" / "record.json"
    record.write(result, path)
    assert json.loads(path.read_text()) == result
    change(result)
    with pytest.raises(ValueError, match=message):
        record.write(result, path)
    record.validate(json.loads(path.read_text()))


def test_environment():
    environment = describe_environment()
    assert environment["devices"] == [{"platform": "cpu", "kind": "cpu", "count": 8}]
    assert environment["cpu"]["cores"] >= 1
    assert environment["settings"]["jax_enable_x64"] is True
    text = as_text(environment)
    for line in ("jax ", "jaxlib ", "revision ", "cpu ", "blas ", "devices   8 x cpu"):
        assert f"\n{line}" in text


def test_environment_without_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    environment = describe_environment()
    assert environment["blas"] is None
    assert 'pip install "jaxmg[bench]"' in as_text(environment)


@pytest.mark.parametrize("module", ["yaml", "jsonschema"])
def test_missing_packages(suite_of, monkeypatch, module):
    path = suite_of(SMALL)
    monkeypatch.setitem(sys.modules, module, None)
    call = {"yaml": lambda: load_suite(path), "jsonschema": record.validator}[module]
    with pytest.raises(ImportError, match=rf'needs {module}.*pip install "jaxmg\[bench\]"'):
        call()


def command(*arguments):
    # A process of its own: no devices and no 64-bit types before it asks for them.
    clean = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")}
    return subprocess.run(
        [sys.executable, "-m", "jaxmg", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=clean,
        timeout=120,
        check=False,
    )


def test_command_bench(suite_of, tmp_path):
    output = tmp_path / "record.json"
    done = command("bench", suite_of(SMALL), "--output", output, "--repeat", 2)
    assert done.returncode == 0, done.stderr
    assert f"written to {output}" in done.stdout
    assert "time of jaxmg / time of the baseline" in done.stdout
    assert "[5/5] potrs float64 n=64" in done.stderr
    result = json.loads(output.read_text())
    record.validate(result)
    assert len(result["rows"]) == 9
    assert all(len(row["seconds"]) == 2 for row in result["rows"])
    assert result["environment"]["settings"]["jax_enable_x64"] is True
    assert result["environment"]["devices"][0]["count"] == 8


def test_command_bench_refuses(suite_of, tmp_path):
    done = command("bench", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("bench", suite_of("platform: cpu"), "--repeat", 0)
    assert done.returncode == 2
    assert "expected at least 1, got 0" in done.stderr


def test_command_info():
    done = command("info", "--json")
    assert done.returncode == 0, done.stderr
    environment = json.loads(done.stdout)
    validator = jsonschema.Draft202012Validator(
        {**record.schema()["$defs"]["environment"], "$defs": record.schema()["$defs"]}
    )
    validator.validate(environment)
    assert environment["settings"]["jax_enable_x64"] is False
    done = command("info")
    assert done.stdout.startswith("python ")
