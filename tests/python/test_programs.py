"""Calls inside larger programs: loops, branches, other collectives, callbacks, many at once."""

import collections
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import DEVICES, PLATFORM, cpu_only, resources
from jax.sharding import PartitionSpec as P
from matrices import by_rows, everywhere, random_matrix, residual, spd

import jaxmg
from jaxmg import _library
from jaxmg._pacing import MOST_CALLS

N, T = 64, 8
A, B = spd(N, np.float64), random_matrix(N, 2, np.float64, 1)


@pytest.fixture
def operands(mesh):
    return by_rows(A, mesh), everywhere(B, mesh)


def solve(a, b, mesh):
    return jaxmg.potrs(a, b, T, mesh, P("x", None))


def close(x, expected):
    return np.abs(x - expected).max() < 1e-8 * np.abs(expected).max()


def test_scan(mesh, operands):
    def step(x, shift):
        return solve(operands[0] + shift * jnp.eye(N), x, mesh), None

    x = jax.jit(lambda b: jax.lax.scan(step, b, jnp.arange(1.0, 6.0))[0])(operands[1])
    expected = B
    for shift in range(1, 6):
        expected = np.linalg.solve(A + shift * np.eye(N), expected)
    assert close(x, expected)


def test_fori_loop_and_while_loop(mesh, operands):
    a = operands[0] + jnp.eye(N)
    x = jax.jit(lambda a, b: jax.lax.fori_loop(0, 20, lambda i, x: 2 * solve(a, x, mesh), b))(
        a, operands[1]
    )
    y = jax.jit(
        lambda a, b: jax.lax.while_loop(
            lambda s: s[0] < 20, lambda s: (s[0] + 1, 2 * solve(a, s[1], mesh)), (0, b)
        )[1]
    )(a, operands[1])
    expected = np.linalg.matrix_power(2 * np.linalg.inv(A + np.eye(N)), 20) @ B
    assert close(x, expected) and close(y, expected)


@pytest.mark.parametrize("which", [0, 1])
def test_cond(mesh, operands, which):
    x = jax.jit(
        lambda i, a, b: jax.lax.cond(
            i == 0, lambda: solve(a, b, mesh), lambda: solve(2 * a, b, mesh)
        )
    )(which, *operands)
    assert residual((1 + which) * A, x, B) < 10


def test_twelve_calls_of_one_jitted_solve(mesh, operands):
    """Traced once, so nothing in the program's text tells the calls apart; with unequal work
    between them, devices reach them at different times. Each must pair with itself."""
    one = jax.jit(lambda a, b: solve(a, b, mesh))
    scales = [1.0 + i for i in range(12)]

    @jax.jit
    def program(a, b):
        results = []
        for i, scale in enumerate(scales):
            waste = jnp.sum(jnp.sin(b[0, 0] + jnp.arange(1000.0 * (i % 4))))  # not a constant
            results.append(one(a, scale * b + 0 * waste))
        return jnp.stack(results)

    expected = np.stack([s * np.linalg.solve(A, B) for s in scales])
    for _ in range(1000 if "JAXMG_TEST_FULL" in os.environ else 200):
        assert close(program(*operands), expected)


def test_calls_of_one_jitted_solve_have_addresses_of_their_own(mesh, operands):
    """All devices the same. That is how the ranks of a call find each other."""
    one = jax.jit(lambda a, b: solve(a, b, mesh))
    program = jax.jit(lambda a, b: jnp.stack([one(a, (1.0 + i) * b) for i in range(12)]))
    jax.block_until_ready(program(*operands))
    with _library.watched_call_sites(PLATFORM) as seen:
        for _ in range(3):
            jax.block_until_ready(program(*operands))
    ranks = collections.defaultdict(lambda: collections.defaultdict(list))
    for run, address, rank in seen:
        ranks[run][address].append(rank)
    for of_run in ranks.values():
        assert len(of_run) == 12
        executions = 3 // len(ranks)  # GPUs may have one number for all
        for came in of_run.values():
            assert sorted(came) == sorted(executions * list(range(DEVICES)))


def test_psum_and_callback_between_solves(mesh, operands):
    seen = []

    def note(x):
        seen.append(float(x.ravel()[0]))
        return x

    def program(a, b):
        x = solve(a, b, mesh)
        total = jax.shard_map(
            lambda block: jax.lax.psum(block.sum(), "x"),
            mesh=mesh,
            in_specs=P("x", None),
            out_specs=P(),
            check_vma=False,
        )(a)
        y = jax.pure_callback(note, jax.ShapeDtypeStruct(x.shape, x.dtype), x + total)
        return solve(a, y - total, mesh)

    program = jax.jit(program)
    expected = np.linalg.solve(A, np.linalg.solve(A, B))
    for _ in range(100):
        assert np.allclose(program(*operands), expected, rtol=1e-6)
    assert len(seen) >= 100


def programs(mesh):
    """Each kind of program above in small, with its expected result."""
    one = jax.jit(lambda a, b: solve(a, b, mesh))

    def independent(a, b):
        return sum(one(a, (i + 1.0) * b) for i in range(4))

    def loop(a, b):
        return jax.lax.fori_loop(0, 3, lambda i, x: one(a, x), b)

    def reduced(a, b):
        norm = jax.shard_map(
            lambda x: jax.lax.psum(jnp.sum(x * x), "x"),
            mesh=mesh,
            in_specs=P(None, None),
            out_specs=P(),
            check_vma=False,
        )
        x = one(a, b)
        return one(a, x / norm(x))

    inverse = np.linalg.inv(A)
    x = inverse @ B
    return [
        (independent, 10 * x),
        (loop, np.linalg.matrix_power(inverse, 3) @ B),
        (reduced, inverse @ (x / (DEVICES * np.sum(x * x)))),
    ]


def test_sixteen_calls_in_flight(mesh, operands):
    """Every program again, with all ranks on two cores and sixteen calls not waited for."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[:2]))
    try:
        for program, expected in programs(mesh):
            compiled = jax.jit(program)
            for _ in range(5):
                results = [compiled(*operands) for _ in range(16)]
                for x in results:
                    assert np.allclose(x, expected, rtol=1e-6, atol=0)
    finally:
        os.sched_setaffinity(0, cores)


@cpu_only
def test_eager_calls_wait_for_earlier_ones(mesh):
    """JAX 0.6 to 0.10 hangs when too many programs are in flight on CPU devices."""
    a, b = by_rows(spd(512, np.float64), mesh), np.ones(512)
    factor = jaxmg.cho_factor(a, T)
    calls = [lambda: factor.solve(b), factor.inverse, lambda: jaxmg.potrs(a, b, T, mesh)]
    for call in calls:
        results = [call() for _ in range(3 * MOST_CALLS)]
        assert sum(not x.is_ready() for x in results) <= MOST_CALLS
        jax.block_until_ready(results)


def test_two_thousand_calls_from_several_threads_leave_nothing(mesh, operands):
    compiled = jax.jit(lambda a, b: solve(a, b, mesh))
    expected = np.linalg.solve(A, B)
    failures = []

    def work(count):
        try:
            for _ in range(count):
                assert close(compiled(*operands), expected)
        except BaseException as error:
            failures.append(error)

    def run(count):
        threads = [threading.Thread(target=work, args=(count // 4,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]

    run(200)
    before = resources()
    run(2000)
    after = resources()
    assert after[0] <= before[0] + 10  # rank threads of the last call may still be ending
    assert after[1] <= before[1] + 2
    assert after[2] <= before[2] + 30  # MiB
