"""Pictures of records."""

import matplotlib.figure
import pytest
from benching import RESULTS, record_of, row

from jaxmg.bench import record
from jaxmg.bench.plot import Only, plot


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved = []
    save = matplotlib.figure.Figure.savefig

    def spy(self, *args, **kwargs):
        saved.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return saved


def curves(ax):
    return {
        line.get_label(): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in ax.get_lines()
    }


def looks_differ(ax):
    looks = {
        (line.get_color(), line.get_linestyle(), line.get_marker(), line.get_alpha())
        for line in ax.get_lines()
    }
    return len(looks) == len(ax.get_lines())


def test_chosen_panels(figures, tmp_path):
    rows = [
        row(routine=routine, dtype=dtype, case=number)
        for number, (routine, dtype) in enumerate(
            [("potrs", "float32"), ("potrs", "float64"), ("potri", "float64")]
        )
    ]
    for only, expected in (
        (Only(routines=["potrs"]), ["(a) potrs, float32", "(b) potrs, float64"]),
        (Only(dtypes=["float64"]), ["(a) potrs, float64", "(b) potri, float64"]),
        (Only(["potri"], ["float64", "complex64"]), ["(a) potri, float64"]),
    ):
        plot([record_of(*rows)], ["a"], tmp_path / "a.svg", arrays=False, only=only)
        assert [ax.get_title() for ax in figures[-1].axes] == expected
    with pytest.raises(ValueError, match="expected rows with times, found none"):
        plot([record_of(*rows)], ["a"], tmp_path / "a.svg", False, Only(["syevd"]))


def test_figure_3(figures, tmp_path):
    """Three panels in the paper's order, log-log, a curve for each tile, matrix and baseline."""
    rows = []
    number = 0
    for routine, dtype in (("syevd", "float64"), ("potri", "complex128"), ("potrs", "float32")):
        for matrix in ("diagonal", "random"):
            for n in (1024, 512):
                same = {"routine": routine, "dtype": dtype, "matrix": matrix, "case": number}
                for tile in (None, 256, 512):
                    arrays = {"array_seconds": [0.5]}
                    rows.append(row(n=n, tile=tile, seconds=(n / 512,), **arrays, **same))
                rows.append(row("jax", n=n, seconds=(3.0,), array_seconds=[1.0], **same))
                rows.append(row("gemm", **{**same, "routine": "gemm", "n": 16384, "gflops": 100.0}))
                number += 1
    rows.append(row(n=2048, case=number, status="out_of_memory", message="no room"))
    path = tmp_path / "pictures" / "figure3.svg"
    files = plot([record_of(*rows)], ["a"], path, arrays=False)
    assert files == [path, path.with_name("figure3-efficiency.svg")]
    assert all(file.read_text().startswith("<?xml") for file in files)

    times, shares = figures
    panels = [ax for ax in times.axes if ax.axison]
    assert [ax.get_title() for ax in panels] == [
        "(a) potrs, float32",
        "(b) potri, complex128",
        "(c) syevd, float64",
    ]
    labels = {f"jaxmg{tile}" for tile in ("", " T_A=256", " T_A=512")} | {"jax"}
    for ax in panels:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert set(curves(ax)) == {
            f"{label}, {matrix}" for label in labels for matrix in ("diagonal", "random")
        }
        assert curves(ax)["jaxmg T_A=256, random"] == [(512, 1), (1024, 2)]
    lines = {line.get_label(): line for line in panels[0].get_lines()}
    assert lines["jaxmg, random"].get_linestyle() == "-"
    assert lines["jaxmg, diagonal"].get_linestyle() == ":"
    assert looks_differ(panels[0])
    assert curves(shares.axes[0])["jaxmg, random"] == [(512, 0.5), (1024, 0.5)]
    (legend,) = times.legends
    assert len(legend.get_texts()) == 8

    plot([record_of(*rows)], ["a"], path, arrays=True)
    assert curves(figures[2].axes[0])["jaxmg, random"] == [(512, 1.5), (1024, 2.5)]
    assert "arrays" in figures[2].axes[0].get_ylabel()


def test_records_together(figures, tmp_path):
    """What both have is told apart by the record; what one has is not."""
    old = record_of(row(), row("jax"), row(n=128))
    new = record_of(row(seconds=(0.5,)), row("other", tile=256))
    (path,) = plot([old, new], ["old", "new"], tmp_path / "both.png", arrays=False)
    assert path.stat().st_size > 0
    (ax,) = figures[0].axes
    assert curves(ax) == {
        "jaxmg (old)": [(64, 1), (128, 1)],
        "jax": [(64, 1)],
        "jaxmg (new)": [(64, 0.5)],
        "other T_A=256": [(64, 1)],
    }
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["jaxmg (old)"].get_color() != lines["jaxmg (new)"].get_color()


def test_labels_and_looks_say_what_differs(figures, tmp_path):
    rows = [row(devices=d, rhs=r) for d in (1, 2) for r in (1, 3)] + [row("jax", devices=2)]
    plot([record_of(*rows)], ["a"], tmp_path / "a.svg", arrays=False)
    (ax,) = figures[0].axes
    assert set(curves(ax)) == {
        "jax, 1 rhs",
        *(f"jaxmg, {d} devices, {r} rhs" for d in (1, 2) for r in (1, 3)),
    }
    assert looks_differ(ax)


def test_calls_within_a_jit_are_told_apart(figures, tmp_path):
    rows = [row(series, jit=jit) for series in ("jaxmg", "cusolvermg") for jit in (True, False)]
    plot([record_of(*rows, row("jax"))], ["a"], tmp_path / "a.svg", arrays=False)
    (ax,) = figures[0].axes
    assert set(curves(ax)) == {
        *(f"{name}, {how}" for name in ("jaxmg", "cusolvermg") for how in ("jit", "no jit")),
        "jax",
    }
    assert looks_differ(ax)
    plot([record_of(*rows[::2])], ["a"], tmp_path / "a.svg", arrays=False)
    assert set(curves(figures[-1].axes[0])) == {"jaxmg", "cusolvermg"}


def test_a_librarys_factorisation_stands_beside_the_solution(figures, tmp_path):
    rows = [row(), row("cusolver_mg", routine="potrf", rhs=None, tile=1024)]
    plot([record_of(*rows)], ["a"], tmp_path / "a.svg", arrays=False)
    (ax,) = figures[0].axes
    assert set(curves(ax)) == {"jaxmg", "cusolver_mg T_A=1024"}


def test_records_of_this_repository(figures, tmp_path):
    paths = [RESULTS / f"cuda-2-{name}.json" for name in ("small", "potri-16384")]
    plot([record.read(p) for p in paths], [p.stem for p in paths], tmp_path / "a.png", arrays=False)
    assert len(figures) == 2


def test_nothing_to_draw(tmp_path):
    empty = record_of(row(status="failed", message="x"))
    for some, arrays in ((empty, False), (record_of(row()), True)):
        with pytest.raises(ValueError, match="plot: expected rows with times, found none"):
            plot([some], ["a"], tmp_path / "a.png", arrays)
