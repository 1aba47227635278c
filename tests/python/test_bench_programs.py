"""Baselines that are programs: a script stands for each, and writes down how it was called."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from benching import of_series, run, suite_with

from jaxmg.bench import Choices, programs, report

ON_GPUS = (
    {"routine": "potrf", "repeats": 2, "n": [32, 64], "baselines": ["gemm", "cusolver_mg"]},
    {"n": 64, "repeats": 2, "baselines": ["gemm", "cusolver_dn", "cusolver_mg", "jax"]},
)

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


def on_gpus(folder, *cases):
    choices = Choices(programs=folder)
    return suite_with(*(cases or ON_GPUS), devices=2, choices=choices)


def test_programs(folder_of):
    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    result, _ = run(on_gpus(folder))
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


def test_programs_for_inverses_and_kept_factors(folder_of):
    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    case = {"routine": ["potri", "cho_solve"], "n": 64, "repeats": 2, "baselines": ["cusolver_mg"]}
    rows = run(on_gpus(folder, case))[0]["rows"]
    inverse = of_series(rows, 0, "cusolver_mg")[1]  # factored and inverted in 2 s each
    assert (inverse["routine"], inverse["median"]) == ("potri", 4)
    assert inverse["gflops"] == pytest.approx(64**3 / 4 / 1e9)
    solve = of_series(rows, 1, "cusolver_mg")[1]
    assert (solve["routine"], solve["median"]) == ("cho_solve", 2)
    assert solve["gflops"] == pytest.approx(2 * 64**2 / 2 / 1e9)


@pytest.mark.parametrize("folders", [["cu13"], ["cublas", "cusolver"]])
def test_programs_find_the_libraries_of_either_cuda(monkeypatch, tmp_path, folders):
    for folder in (*(f"{name}/lib" for name in folders), "cuda_nvcc/bin"):
        (tmp_path / "nvidia" / folder).mkdir(parents=True)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / "nvidia")])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/before")
    places = programs._environment()["LD_LIBRARY_PATH"].split(":")
    assert places == ["/before", *(str(tmp_path / "nvidia" / name / "lib") for name in folders)]


def test_programs_run_before_jax_starts(folder_of, monkeypatch):
    class Stop(Exception):
        pass

    def configure(suite):
        raise Stop

    folder = folder_of(jaxmg_baselines=BASELINES_BODY)
    monkeypatch.setattr("jaxmg.bench.runner.configure", configure)
    with pytest.raises(Stop):
        run(on_gpus(folder))
    assert len(calls(folder)) == 3


def test_programs_that_are_not_there(tmp_path):
    case = {"n": 16, "baselines": ["gemm", "cusolver_mg"]}
    rows = run(on_gpus(str(tmp_path), case))[0]["rows"]
    (ours,) = of_series(rows, 0, "jaxmg")
    assert (ours["status"], ours["ratios"]) == ("ok", {})
    for series in ("gemm", "cusolver_mg"):
        (row,) = of_series(rows, 0, series)
        assert row["message"].startswith(
            f"jaxmg_baselines: expected in {tmp_path}, where it is not"
        )
    (lost,) = programs.run(request("cusolver_mg", (64,)), None)
    assert lost.failure.startswith("jaxmg_baselines: expected in programs: in the suite or --pro")


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
