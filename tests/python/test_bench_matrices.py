"""Matrices of the benchmarks: Hermitian to the last bit, with the spectrum that they claim."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
from benching import suite_with
from devices import device_mesh

from jaxmg.bench import matrices
from jaxmg.bench.matrices import Matrix, right_hand_sides
from jaxmg.bench.routines import ROUTINES


def made(mesh, *args, **kwargs):
    return np.asarray(Matrix(*args, **kwargs).maker(mesh)())


@pytest.mark.parametrize(("kind", "definite"), [("random", 1), ("random", 0), ("diagonal", 1)])
@pytest.mark.parametrize("n", [37, 64])
def test_known_spectrum(mesh, dtype, kind, definite, n):
    has_its_spectrum(Matrix(kind, n, dtype.name, bool(definite), kappa=1e4), mesh)


@pytest.mark.parametrize("n", [1, 2])
def test_known_spectrum_of_the_smallest(mesh, n):
    has_its_spectrum(Matrix("random", n, "complex128"), mesh)


def has_its_spectrum(matrix, mesh):
    a = np.asarray(matrix.maker(mesh)())
    assert a.dtype == matrix.dtype and a.shape == (matrix.n, matrix.n)
    np.testing.assert_array_equal(a, a.conj().T)
    found = np.linalg.eigvalsh(a.astype(complex))
    error = np.abs(found - matrix.eigenvalues()).max()
    assert error <= 20 * np.finfo(a.dtype).eps * np.abs(found).max()


def test_spectra():
    assert Matrix("random", 5, "float64", kappa=1e4).eigenvalues() == pytest.approx(
        [1e-4, 1e-3, 1e-2, 1e-1, 1]
    )
    assert Matrix("random", 5, "float64", definite=False).eigenvalues() == pytest.approx(
        [-1, -0.5, 0, 0.5, 1]
    )
    assert Matrix("diagonal", 3, "float64").eigenvalues().tolist() == [1, 2, 3]
    assert Matrix("kernel", 3, "float64").eigenvalues() is None


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_random_matrices_are_dense_and_without_pattern(mesh, dtype):
    n = 256
    a = made(mesh, "random", n, dtype)
    off_diagonal = np.abs(a[~np.eye(n, dtype=bool)])
    assert len(np.unique(off_diagonal)) > n * n // 3
    assert np.median(off_diagonal) > 0.1 * np.sqrt(np.mean(off_diagonal**2))
    other = made(mesh, "random", n, dtype, seed=1)
    assert np.abs(a - other).max() > 0.01


def test_tridiagonal_of_a_random_matrix_is_a_random_one(mesh):
    """Eigenvectors of the paper's diagonal matrix, or of a transform alone, have first components
    that are all alike; those of a random matrix vary as normal numbers do."""
    n = 256
    _, v = scipy.linalg.eigh(made(mesh, "random", n, "float64", False))
    weights = n * v[0] ** 2
    assert np.mean(weights) == pytest.approx(1)
    assert 1.3 < np.std(weights) < 1.6  # of the squares of normal numbers: sqrt(2)


@pytest.mark.parametrize("kappa", [1e3, 1e10])
def test_kernel_matrices_have_about_the_condition_asked_for(mesh, kappa):
    w = np.linalg.eigvalsh(made(mesh, "kernel", 256, "complex128", kappa=kappa))
    assert 0.2 * kappa < w[-1] / w[0] < 2 * kappa


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_any_mesh_and_any_chunk_makes_the_same(monkeypatch, mesh, dtype):
    whole = made(mesh, "random", 40, dtype)
    monkeypatch.setattr(matrices, "_CHUNK", 3 * 40)  # five rows a device: chunks of three, ragged
    np.testing.assert_array_equal(made(mesh, "random", 40, dtype), whole)
    one = made(device_mesh(1), "random", 40, dtype)
    assert np.abs(one - whole).max() <= 4 * np.finfo(dtype).eps


def test_each_device_makes_its_own_rows(mesh):
    a = Matrix("random", 40, "float32").maker(mesh)()
    assert [shard.data.shape for shard in a.addressable_shards] == [(5, 40)] * 8


def test_right_hand_sides():
    assert right_hand_sides(4, 1, "float32", "diagonal").tolist() == [1, 1, 1, 1]
    assert right_hand_sides(4, 1, "float32", "random").tolist() == [0.25, 0.5, 0.75, 1]
    assert right_hand_sides(4, 2, "float32", "random").shape == (4, 2)


def test_operands_of_a_case(mesh):
    (case,) = suite_with({"n": 16, "matrix": "diagonal", "rhs": 2}).cases
    problem = ROUTINES["potrs"].problem(case, mesh)
    np.testing.assert_array_equal(problem.a, np.diag(np.arange(1.0, 17)))
    assert problem.a is problem.a and problem.b.shape == (16, 2)
    kept = problem.a
    problem.free()
    assert problem.a is not kept
    assert problem.make()[0] is not problem.a
    assert len(problem.on_one_device().a.devices()) == 1


def test_the_file_can_be_loaded_by_itself():
    """By a program that has another package of the name jaxmg."""
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); assert 'jaxmg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, matrices.__file__], check=True, timeout=60)
