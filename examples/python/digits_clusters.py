"""Handwritten digits told apart without labels, by spectral clustering on eight CPU devices.

Every second image of scikit-learn's `load_digits`, 899: a graph joins each image to the five most
like it. Where it falls into ten parts with few edges between them, the eigenvectors of the ten
largest eigenvalues of its normalised adjacency matrix D^-1/2 W D^-1/2 are nearly constant on each
(Ng, Jordan and Weiss, NIPS 2001). `jaxmg.eigh` finds them all, each device having its rows of the
matrix and its columns of eigenvectors; k-means finds the parts, and only the picture and the score
know the labels.
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
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph

import jaxmg

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("digits"), help="folder of the picture")
    output = parser.parse_args().output

    images, labels = (x[::2] for x in load_digits(return_X_y=True))
    joined = kneighbors_graph(images, 5).toarray()
    weights = np.maximum(joined, joined.T)

    # Eight does not divide 899: the matrix comes whole, and is padded and spread by the call.
    mesh = jax.make_mesh((jax.device_count(),), ("x",))

    @jax.jit
    def embed(weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        scale = 1 / jnp.sqrt(jnp.sum(weights, axis=1))
        adjacency = scale[:, None] * weights * scale
        w, v = jaxmg.eigh(adjacency, mesh=mesh)
        residual = jnp.linalg.norm(adjacency @ v - v * w) / jnp.linalg.norm(adjacency)
        return w, v, residual

    w, v, residual = (np.asarray(x) for x in embed(weights))
    error = np.abs(v.T @ v - np.eye(len(w))).max()
    print(f"{len(w)} eigenvalues: residual {residual:.0e}, V^T V differs from I by {error:.0e}")

    rows = v[:, -10:] / np.linalg.norm(v[:, -10:], axis=1, keepdims=True)
    clusters = KMeans(10, n_init=10, random_state=0).fit_predict(rows)
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (clusters, labels), 1)
    _, digit_of = linear_sum_assignment(-counts)  # the best name for each cluster
    right = counts[np.arange(10), digit_of].sum()
    accuracy = 100 * right / len(labels)
    plain = KMeans(10, n_init=10, random_state=0).fit_predict(images)
    plain_counts = np.zeros((10, 10), int)
    np.add.at(plain_counts, (plain, labels), 1)
    plain_right = plain_counts[linear_sum_assignment(-plain_counts)].sum()
    print(
        f"{accuracy:.1f} % of the images are in the cluster of their digit; k-means on the images "
        f"themselves: {100 * plain_right / len(labels):.1f} %"
    )
    assert residual < 1e-12 and error < 1e-12 and accuracy > 85 and right > plain_right

    output.mkdir(parents=True, exist_ok=True)
    picture = output / "digits_clusters.png"
    draw(labels, v, digit_of[clusters], picture)
    print(f"the digits in the plane of two eigenvectors: {picture}")


def draw(labels: np.ndarray, v: np.ndarray, named: np.ndarray, path: Path) -> None:
    """Each image at its entries of two eigenvectors, red where its cluster has another name."""
    figure, axis = plt.subplots(figsize=(8, 7), layout="constrained")
    x, y = (np.argsort(np.argsort(v[:, -k])) for k in (2, 3))  # ranks: they spread evenly
    axis.scatter(x, y, c=labels, cmap="tab10", s=90, alpha=0.3, linewidths=0)
    for i, digit in enumerate(labels):
        wrong = named[i] != digit
        axis.text(x[i], y[i], digit, ha="center", va="center", fontsize=7, color="rk"[not wrong])
    axis.set_xlabel("rank in the second eigenvector")
    axis.set_ylabel("rank in the third eigenvector")
    axis.set_title(f"{len(labels)} digits, clustered without labels; red: in another's cluster")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
