"""Gaussian-process (kernel ridge) classification of handwritten digits on all devices.

All 1,797 images of scikit-learn's `load_digits` enter one kernel matrix, built and kept in row
blocks on all devices. Eight does not divide 1797, so its storage has 1800 rows there, and `n=1797`
tells `jaxmg.potrs` where the matrix ends. Test images take part with an observation noise so large
that their labels, which are not given, do not matter: the solution is that of a fit to the
training images, and the same sharded matrix then predicts the test images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 8)  # where there are no GPUs
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import train_test_split

import jaxmg

matplotlib.use("Agg")
import matplotlib.pyplot as plt

GAMMA = 0.001  # of the kernel exp(-gamma |x - y|^2), for pixels from 0 to 16
NOISE = 1e-3  # variance of the observation noise, kernel ridge's alpha
UNSEEN = 1e4  # the same for images whose label is not given


@jax.jit
def kernel_matrix(rows: jax.Array, images: jax.Array, noise: jax.Array) -> jax.Array:
    """exp(-gamma |x_i - y_j|^2) + diag(noise): sharded as `rows` are, `images` replicated."""
    squared = jnp.sum(rows**2, axis=1)[:, None] + jnp.sum(images**2, axis=1)[None, :]
    distance = jnp.maximum(squared - 2 * rows @ images.T, 0)
    return jnp.exp(-GAMMA * distance) + jnp.diag(noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("digits"), help="folder of the picture")
    output = parser.parse_args().output

    images, labels = load_digits(return_X_y=True)
    n = len(images)
    train, test = train_test_split(np.arange(n), test_size=0.25, random_state=0, stratify=labels)
    targets = np.where(labels[:, None] == np.arange(10), 1.0, -1.0)

    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    by_rows = NamedSharding(mesh, P("x", None))
    everywhere = NamedSharding(mesh, P(None, None))
    padded = np.pad(images, ((0, -n % mesh.size), (0, 0)))
    noise = np.full(len(padded), UNSEEN)
    noise[train] = NOISE
    b = np.zeros((n, 10))
    b[train] = targets[train]

    print(
        f"{n} images, {len(train)} to learn from, {len(test)} to test; {jax.device_count()} devices"
    )
    K = kernel_matrix(
        jax.device_put(padded, by_rows),
        jax.device_put(padded, everywhere),
        jax.device_put(noise, NamedSharding(mesh, P(None))),
    )
    print(f"kernel matrix {jax.typeof(K)}, {K.addressable_shards[0].data.shape} on each device")

    @jax.jit
    def solve(K: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jaxmg.potrs(
            K, b, mesh=mesh, in_specs=(P("x", None), P(None, None)), n=n, return_status=True
        )

    b = jax.device_put(b, everywhere)
    alpha, status = jax.block_until_ready(solve(K, b))
    begin = time.perf_counter()
    alpha, status = jax.block_until_ready(solve(K, b))
    seconds = time.perf_counter() - begin
    assert int(status) == 0, "the kernel matrix is not positive definite"

    matrix, alpha, b = (np.asarray(x) for x in (K, alpha, b))
    matrix = matrix[:n, :n]
    residual = np.linalg.norm(b - matrix @ alpha, 1) / (
        n * np.finfo(np.float64).eps * np.linalg.norm(matrix, 1) * np.linalg.norm(alpha, 1)
    )
    print(f"potrs, n = {n}, 10 right-hand sides: {1e3 * seconds:.0f} ms")
    print(f"scaled residual {residual:.1e}")

    prediction = matrix @ alpha - noise[:n, None] * alpha  # the kernel alone, without the noise
    scores = prediction[test]
    predicted = scores.argmax(axis=1)
    accuracy = 100 * np.mean(predicted == labels[test])
    ridge = KernelRidge(alpha=NOISE, kernel="rbf", gamma=GAMMA).fit(images[train], targets[train])
    reference = 100 * np.mean(ridge.predict(images[test]).argmax(axis=1) == labels[test])
    print(
        f"accuracy {accuracy:.2f} %, scikit-learn's KernelRidge on the same split {reference:.2f} %"
    )
    assert abs(accuracy - reference) <= 0.2 and residual < 10

    output.mkdir(parents=True, exist_ok=True)
    picture = output / "digits.png"
    draw_hardest(images[test], labels[test], scores, picture)
    print(f"the images it is least sure of, and those it gets wrong: {picture}")


def draw_hardest(images: np.ndarray, labels: np.ndarray, scores: np.ndarray, path: Path) -> None:
    """The 20 images with the smallest margin of the true digit over the best other one."""
    true = scores[np.arange(len(labels)), labels]
    others = scores.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    margin = true - others.max(axis=1)
    figure, axes = plt.subplots(4, 5, figsize=(7.5, 7), layout="constrained")
    for axis, i in zip(axes.flat, np.argsort(margin), strict=False):
        wrong = margin[i] < 0
        axis.imshow(images[i].reshape(8, 8), cmap="gray_r")
        axis.set_title(
            f"{labels[i]}, taken for {scores[i].argmax()}" if wrong else f"{labels[i]}, right",
            color="tab:red" if wrong else "black",
            fontsize=9,
        )
        axis.set_xlabel(f"margin {margin[i]:+.2f}", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle("Handwritten digits with the smallest margin")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
