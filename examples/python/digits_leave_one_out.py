"""Hyperparameters and leave-one-out errors of a Gaussian process on eight CPU devices.

Every second image of scikit-learn's `load_digits`, 899, and ten targets each, one a digit. The
hyperparameters maximise the log marginal likelihood, whose gradient JAX takes through
`jaxmg.cho_factor`: one factorisation and one inverse a step, all of them in row blocks on eight
devices. A factor of the last matrix then tells what the process would predict for each image if it
had not seen it, without fitting it anew 899 times (Rasmussen and Williams, *Gaussian Processes for
Machine Learning*, section 5.4.2): with x = A^-1 y and X = A^-1,

    y_i - prediction_i = x_i / X_ii,    variance_i = 1 / X_ii.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 8)  # where there are no GPUs
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import jaxmg

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def covariance(theta: jax.Array, rows: jax.Array, images: jax.Array) -> jax.Array:
    """signal exp(-|x_i - y_j|^2 / (2 length^2)) + noise I: sharded as `rows` are."""
    length, signal, noise = jnp.exp(theta)
    squared = jnp.sum(rows**2, axis=1)[:, None] + jnp.sum(images**2, axis=1)[None, :]
    distance = jnp.maximum(squared - 2 * rows @ images.T, 0)
    return signal * jnp.exp(-distance / (2 * length**2)) + noise * jnp.eye(len(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("digits"), help="folder of the picture")
    output = parser.parse_args().output

    images, labels = (x[::2] for x in load_digits(return_X_y=True))
    n = len(images)
    targets = np.where(labels[:, None] == np.arange(10), 1.0, -1.0)

    # Eight does not divide 899: the storage has 904 rows, and n= tells where the matrix ends.
    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    padded = np.pad(images, ((0, -n % jax.device_count()), (0, 0)))
    rows = jax.device_put(padded, NamedSharding(mesh, P("x", None)))
    columns, y = (jax.device_put(x, NamedSharding(mesh, P(None, None))) for x in (padded, targets))

    def factor_of(theta: jax.Array) -> jaxmg.CholeskyFactor:
        return jaxmg.cho_factor(covariance(theta, rows, columns), mesh=mesh, n=n)

    @jax.jit
    @jax.value_and_grad
    def negative_log_likelihood(theta: jax.Array) -> jax.Array:
        factor = factor_of(theta)
        fit = jnp.sum(y * factor.solve(y))
        return (fit + y.shape[1] * (factor.logdet() + n * jnp.log(2 * jnp.pi))) / 2

    begin = np.log([20.0, 1.0, 0.1])
    found = minimize(negative_log_likelihood, begin, jac=True, method="L-BFGS-B")
    length, signal, noise = np.exp(found.x)
    print(
        f"{n} images, {found.nfev} gradients: log likelihood "
        f"{-negative_log_likelihood(begin)[0]:.1f} to {-found.fun:.1f}; length {length:.1f}, "
        f"signal {signal:.2f}, noise {noise:.1e}"
    )

    kernel = ConstantKernel(signal) * RBF(length) + WhiteKernel(noise)
    reference = GaussianProcessRegressor(kernel, alpha=0, optimizer=None).fit(images, targets)
    difference = abs(1 + reference.log_marginal_likelihood_value_ / found.fun)
    print(f"scikit-learn's log likelihood differs by {difference:.0e} of it")

    @jax.jit
    def solution_and_diagonal(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        factor = factor_of(theta)
        inverse = factor.inverse()  # by rows, as the covariance
        return factor.solve(y), jnp.sum(inverse * jnp.eye(len(inverse)), axis=1)

    x, diagonal = (np.asarray(z)[:n] for z in solution_and_diagonal(found.x))
    prediction, variance = targets - x / diagonal[:, None], 1 / diagonal
    error = 0.0
    A = np.asarray(covariance(found.x, padded, padded))[:n, :n]
    for i in range(0, n, 100):  # nine of them the long way
        others = np.delete(np.arange(n), i)
        weights = np.linalg.solve(A[np.ix_(others, others)], A[others, i])
        error = max(error, np.abs(weights @ targets[others] - prediction[i]).max())
        error = max(error, abs(A[i, i] - weights @ A[others, i] - variance[i]))
    print(f"leave-one-out by the inverse and by leaving out: they differ by {error:.0e}")
    accuracy = 100 * np.mean(prediction.argmax(axis=1) == labels)
    deviation = np.sqrt(np.mean((targets - prediction) ** 2 / variance[:, None]))
    print(
        f"leave-one-out accuracy {accuracy:.2f} %, errors of {deviation:.2f} predicted deviations"
    )
    assert difference < 1e-9 and error < 1e-9 and accuracy > 97
    assert np.abs(negative_log_likelihood(found.x)[1]).max() < 1e-3 * abs(found.fun)

    output.mkdir(parents=True, exist_ok=True)
    picture = output / "digits_leave_one_out.png"
    draw(images, labels, prediction, variance, picture)
    print(f"the images that the others would not have foretold: {picture}")


def draw(
    images: np.ndarray, labels: np.ndarray, prediction: np.ndarray, variance: np.ndarray, path: Path
) -> None:
    """The 20 images whose digit is furthest off, in predicted standard deviations."""
    off = (1 - prediction[np.arange(len(labels)), labels]) / np.sqrt(variance)
    figure, axes = plt.subplots(4, 5, figsize=(7.5, 7), layout="constrained")
    for axis, i in zip(axes.flat, np.argsort(-off), strict=False):
        axis.imshow(images[i].reshape(8, 8), cmap="gray_r")
        axis.set_title(f"{labels[i]}, foretold {prediction[i].argmax()}", fontsize=9)
        axis.set_xlabel(f"{off[i]:.1f} deviations off", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle("Handwritten digits, each predicted from all others")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
