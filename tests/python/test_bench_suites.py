"""Suites: YAML, what the command line says about them, and the suites of this repository."""

import dataclasses
import json

import pytest
from benching import SMALL, SUITES, suite_with

from jaxmg import _loading
from jaxmg.bench import Case, Choices, load_suite, machine, programs
from jaxmg.bench.routines import ROUTINES
from jaxmg.bench.suite import each_tile, names, needs_x64

PAPER_ORDERS = {512 << k for k in range(11)} | {49152, 98304, 393216}


@pytest.fixture
def file_of(tmp_path):
    def write(text):
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return path

    return write


def test_combinations_and_defaults(file_of):
    suite = load_suite(file_of(SMALL))
    assert len(suite.cases) == 5
    assert suite.cases[1] == Case(
        "potrs", "float32", 37, 1, devices=8, tile=3, repeats=3, baselines=("scipy",)
    )
    assert suite.cases[4].baselines == ()
    assert needs_x64(suite)


def test_calls_are_within_a_jit_where_nothing_is_donated():
    """Unless the case or the suite says so."""
    suite = suite_with({}, {"donate": True}, {"jit": False}, {"donate": True, "jit": True})
    assert [case.jit for case in suite.cases] == [True, False, False, True]
    assert [case.jit for case in suite_with({}, jit=False).cases] == [False]


def test_tiles_are_measured_together():
    suite = suite_with({"n": [8, 16], "tile": ["auto", 2, 4], "rhs": [1, 2]})
    together = [[case.tile for case in group] for group in suite.together()]
    assert together == [[None, 2, 4]] * 4
    assert [(group[0].n, group[0].rhs) for group in suite.together()] == [
        (8, 1),
        (8, 2),
        (16, 1),
        (16, 2),
    ]


def test_entries_that_differ_in_engine_and_tile_are_measured_together():
    suite = suite_with({"n": [24, 32]}, {"n": [24, 48], "engine": "cusolvermg", "tile": 4})
    together = [[(case.n, case.engine, case.tile) for case in group] for group in suite.together()]
    assert together == [
        [(24, "jaxmg", None), (24, "cusolvermg", 4)],
        [(32, "jaxmg", None)],
        [(48, "cusolvermg", 4)],
    ]


def test_engines_are_measured_together_where_routines_have_them():
    suite = suite_with(
        {"routine": ["potrs", "potrf"], "engine": ["jaxmg", "cusolvermg"], "tile": [2, 4]}
    )
    together = [[(case.engine, case.tile) for case in group] for group in suite.together()]
    ours = [("jaxmg", 2), ("jaxmg", 4)]
    assert together == [[*ours, ("cusolvermg", 2), ("cusolvermg", 4)], ours]
    assert each_tile(suite.together()[0]) == list(suite.cases[:2])


def test_64_bit_types_only_where_a_case_needs_them():
    assert not needs_x64(suite_with({"dtype": ["float32", "complex64"]}))
    assert needs_x64(suite_with({"dtype": ["float32", "complex128"]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", r"suite.yaml: not YAML"),
        ("[1, 2]", r"suite: expected a mapping with cases"),
        ("{platform: cpu, devices: 8}", r"suite: expected cases, which is missing"),
        ("{platform: cpu, devices: 8, cases: []}", r"cases: expected a list of cases"),
        ("{platform: cpu, devices: 0, cases: [{}]}", r"devices: expected a whole number from 1 on"),
        ("{platform: cpu, devices: 8, sizes: 3, cases: [{}]}", r"suite: .*, got 'sizes'"),
        ("{platform: cpu, devices: 8, cases: [{dtype: x}]}", r"case 1: expected routine, which"),
        ("{platform: cpu, externals: [x], cases: [{}]}", r"externals: expected a mapping of names"),
    ],
)
def test_suites_with_mistakes(file_of, text, message):
    with pytest.raises(ValueError, match=message):
        load_suite(file_of(text))


def test_a_suite_that_is_not_there():
    with pytest.raises(ValueError, match=r"suite: expected a file or one of accuracy, .*, got fig"):
        load_suite("fig3")


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
        ({"devices": 9}, r"devices: expected at most the suite's 8, got 9"),
        ({"matrix": "hilbert"}, r"matrix: expected one of diagonal, kernel, random, got 'hilbert'"),
        ({"engine": "slate"}, r"engine: expected one of cusolvermg, jaxmg, got 'slate'"),
        ({"kappa": 1}, r"kappa: expected a number above 1, got 1"),
        ({"max_seconds": "9"}, r"max_seconds: expected a number above 0, got '9'"),
        ({"repeats": True}, r"repeats: expected a whole number"),
        ({"baselines": "scipy"}, r"baselines: expected a list, got 'scipy'"),
        ({"donate": 1}, r"donate: expected true or false, got 1"),
        ({"jit": None}, r"jit: expected true or false, got None"),
        ({"arrays": 0}, r"arrays: expected true or false, got 0"),
        ({"routine": "potrf", "baselines": ["scipy"]}, r"expected one of cusolver_.*, got 'scipy'"),
        (
            {"baselines": ["mkl"]},
            r"one of cusolver_dn, cusolver_mg, gemm, jax, lapack, scipy, got 'mkl'",
        ),
        ({"tiles": 3}, r"case 1: expected one of .*, got 'tiles'"),
    ],
)
def test_cases_with_mistakes(file_of, change, message):
    case = {"routine": "potrs", "dtype": "float32", "n": 8, **change}
    with pytest.raises(ValueError, match=message):
        load_suite(file_of(json.dumps({"platform": "cpu", "devices": 8, "cases": [case]})))


# ---- What the command line says -----------------------------------------------------------------


def test_choices_leave_out_and_replace(file_of):
    choices = Choices(
        only={"routine": ["potrs"], "dtype": ["complex128", "float64"]},
        instead={"n": [16, 32], "tile": [4], "devices": [2, 4], "repeats": 9, "baselines": []},
    )
    suite = load_suite(file_of(SMALL), choices)
    assert suite.devices == 4
    assert {(c.dtype, c.rhs, c.n, c.tile, c.devices, c.repeats) for c in suite.cases} == {
        (dtype, rhs, n, 4, devices, 9)
        for dtype, rhs in (("complex128", 1), ("float64", 5))
        for n in (16, 32)
        for devices in (2, 4)
    }
    assert len(suite.cases) == 8  # none of them twice
    assert all(case.baselines == () for case in suite.cases)
    with pytest.raises(ValueError, match="expected some; none of the suite's is as the command"):
        load_suite(file_of(SMALL), Choices(only={"routine": ["potri"]}))


def test_cases_that_a_choice_makes_alike_are_measured_once():
    suite = load_suite("figure3-short", Choices(instead={"n": [4096]}))
    ours = [c for c in suite.cases if c.routine == "potrs" and c.engine == "jaxmg"]
    assert [(c.matrix, c.repeats) for c in ours] == [("diagonal", 2), ("random", 2)]
    assert all(c.baselines == ("jax", "gemm") for c in ours)


def test_externals_are_baselines_of_all_cases():
    choices = Choices(externals={"other": "python other.py"})
    cases = [{"baselines": ["jax"]}, {"n": 9}]
    suite = suite_with(*cases, externals={"third": "x"}, choices=choices)
    assert [case.baselines for case in suite.cases] == [
        ("jax", "third", "other"),
        ("third", "other"),
    ]
    assert suite.externals == {"third": "x", "other": "python other.py"}
    with pytest.raises(ValueError, match="expected a name that is not taken, got 'jax'"):
        suite_with({}, externals={"jax": "x"})


# ---- Whatever is there --------------------------------------------------------------------------


def test_cases_of_more_devices_than_there_are_are_left_out(monkeypatch):
    monkeypatch.setattr(machine, "platform", lambda: "cuda")
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    suite = suite_with({"devices": [1, 2, 4]}, platform="any", devices="all")
    assert (suite.platform, suite.devices) == ("cuda", 2)
    assert [case.devices for case in suite.cases] == [1, 2]


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, 3), ("0,2", 2), ("", 0), ("0,1,2,3,4", 3)]
)
def test_gpus_are_counted_without_jax(monkeypatch, tmp_path, visible, expected):
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\nfor i in 0 1 2; do echo "GPU $i: NVIDIA H200 (UUID: x)"; done\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpus() == machine.devices("cuda") == expected


@pytest.mark.parametrize(
    ("gpus", "wanted", "expected"),
    [(2, "", "cuda"), (0, "", "cpu"), (2, "cuda,cpu", "cuda"), (2, "cpu", "cpu")],
)
def test_platform(monkeypatch, gpus, wanted, expected):
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    monkeypatch.setattr(_loading, "cuda_plugins", lambda: (12,))
    monkeypatch.setenv("JAX_PLATFORMS", wanted)
    assert machine.platform() == expected
    monkeypatch.setattr(_loading, "cuda_plugins", lambda: ())
    assert machine.platform() == "cpu"


def test_no_gpus_for_a_suite_of_gpus(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    with pytest.raises(
        ValueError, match="platform: expected one that has devices here, got 'cuda'"
    ):
        suite_with({}, platform="cuda", devices="all")


def test_cpu_devices_are_as_many_as_one_likes(monkeypatch):
    assert machine.devices("cpu") == 8
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "3")
    assert machine.devices("cpu") == 3


# ---- The suites of this repository --------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_suites_of_this_repository(path):
    suite = load_suite(path)
    assert suite.name == path.stem
    assert suite.cases


@pytest.fixture
def eight_gpus(monkeypatch):
    monkeypatch.setattr(machine, "platform", lambda: "cuda")
    monkeypatch.setattr(machine, "gpus", lambda: 8)


def test_suites_of_the_package(eight_gpus):
    assert names() == ["accuracy", "figure3", "figure3-short", "quick", "scaling"]
    for name in names():
        suite = load_suite(name)
        assert (suite.name, suite.platform, suite.devices) == (name, "cuda", 8)
        assert {case.routine for case in suite.cases} == {"potrs", "potri", "syevd"}
    assert {case.devices for case in load_suite("scaling").cases} == {1, 2, 4, 8}


def test_figure_3_is_the_papers(eight_gpus):
    suite = load_suite("figure3")
    assert {(case.routine, case.dtype, case.rhs) for case in suite.cases} == {
        ("potrs", "float32", 1),
        ("potri", "complex128", 1),
        ("syevd", "float64", 1),
    }
    for routine in ("potrs", "potri", "syevd"):
        groups = [group for group in suite.together() if group[0].routine == routine]
        assert {group[0].n for group in groups} == PAPER_ORDERS
        assert {group[0].matrix for group in groups} == {"diagonal", "random"}
        tiles = {None, 256, 512, 1024, 2048, 4096, 8192}
        assert all({case.tile for case in group} == tiles for group in groups)
        assert len(groups) == 2 * len(PAPER_ORDERS)
        assert "jax" in ROUTINES[routine].baselines
    assert all(case.arrays and {"jax", "gemm"} <= set(case.baselines) for case in suite.cases)
    for group in suite.together():  # small ones first: what is out of memory ends the larger ones
        same = dataclasses.replace(group[0], n=1)
        rest = [g[0].n for g in suite.together() if dataclasses.replace(g[0], n=1) == same]
        assert rest == sorted(rest)


def test_the_short_figure_3_is_part_of_it(eight_gpus):
    of_papers = {(c.routine, c.dtype, c.matrix, c.n) for c in load_suite("figure3").cases}
    largest = {"potrs": 262144, "potri": 65536, "syevd": 32768}
    of_jax = {"potrs": 32768, "potri": 32768, "syevd": 16384}
    suite = load_suite("figure3-short")
    assert {(c.routine, c.dtype, c.matrix, c.n) for c in suite.cases} <= of_papers
    for routine, most in largest.items():
        groups = [group for group in suite.together() if group[0].routine == routine]
        for matrix in ("diagonal", "random"):
            orders = [group[0].n for group in groups if group[0].matrix == matrix]
            assert orders == sorted(set(orders)) and min(orders) == 4096
        assert max(group[0].n for group in groups) == most
        assert all(group[0].engine == "jaxmg" and group[0].tile is None for group in groups)
        with_jax = {group[0].n for group in groups if "jax" in group[0].baselines}
        assert max(with_jax) == of_jax[routine]
        both = [group[1] for group in groups if len(group) == 2]
        assert {case.engine for case in both} == {"cusolvermg"}
        assert {case.tile for case in both} == {None if routine == "potri" else 1024}
    assert all(case.arrays and "gemm" in case.baselines for case in suite.cases)


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
    assert {(c.routine, c.dtype, c.n) for c in small.cases} == {
        *(("potrs", dtype, 2**k) for dtype in dtypes for k in range(9, 14)),
        *(("syevd", "float64", 2**k) for k in range(9, 13)),
    }
    assert all(case.jit and not case.donate for case in small.cases)
    assert {case.baselines for case in small.cases} == {("jax",)}
