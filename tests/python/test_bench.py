"""Benchmarks: suites, runner, record, and the command line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import jaxmg
from jaxmg.bench import Case, load_suite, programs, record, report, run_suite
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
    names = ["scipy", "lapack", "jax"]
    ours, *rows = one_case(suite_of, dtype=dtype, n=50, rhs=rhs, baselines=names)
    for row in rows:
        assert row["status"] == "ok", row["message"]
        assert row["residual"] < 1
    assert set(ours["ratios"]) == set(names)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_inverses(suite_of, dtype):
    ours, jax = one_case(suite_of, routine="potri", dtype=dtype, n=50, baselines=["jax"])
    for row in (ours, jax):
        assert row["status"] == "ok", row["message"]
        assert 0 < row["residual"] < 1
    factor = 4 if dtype == "complex128" else 1
    assert ours["gflops"] * ours["median"] * 1e9 == pytest.approx(factor * 50**3)


def test_a_wrong_inverse_is_seen(suite_of, monkeypatch):
    monkeypatch.setattr(jaxmg, "potri", lambda a, *args, **kwargs: a)
    (ours,) = one_case(suite_of, routine="potri")
    assert ours["message"].startswith("residual ")


@pytest.mark.parametrize("rhs", [1, 3, 16])
def test_solves_with_a_kept_factor(suite_of, monkeypatch, rhs):
    factored = []
    cho_factor = jaxmg.cho_factor
    monkeypatch.setattr(
        jaxmg, "cho_factor", lambda *args, **kwargs: factored.append(1) or cho_factor(*args)
    )
    (ours,) = one_case(suite_of, routine="cho_solve", rhs=rhs)
    assert ours["status"] == "ok", ours["message"]
    assert len(ours["seconds"]) == 3 and len(factored) == 1
    assert ours["gflops"] * ours["median"] * 1e9 == pytest.approx(2 * 24**2 * rhs)


def test_donated_operands_are_made_anew(suite_of, monkeypatch):
    given = []
    potrs = jaxmg.potrs

    def spy(a, *args, **kwargs):
        given.append(a)
        return potrs(a, *args, **kwargs)

    monkeypatch.setattr(jaxmg, "potrs", spy)
    (ours,) = one_case(suite_of, donate=True, repeats=2)
    assert ours["status"] == "ok", ours["message"]
    assert ours["donated"]
    assert len(given) == 3
    assert all(a.is_deleted() for a in given)


def test_tables(suite_of):
    result = run(load_suite(suite_of(SMALL)))
    table = report.ratios(result).splitlines()
    assert len(table) == 2 + 4
    assert "baseline" in table[1]
    assert all("scipy" in line for line in table[2:])
    ours = result["rows"][0]
    assert float(table[2].split()[-1]) == pytest.approx(
        1 / ours["ratios"]["scipy"]["median"], abs=0.01
    )
    assert report.shares_of_gemm(result) == ""
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
    monkeypatch.setattr("jaxmg.bench.runner.SHORTEST_TURN", 0)
    one_case(suite_of, baselines=["scipy"], warmups=2, repeats=4)
    assert "".join(turns) == "aabb" + "ab" + "ba" + "ab" + "ba"


def test_short_runs_are_repeated_within_a_turn(suite_of, monkeypatch):
    def sleeps(case, problem):
        def turn():
            turns.append(None)
            time.sleep(0.01)
            return np.linalg.solve(problem.a, problem.b)

        return turn

    turns = []
    monkeypatch.setitem(BASELINES, "scipy", sleeps)
    _, row = one_case(suite_of, baselines=["scipy"], warmups=1, repeats=2)
    assert 9 <= len(turns) <= 15  # three turns of 50 ms
    assert all(0.01 < seconds < 0.03 for seconds in row["seconds"])


def test_what_fails_becomes_a_row(suite_of, monkeypatch):
    monkeypatch.setattr("jaxmg.bench.runner.SHORTEST_TURN", 0)

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
    monkeypatch.setattr(ROUTINES["potrs"], "baselines", tuple(names))
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
        (
            {"routine": "potrx"},
            r"case 1: routine: expected one of cho_solve, potrf, .*, got 'potrx'",
        ),
        ({"dtype": "float16"}, r"dtype: expected one of complex128, .*, got 'float16'"),
        ({"n": 0}, r"n: expected a whole number from 1 on, got 0"),
        ({"n": [8, "9"]}, r"n: expected a whole number from 1 on, got '9'"),
        ({"rhs": 1.5}, r"rhs: expected a whole number from 1 on, got 1.5"),
        ({"tile": -1}, r"tile: expected a whole number"),
        ({"repeats": True}, r"repeats: expected a whole number"),
        ({"baselines": "scipy"}, r"baselines: expected a list, got 'scipy'"),
        ({"donate": 1}, r"donate: expected true or false, got 1"),
        ({"routine": "potrf", "baselines": ["scipy"]}, r"expected one of cusolver_.*, got 'scipy'"),
        ({"baselines": ["tester"]}, r"baselines: expected one of .*, got 'tester'"),
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
    # What came to version 1 later is not required: older records stay valid.
    row = record.schema()["$defs"]["row"]
    assert set(row["properties"]) - set(row["required"]) == {"donated", "device_gflops"}
    assert set(row["required"]) < set(row["properties"])


@pytest.mark.parametrize("path", sorted(SUITES.parent.glob("results/*.json")), ids=lambda p: p.stem)
def test_records_of_this_repository(path):
    record.validate(json.loads(path.read_text()))


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


def test_environment_of_gpus(monkeypatch, tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\n"
        'case "$1" in --query*) printf "NVIDIA H200, 580.1\\nNVIDIA H200, 580.1\\n" ;;\n'
        '*) echo "| Driver Version: 580.1  CUDA Version: 13.0 |" ;; esac\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    environment = describe_environment("capped at 500 W")
    assert environment["gpus"] == {"names": ["NVIDIA H200"] * 2, "driver": "580.1", "cuda": "13.0"}
    assert environment["device_note"] == "capped at 500 W"
    text = as_text(environment)
    assert "gpu       NVIDIA H200" in text
    assert "note      capped at 500 W" in text


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
    assert environment.pop("engines").keys() == {"cpu", "cuda"}
    validator = jsonschema.Draft202012Validator(
        {**record.schema()["$defs"]["environment"], "$defs": record.schema()["$defs"]}
    )
    validator.validate(environment)
    assert environment["settings"]["jax_enable_x64"] is False
    done = command("info")
    assert done.stdout.startswith("python ")


# ---- Programs: a script stands for each, and writes down how it was called ---------------------

ON_GPUS = """
name: programs
platform: cpu
devices: 2
repeats: 2
cases:
  - { routine: potrf, dtype: float64, n: [32, 64], baselines: [gemm, cusolver_mg] }
  - { routine: potrs, dtype: float64, n: 64, baselines: [gemm, cusolver_dn, cusolver_mg, jax] }
"""

SCRIPT = """#!{python}
import json, sys
here, name = {here!r}, {name!r}
with open(here + "/calls", "a") as calls:
    calls.write(name + " " + " ".join(sys.argv[1:]) + "\\n")
given = sys.argv[1:]
options = dict(zip(given[::2], given[1::2]))
orders = [int(n) for n in options["--n"].split(",")]
{body}
"""

BASELINES_BODY = """
routine = options["--routine"]
print("a warning that is no JSON")
for n in orders:
    for tile in map(int, options["--tile"].split(",")) if routine.startswith("mg") else [None]:
        seconds = 4.0 if tile != 2048 else 2.0
        stages = {"gemm": ["gemm"], "mg_potri": ["potrf", "potri"]}.get(routine, ["potrf", "potrs"])
        print(json.dumps({
            "routine": routine, "dtype": options["--dtype"], "n": n, "tile": tile,
            "devices": [0, 1] if routine != "dn_potrs" else [0],
            "status": "ok", "message": None,
            "stages": {s: {"warmup_seconds": [9.0], "seconds": [seconds] * 2} for s in stages},
            "gflops": 100.0, "device_gflops": [40.0, 60.0] if routine == "gemm" else None,
            "residual": 0.5,
        }), flush=True)
"""


@pytest.fixture
def folder_of(tmp_path):
    """Makes a folder of programs that do what is given."""

    def make(**bodies):
        for name, body in bodies.items():
            path = tmp_path / name
            values = {"python": sys.executable, "here": str(tmp_path), "name": name, "body": body}
            path.write_text(SCRIPT.format(**values))
            path.chmod(0o755)
        return str(tmp_path)

    return make


def calls(folder):
    return (Path(folder) / "calls").read_text().splitlines()


def of_series(rows, case, series):
    return [row for row in rows if row["case"] == case and row["series"] == series]


def test_programs(suite_of, folder_of):
    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    result = run_suite(load_suite(suite_of(ON_GPUS), programs=folder), report=lambda _: None)
    record.validate(result)
    rows = result["rows"]
    assert all(row["status"] == "ok" for row in rows), [row["message"] for row in rows]

    # Three runs serve three cases.
    assert len(calls(folder)) == 3
    text = "\n".join(calls(folder))
    assert "--routine gemm --dtype float64 --n 16384 " in text
    assert "--routine dn_potrs --dtype float64 --n 64 " in text
    assert "--devices 0 --" in text
    mg = "--routine mg_potrs --dtype float64 --n 32,64 --tile 1024,2048,4096 --devices 0,1 "
    assert mg + "--warmups 1 --repeats 2" in text

    (factor,) = of_series(rows, 1, "jaxmg")
    assert (factor["routine"], factor["n"]) == ("potrf", 64)
    assert factor["gflops"] == pytest.approx(64**3 / 3 / factor["median"] / 1e9)
    assert factor["ratios"]["cusolver_mg"]["median"] == factor["median"] / 2  # its best tile
    assert [row["tile"] for row in of_series(rows, 1, "cusolver_mg")] == [1024, 2048, 4096]

    (gemm,) = of_series(rows, 2, "gemm")
    assert (gemm["routine"], gemm["n"], gemm["rhs"]) == ("gemm", programs.GEMM_ORDER, None)
    assert gemm["gflops"] == sum(gemm["device_gflops"]) == 100
    (dn,) = of_series(rows, 2, "cusolver_dn")
    assert (dn["routine"], dn["devices"], dn["warmup_seconds"]) == ("potrf", 1, [9])
    (ours,) = of_series(rows, 2, "jaxmg")
    assert ours["ratios"].keys() == {"cusolver_dn", "cusolver_mg", "jax"}
    assert ours["ratios"]["cusolver_mg"]["median"] == ours["median"] / 2

    shares = report.shares_of_gemm(result).splitlines()
    assert len(shares) == 2 + len(rows) - 3
    assert float(shares[2].split()[-1]) == pytest.approx(factor["gflops"] / 100, abs=0.01)


def test_programs_for_inverses_and_kept_factors(suite_of, folder_of):
    text = """
        platform: cpu
        devices: 2
        repeats: 2
        cases:
          - { routine: [potri, cho_solve], dtype: float64, n: 64, baselines: [cusolver_mg] }
    """
    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    rows = run_suite(load_suite(suite_of(text), programs=folder), report=lambda _: None)["rows"]
    inverse = of_series(rows, 0, "cusolver_mg")[1]  # factored and inverted in 2 s each
    assert (inverse["routine"], inverse["median"]) == ("potri", 4)
    assert inverse["gflops"] == pytest.approx(64**3 / 4 / 1e9)
    solve = of_series(rows, 1, "cusolver_mg")[1]
    assert (solve["routine"], solve["median"]) == ("cho_solve", 2)
    assert solve["gflops"] == pytest.approx(2 * 64**2 / 2 / 1e9)


def test_programs_run_before_jax_starts(suite_of, folder_of, monkeypatch):
    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    order = []
    monkeypatch.setattr(
        "jaxmg.bench.runner.configure", lambda suite: order.append(len(calls(folder)))
    )
    run_suite(load_suite(suite_of(ON_GPUS), programs=folder), report=lambda _: None)
    assert order == [3]


def test_programs_that_are_not_there(suite_of, tmp_path):
    for folder in (None, str(tmp_path)):
        result = run_suite(load_suite(suite_of(ON_GPUS), programs=folder), report=lambda _: None)
        record.validate(result)
        rows = result["rows"]
        (ours,) = of_series(rows, 2, "jaxmg")
        assert ours["status"] == "ok"
        assert set(ours["ratios"]) == {"jax"}
        expected = folder or "programs: in the suite or --programs"
        (gemm,) = of_series(rows, 2, "gemm")
        assert gemm["message"].startswith(
            f"jaxmg_baselines: expected in {expected}, where it is not"
        )
        assert report.shares_of_gemm(result) == ""


def request(series, orders=(32, 64)):
    return programs.Request(series, programs.SERIES[series]["potrs"], "float64", 2, 1, 2, orders)


def test_programs_that_fail(folder_of, monkeypatch):
    def run_with(body, series="cusolver_dn"):
        return programs.run(request(series), folder_of(jaxmg_baselines=body))

    # What it has told before it dies counts; half a line does not.
    first, second = run_with(
        BASELINES_BODY.replace("for n in orders", "for n in orders[:1]")
        + "print('{\"n\": 6', end='')\nsys.exit('no device')"
    )
    assert (first.n, first.failure) == (32, None)
    assert (second.n, second.failure) == (
        64,
        "jaxmg_baselines: exit status 1, without a result: no device",
    )
    (lost,) = {outcome.failure for outcome in run_with("print('{\"n\": 32}')")}
    assert lost == "jaxmg_baselines: not the JSON expected: KeyError('stages')"

    monkeypatch.setattr(programs, "TIMEOUT", 2)
    first, second = run_with(
        BASELINES_BODY.replace("for n in orders", "for n in orders[:1]")
        + "import time\ntime.sleep(60)"
    )
    assert first.failure is None
    assert second.failure == "jaxmg_baselines: took more than 2 s"


def test_suite_of_two_gpus():
    dtypes = {"float32", "float64", "complex64", "complex128"}
    suite = load_suite(SUITES / "cuda-2-potrs.yaml")
    assert suite.programs == "build/bin"
    runs = {(r.series, r.dtype): r for r in programs.requests_of(suite)}
    assert runs["cusolver_mg", "float64"].orders == (16384, 32768, 65536)
    assert {c.n for c in suite.cases if c.routine == "potrf"} == {32768, 65536}
    assert {dtype for series, dtype in runs if series == "gemm"} == dtypes
    assert all(case.donate for case in suite.cases)
    small = load_suite(SUITES / "cuda-2-small.yaml")
    against_jax = {(c.dtype, c.n) for c in small.cases if c.baselines == ("jax",)}
    assert against_jax == {(d, 2**k) for d in dtypes for k in range(9, 14)}
