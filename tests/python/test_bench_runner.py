"""The runner: what is timed, in which order, and what becomes of failures."""

import time

import jax
import numpy as np
import pytest
from benching import of_series, one_case, run, suite_with
from devices import device_mesh

import jaxmg
from jaxmg.bench import report, runner, series
from jaxmg.bench.baselines import BASELINES
from jaxmg.bench.gemm import measure_gemm
from jaxmg.bench.progress import Progress, in_words, seconds_left
from jaxmg.bench.routines import ROUTINES, Problem


@pytest.fixture
def short_turns(monkeypatch):
    monkeypatch.setattr(series, "SHORTEST_TURN", 0)


def test_a_run():
    cases = (
        {"dtype": ["float32", "complex128"], "n": [40, 37], "tile": 3, "baselines": ["scipy"]},
        {"n": 64, "rhs": 5, "repeats": 2, "warmups": 2},
    )
    result, lines = run(suite_with(*cases))
    rows = result["rows"]
    assert len(lines) == 1 + len(rows)
    assert [(r["case"], r["dtype"], r["n"], r["series"]) for r in rows] == [
        *((0, "float32", 40, s) for s in ("jaxmg", "scipy")),
        *((1, "float32", 37, s) for s in ("jaxmg", "scipy")),
        *((2, "complex128", 40, s) for s in ("jaxmg", "scipy")),
        *((3, "complex128", 37, s) for s in ("jaxmg", "scipy")),
        (4, "float64", 64, "jaxmg"),
    ]
    for row in rows:
        assert row["status"] == "ok", row["message"]
        assert (row["devices"], row["matrix"], row["kappa"]) == (8, "random", 1e3)
        assert len(row["seconds"]) == (2 if row["case"] == 4 else 3)
        assert len(row["warmup_seconds"]) == (2 if row["case"] == 4 else 1)
        assert row["min"] == min(row["seconds"])
        assert row["median"] == np.median(row["seconds"])
        assert 0 <= row["residual"] < 1
        assert "array_seconds" not in row
    assert [r["tile"] for r in rows] == [3, None] * 4 + [None]
    assert rows[0]["ratios"]["scipy"] == {
        value: rows[0][value] / rows[1][value] for value in ("median", "min")
    }
    assert all(row["ratios"] == {} for row in [*rows[1::2], rows[8]])
    assert rows[8]["rhs"] == 5
    assert rows[8]["gflops"] * rows[8]["median"] * 1e9 == pytest.approx(64**3 / 3 + 10 * 64**2)
    table = report.ratios(result).splitlines()
    assert len(table) == 2 + 4
    assert all("scipy" in line for line in table[2:])
    assert float(table[2].split()[-1]) == pytest.approx(
        1 / rows[0]["ratios"]["scipy"]["median"], abs=0.01
    )


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_baselines(dtype):
    names = ["scipy", "lapack", "jax"]
    rhs = {"float32": 1, "complex128": 4}[dtype]
    ours, *rows = one_case(dtype=dtype, n=50, rhs=rhs, baselines=names)
    for row in rows:
        assert row["status"] == "ok", row["message"]
        assert row["residual"] < 1
    assert set(ours["ratios"]) == set(names)


def test_inverses():
    ours, jax = one_case(routine="potri", dtype="complex128", n=24, baselines=["jax"])
    for row in (ours, jax):
        assert row["status"] == "ok", row["message"]
        assert 0 < row["residual"] < 1
    assert ours["gflops"] * ours["median"] * 1e9 == pytest.approx(4 * 24**3)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_eigenvectors(dtype):
    case = {"matrix": "diagonal", "n": 24} if dtype == "float32" else {"n": 25}
    ours, *rows = one_case(routine="syevd", dtype=dtype, baselines=["jax", "scipy"], **case)
    for row in (ours, *rows):
        assert row["status"] == "ok", row["message"]
        assert 0 < row["residual"] < 2
    factor = 4 if dtype == "complex128" else 1
    assert ours["gflops"] * ours["median"] * 1e9 == pytest.approx(factor * 9 * case["n"] ** 3)


def test_wrong_eigenvectors_are_seen(mesh):
    """Those that are turned, not orthogonal, of other values; and values that are those of another
    matrix, with vectors to match."""
    routine = ROUTINES["syevd"]
    (case,) = suite_with({"routine": "syevd", "dtype": "complex128"}).cases
    problem = routine.problem(case, mesh)
    w, v = np.linalg.eigh(problem.a)
    turned, scaled, swapped = v.conj(), v.copy(), w[::-1]
    scaled[:, 0] *= 1 + 1e-9
    assert routine.residual(case, problem, (w, v)) < 2
    for wrong in ((w, turned), (w, scaled), (swapped, v), (w * np.nan, v)):
        assert not routine.residual(case, problem, wrong) < 1e3
    other = np.asarray(problem.a) + 1e-9 * np.diag(np.arange(case.n))
    problem.__dict__["a"] = jax.device_put(other, problem.a.sharding)
    assert routine.residual(case, problem, np.linalg.eigh(other)) > 1e3


def test_a_wrong_inverse_is_seen(monkeypatch):
    monkeypatch.setattr(jaxmg, "potri", lambda a, *args, **kwargs: a)
    (ours,) = one_case(routine="potri")
    assert ours["message"].startswith("residual ")


@pytest.mark.parametrize("rhs", [1, 16])
def test_solves_with_a_kept_factor(monkeypatch, rhs):
    factored = []
    cho_factor = jaxmg.cho_factor
    monkeypatch.setattr(
        jaxmg, "cho_factor", lambda *args, **kwargs: factored.append(1) or cho_factor(*args)
    )
    (ours,) = one_case(routine="cho_solve", rhs=rhs)
    assert ours["status"] == "ok", ours["message"]
    assert len(ours["seconds"]) == 3 and len(factored) == 1
    assert ours["gflops"] * ours["median"] * 1e9 == pytest.approx(2 * 24**2 * rhs)


def test_flops_count_complex_as_four():
    flops = ROUTINES["potrs"].flops
    (real, other) = suite_with({"dtype": ["float32", "complex64"], "n": 30}).cases
    assert flops(real) == 30**3 / 3 + 2 * 30**2
    assert flops(other) == 4 * flops(real)


def test_on_fewer_devices_than_there_are():
    result, _ = run(suite_with({"devices": [1, 2], "baselines": ["jax"]}))
    ours = [row for row in result["rows"] if row["series"] == "jaxmg"]
    assert [row["devices"] for row in ours] == [1, 2]
    assert all(row["status"] == "ok" for row in result["rows"])


def test_more_devices_than_there_are():
    with pytest.raises(RuntimeError, match="expected 9 cpu devices, got 8; run it in a process"):
        run(suite_with({}, devices=9))


# ---- Turns, tiles, operands ---------------------------------------------------------------------


def recorded(name, make, turns):
    def prepare(case, problem):
        once = make(case, problem)

        def turn():
            turns.append(name if case.tile is None else str(case.tile))
            return once()

        return turn

    return prepare


def test_series_take_turns(monkeypatch, short_turns):
    turns = []
    monkeypatch.setattr(
        ROUTINES["potrs"], "prepare", recorded("a", ROUTINES["potrs"].prepare, turns)
    )
    monkeypatch.setitem(BASELINES, "scipy", recorded("b", BASELINES["scipy"], turns))
    ours, tiled, scipy = one_case(tile=["auto", 3], baselines=["scipy"], warmups=2, repeats=3)
    assert "".join(turns) == "aa33bb" + "a3b" + "b3a" + "a3b"
    assert [row["tile"] for row in (ours, tiled, scipy)] == [None, 3, None]
    assert {row["case"] for row in (ours, tiled, scipy)} == {0}
    for row in (ours, tiled):
        assert row["ratios"]["scipy"]["median"] == row["median"] / scipy["median"]


def test_engines_are_series(monkeypatch, short_turns):
    """On CPUs the other one says that it is for GPUs; a stand-in has its times."""
    ours, other = one_case(engine=["jaxmg", "cusolvermg"], tile=3)
    assert (ours["series"], ours["status"]) == ("jaxmg", "ok")
    assert (other["series"], other["tile"], other["status"]) == ("cusolvermg", 3, "failed")
    assert "expected 'jaxmg' on CPU devices, got 'cusolvermg'" in other["message"]

    potrs = jaxmg.potrs
    monkeypatch.setattr(jaxmg, "potrs", lambda *args, engine, **options: potrs(*args, **options))
    ours, other = one_case(engine=["jaxmg", "cusolvermg"], tile=3, donate=True)
    assert (ours["status"], other["status"]) == ("ok", "ok")
    assert ours["donated"] and other["donated"]
    assert ours["ratios"]["cusolvermg"]["median"] == ours["median"] / other["median"]
    assert other["ratios"] == {}


def test_short_runs_are_repeated_within_a_turn(monkeypatch):
    def sleeps(case, problem):
        def turn():
            turns.append(None)
            time.sleep(0.01)
            return np.linalg.solve(problem.a, problem.b)

        return turn

    turns = []
    monkeypatch.setitem(BASELINES, "scipy", sleeps)
    _, row = one_case(baselines=["scipy"], warmups=1, repeats=2)
    assert 9 <= len(turns) <= 15  # three turns of 50 ms
    assert all(0.01 < seconds < 0.03 for seconds in row["seconds"])


def test_no_more_runs_once_they_took_long(monkeypatch, short_turns):
    ours, slow = one_case(baselines=["jax"], repeats=4, max_seconds=1e-9)
    assert len(ours["seconds"]) == len(slow["seconds"]) == 1
    assert ours["status"] == slow["status"] == "ok"
    assert ours["residual"] < 1


def test_donated_operands_are_made_anew(monkeypatch, short_turns):
    given = []
    potrs = jaxmg.potrs

    def spy(a, *args, **kwargs):
        given.append(a)
        return potrs(a, *args, **kwargs)

    monkeypatch.setattr(jaxmg, "potrs", spy)
    (ours,) = one_case(donate=True, repeats=2)
    assert ours["status"] == "ok", ours["message"]
    assert ours["donated"]
    assert len(given) == 3
    assert all(a.is_deleted() for a in given)


CALLS = {
    "cho_solve": ("cho_solve",),
    "potrf": ("cho_factor",),
    "potri": ("potri",),
    "potrs": ("potrs", "potrs_jit_ctx"),
    "syevd": ("syevd", "syevd_jit_ctx"),
}


@pytest.mark.filterwarnings("error:Some donated buffers")
@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("routine", ROUTINES)
def test_calls_within_a_jit_and_by_themselves(monkeypatch, short_turns, routine, donate):
    """A donated matrix is destroyed in either way, and does not stay beside a second one."""

    def spied(call):
        def spy(operand, *args, **kwargs):
            leaf = jax.tree.leaves(operand)[0]
            traced.append(isinstance(leaf, jax.core.Tracer))
            return call(operand, *args, **kwargs)

        return spy

    def make(self):
        given.append(made(self))
        return given[-1]

    traced, given = [], []
    made = Problem.make
    monkeypatch.setattr(Problem, "make", make)
    for name in CALLS[routine]:
        monkeypatch.setattr(jaxmg, name, spied(getattr(jaxmg, name)))
    for jit, expected in ((True, {True}), (False, {False})):
        (ours,) = one_case(routine=routine, n=32, donate=donate, jit=jit, repeats=2)
        assert ours["status"] == "ok", ours["message"]
        assert ours.get("jit", False) == jit
        assert set(traced) == expected
        traced.clear()
    if donate and routine != "cho_solve":
        assert len(given) == 6
        assert all(a.is_deleted() for a, _ in given)


@pytest.mark.parametrize("donate", [False, True])
def test_times_of_making_the_arrays(monkeypatch, short_turns, donate):
    def slowly(self):
        time.sleep(0.02)
        return make(self)

    problem = type(ROUTINES["potrs"].problem(suite_with({}).cases[0], None))
    make = problem.make
    monkeypatch.setattr(problem, "make", slowly)
    ours, jax_ = one_case(
        matrix="diagonal", arrays=True, donate=donate, baselines=["jax"], repeats=2
    )
    for row in (ours, jax_):
        assert row["status"] == "ok", row["message"]
        assert len(row["array_seconds"]) == len(row["seconds"]) == 2
        assert min(row["array_seconds"]) > 0.02
        assert report.seconds_with_arrays(row) == pytest.approx(
            np.median(np.add(row["seconds"], row["array_seconds"]))
        )
    assert ours.get("donated", False) == donate


def test_stages(short_turns):
    """Of one more run of jaxmg's; routines without stages and baselines have none."""
    suite = suite_with(
        {"routine": "syevd", "n": 40, "tile": [3, None], "baselines": ["jax"]},
        {"routine": "potrs"},
        stages=True,
    )
    result, _ = run(suite)
    in_two_stages, alone, of_jax, potrs = result["rows"]
    assert list(in_two_stages["stage_seconds"]) == [
        "distribution",
        "reduction to band form",
        "bulge chasing",
        "divide and conquer",
        "bulge back-transform",
        "band back-transform",
    ]
    assert list(alone["stage_seconds"]) == ["solution on one rank"]
    for row in (in_two_stages, alone):
        assert 0 < sum(row["stage_seconds"].values()) < 20 * max(row["seconds"])
        assert len(row["seconds"]) == 3 and row["residual"] < 10
    assert not {"stage_seconds"} & (of_jax.keys() | potrs.keys())
    assert report.stages(result).count("bulge chasing") == 1
    # Nobody notes any more.
    assert "stage_seconds" not in one_case(routine="syevd", n=40, tile=3)[0]


def test_large_arrays_are_not_kept(monkeypatch, short_turns):
    """When a run begins there is no A and no result, of it or of another series."""
    alive = []

    def spy(operands):
        alive.append(sum(a.shape == (56, 56) for a in jax.live_arrays()) - before)
        return make(operands)

    problem = type(ROUTINES["potri"].problem(suite_with({}).cases[0], None))
    make = problem.make
    monkeypatch.setattr(problem, "make", spy)
    before = sum(a.shape == (56, 56) for a in jax.live_arrays())
    rows = one_case(
        routine="potri", n=56, arrays=True, donate=True, baselines=["jax"], repeats=2, warmups=1
    )
    assert all(row["status"] == "ok" for row in rows)
    assert alive == [0] * 6


# ---- The ceiling --------------------------------------------------------------------------------


def test_gemm_without_programs(monkeypatch):
    monkeypatch.setattr("jaxmg.bench.gemm.CPU_ORDER", 64)
    result, _ = run(suite_with({"n": [24, 32], "devices": 2, "baselines": ["gemm"]}))
    first, second = (of_series(result["rows"], case, "gemm")[0] for case in (0, 1))
    assert first["seconds"] == second["seconds"]  # measured once
    assert (first["routine"], first["n"], first["rhs"], first["devices"]) == ("gemm", 64, None, 2)
    assert first["gflops"] * first["median"] * 1e9 == pytest.approx(2 * 2 * 64**3)
    assert 0 < first["residual"] < 1
    (ours,) = of_series(result["rows"], 0, "jaxmg")
    assert ours["ratios"] == {}
    shares = report.shares_of_gemm(result).splitlines()
    assert len(shares) == 2 + 2
    assert float(shares[2].split()[-1]) == pytest.approx(ours["gflops"] / first["gflops"], abs=0.01)


def test_gemm_that_is_wrong(monkeypatch):
    monkeypatch.setattr("jaxmg.bench.gemm.CPU_ORDER", 16)
    monkeypatch.setattr("jaxmg.bench.gemm.RESIDUAL_LIMIT", 0)
    assert measure_gemm("complex64", device_mesh(1), "cpu").failure.startswith("residual ")


# ---- Failures -----------------------------------------------------------------------------------


def test_what_fails_becomes_a_row(monkeypatch, short_turns):
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
    ours, *rows, scipy = one_case(baselines=names)
    assert ours["status"] == scipy["status"] == "ok"
    assert set(ours["ratios"]) == {"scipy"}
    assert [row["status"] for row in rows] == ["failed", "out_of_memory", "failed", "failed"]
    assert rows[0]["message"] == "NotImplementedError: not for this case"
    assert rows[0]["seconds"] == []
    assert rows[0]["median"] is None
    assert rows[1]["message"] == "MemoryError: 4 TiB\nand more"
    assert len(rows[1]["seconds"]) == 1
    assert report.line(rows[1]).endswith("out of memory: MemoryError: 4 TiB ...")
    assert rows[2]["message"].startswith("residual ")
    assert rows[2]["residual"] > 1e10
    assert rows[3]["message"] == "residual nan, expected at most 10"
    assert rows[3]["residual"] is None


def test_larger_cases_are_not_tried_when_memory_is_out(monkeypatch, short_turns):
    tried = []

    def full(case, problem):
        tried.append(case.n)
        if case.n >= 32:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return BASELINES["lapack"](case, problem)

    monkeypatch.setitem(BASELINES, "scipy", full)
    cases = (
        {"n": [24, 32, 40], "baselines": ["scipy"]},
        {"n": 40, "rhs": 2, "baselines": ["scipy"]},
    )
    result, _ = run(suite_with(*cases))
    statuses = [row["status"] for row in result["rows"]]
    assert statuses == ["ok"] * 3 + ["out_of_memory", "ok", "out_of_memory", "ok", "out_of_memory"]
    assert tried == [24, 32, 40]  # the last one with two right-hand sides
    assert result["rows"][5]["message"] == "not tried: out of memory at n = 32"


def test_operands_that_fail(monkeypatch):
    def problem(case, mesh):
        raise MemoryError("no room")

    monkeypatch.setattr(ROUTINES["potrs"], "problem", problem)
    rows = one_case(baselines=["scipy"])
    assert [row["message"] for row in rows] == ["operands: MemoryError: no room"] * 2
    assert [row["status"] for row in rows] == ["out_of_memory"] * 2


# ---- Going on with a run that was cut off -------------------------------------------------------


class CutOff(Exception):
    pass


def test_resume(monkeypatch, short_turns):
    suite = suite_with({"n": [16, 24, 32], "tile": [2, 3], "baselines": ["lapack"], "repeats": 1})
    saved = []

    def save(result):
        saved.append({**result, "rows": list(result["rows"])})
        if len(saved) == 2:
            raise CutOff

    with pytest.raises(CutOff):
        run(suite, save=save)
    earlier = saved[-1]
    assert {row["n"] for row in earlier["rows"]} == {16, 24}
    failed = of_series(earlier["rows"], 1, "lapack")[0]
    failed |= {"status": "failed", "message": "interrupted"}

    measured = []
    measure = runner.Measurement.measure
    monkeypatch.setattr(
        runner.Measurement,
        "measure",
        lambda self, cases, number: measured.append(cases[0].n) or measure(self, cases, number),
    )
    result, lines = run(suite, earlier=earlier, device_note="later")
    assert measured == [24, 32]
    assert result["rows"][:3] == earlier["rows"][:3]
    assert [row["case"] for row in result["rows"]] == [0] * 3 + [1] * 3 + [2] * 3
    assert all(row["status"] == "ok" for row in result["rows"])
    assert result["started"] == earlier["started"]
    assert len(lines) == 1 + 6

    # Another suite takes what it can use, and what it does not ask for stays.
    measured.clear()
    other = suite_with({"n": [8, 16, 32], "tile": [2, 3], "baselines": ["lapack"], "repeats": 1})
    again, _ = run(other, earlier=result)
    assert measured == [8]
    assert [row["n"] for row in again["rows"]] == [8] * 3 + [16] * 3 + [32] * 3 + [24] * 3
    assert [row["case"] for row in again["rows"]] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert [case["n"] for case in again["cases"]] == [8, 16, 32, 24]
    assert again["rows"][9:] == [{**row, "case": 3} for row in result["rows"][3:6]]


def test_resume_that_is_cut_off_too(short_turns):
    """What the earlier run measured, failures included, is there until there is something newer."""
    suite = suite_with({"n": [8, 16, 24], "repeats": 1})
    earlier, _ = run(suite)
    for number in (0, 2):
        earlier["rows"][number] |= {"status": "failed", "message": "interrupted"}

    def save(result):
        saved.append(result["rows"])
        raise CutOff

    saved = []
    with pytest.raises(CutOff):
        run(suite, earlier=earlier, save=save)
    ((first, *others),) = saved
    assert first["status"] == "ok"
    assert others == earlier["rows"][1:]


def test_resume_elsewhere():
    earlier, _ = run(suite_with({"n": 8, "repeats": 1}))
    earlier["environment"]["versions"]["jax"] = "0.1"
    with pytest.raises(
        ValueError, match="expected the environment of the record, got another: ver"
    ):
        run(suite_with({"n": 8, "repeats": 1}), earlier=earlier)


# ---- Progress -----------------------------------------------------------------------------------


def test_seconds_left():
    assert seconds_left([], [1.0]) is None
    assert seconds_left([(1, 2.0)], [16, 80]) == pytest.approx(4)
    # Two seconds each, and the largest one's work took two more.
    assert seconds_left([(1, 2.0), (8, 4.0)], [16, 80, 1]) == pytest.approx(6 + 22 + 2.25)
    assert [in_words(s) for s in (None, 7.4, 600, 7200)] == ["?", "7 s", "10 min", "2.0 h"]


def test_progress_without_a_terminal(capsys):
    progress = Progress([1.0, 8.0])
    for name in ("small", "large"):
        with progress.case(name):
            time.sleep(0.02)
    progress.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "[1/2] small, ? left"
    assert second.startswith("[2/2] large, 0 s left")


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress([1.0, 8.0])
    with progress.case("small"):
        pass
    with progress.case("large"):
        progress.write("a row", print)
    progress.close()
    seen = capsys.readouterr()
    assert "s left  large" in seen.err and "1/2" in seen.err
    assert seen.out == "a row\n"
