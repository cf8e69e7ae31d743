"""JAX, each training step one ``jit``-compiled function with donated weights."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..workloads import EPSILON, HEADS, LR, LSTM_HIDDEN, Arrays

Weights = dict[str, jax.Array]


def step(
    logits: Callable[[Weights, jax.Array], jax.Array],
    weights: Arrays,
    inputs: np.ndarray,
    labels: np.ndarray,
) -> Callable[[], jax.Array]:
    """One training step; the weights are donated to it and kept between calls."""
    parameters = jax.tree.map(jnp.array, weights)
    x, y = jnp.array(inputs), jnp.array(labels)

    def cross_entropy(parameters: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(logits(parameters, x))
        return -jnp.take_along_axis(log_probabilities, y[:, None], 1).mean()

    @partial(jax.jit, donate_argnums=0)
    def update(parameters: Weights, x: jax.Array, y: jax.Array) -> tuple[jax.Array, Weights]:
        loss, gradients = jax.value_and_grad(cross_entropy)(parameters, x, y)
        return loss, jax.tree.map(lambda p, g: p - LR * g, parameters, gradients)

    def train() -> jax.Array:
        nonlocal parameters
        loss, parameters = update(parameters, x, y)
        return loss

    return train


def linear(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def mlp(weights: Weights, x: jax.Array) -> jax.Array:
    h = jax.nn.relu(linear(weights, "fc1", x))
    return linear(weights, "fc3", jax.nn.relu(linear(weights, "fc2", h)))


def cnn(weights: Weights, x: jax.Array) -> jax.Array:
    """Channels last, and maxima over reshaped windows: quicker than the alternatives."""
    layout = ("NHWC", "OIHW", "NHWC")
    for name, padding in (("conv1", 2), ("conv2", 0)):
        x = lax.conv_general_dilated(
            x,
            weights[f"{name}.weight"],
            window_strides=(1, 1),
            padding=[(padding, padding)] * 2,
            dimension_numbers=layout,
        )
        x = jax.nn.relu(x + weights[f"{name}.bias"])
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    return mlp(weights, x.transpose(0, 3, 1, 2).reshape(len(x), -1))


def lstm(weights: Weights, x: jax.Array) -> jax.Array:
    def cell(state: tuple[jax.Array, jax.Array], driven: jax.Array):
        h, c = state
        i, f, g, o = jnp.split(driven + linear(weights, "hh", h), 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), LSTM_HIDDEN))
    (h, _), _ = lax.scan(cell, (zeros, zeros), linear(weights, "ih", x.swapaxes(0, 1)))
    return linear(weights, "head", h)


def layer_norm(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    normal = (x - mean) * lax.rsqrt(variance + EPSILON)
    return normal * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def transformer(weights: Weights, x: jax.Array) -> jax.Array:
    split = (*x.shape[:2], HEADS, -1)
    q, k, v = (part.reshape(split) for part in jnp.split(linear(weights, "qkv", x), 3, axis=-1))
    attended = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = layer_norm(weights, "norm1", x + linear(weights, "proj", attended))
    hidden = jax.nn.relu(linear(weights, "ff1", x))
    x = layer_norm(weights, "norm2", x + linear(weights, "ff2", hidden))
    return linear(weights, "head", x.mean(1))


WORKLOADS: dict[str, Callable] = {
    "mlp": partial(step, mlp),
    "cnn": lambda weights, images, labels: step(cnn, weights, images.transpose(0, 2, 3, 1), labels),
    "lstm": partial(step, lstm),
    "transformer": partial(step, transformer),
}
