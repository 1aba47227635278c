"""JAX's strict settings: what is refused or checked there in a program of ours is our mistake."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES
from matrices import by_rows, everywhere, random_matrix, spd

import jaxmg

TILE = 3
SETTINGS = {
    "debug_nans": lambda: jax.debug_nans(True),
    "checking_leaks": lambda: jax.checking_leaks(),
    "rank_promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype_promotion": lambda: jax.numpy_dtype_promotion("strict"),
}


def real_sum(x):
    return jnp.sum(x.real)


def by_potrs(a, b):
    x, logdet = jaxmg.potrs(a, b, TILE, return_logdet=True)
    return real_sum(x) + logdet


def by_factor(a, b):
    factor = jaxmg.cho_factor(a, TILE)
    return real_sum(factor.solve(b)) + factor.logdet() + real_sum(factor.inverse())


def by_many(a, b):
    wide = jnp.tile(b, (1, 32 * DEVICES))
    return real_sum(jaxmg.cho_factor(a, TILE).solve(wide))


def by_potri(a, b):
    inverse, logdet = jaxmg.potri(a, TILE, return_logdet=True)
    return real_sum(inverse @ b) + logdet


def by_values(a, b):
    return real_sum(jaxmg.syevd(a, TILE, return_eigenvectors=False))


def by_vectors(a, b):
    w, v = jaxmg.eigh(a, TILE)
    return real_sum((v * w.astype(v.dtype)[None, :]) @ (v.conj().T @ b))


FORMS = (by_potrs, by_factor, by_many, by_potri, by_values, by_vectors)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_values_and_gradients(form, setting, mesh):
    n = 2 * DEVICES
    for dtype in (np.float32, np.complex64):
        a = by_rows(spd(n, dtype, kappa=10), mesh)
        b = everywhere(random_matrix(n, 2, dtype, 1), mesh)
        value, gradient = jax.value_and_grad(form), jax.jit(jax.grad(form))
        with SETTINGS[setting]():
            plain, (value, found), compiled = form(a, b), value(a, b), gradient(a, b)
        np.testing.assert_allclose(plain, value, 1e-4)
        np.testing.assert_allclose(found, compiled, 1e-4, 1e-4)


@pytest.mark.parametrize("setting", SETTINGS)
def test_methods_of_a_kept_factor(setting, mesh):
    """Eagerly, one by one."""
    n = 3 * DEVICES
    a, b = spd(n, np.float64), random_matrix(n, 2, np.float64, 1)
    with SETTINGS[setting]():
        factor = jaxmg.cho_factor(by_rows(a, mesh), TILE)
        x, logdet, inverse = factor.solve(b), factor.logdet(), factor.inverse()
        moved = jaxmg.cyclic_1d(by_rows(a, mesh), TILE)
    assert np.allclose(x, np.linalg.solve(a, b)) and np.allclose(inverse, np.linalg.inv(a))
    assert np.isclose(logdet, np.linalg.slogdet(a)[1])
    jaxmg.verify_cyclic(a, moved, TILE)
