"""HIPS autograd: NumPy code, differentiated by ``value_and_grad``."""

from collections.abc import Callable
from functools import partial

import autograd.numpy as np
import numpy
from autograd import grad, value_and_grad

from ..workloads import EPSILON, HEADS, LR, LSTM_HIDDEN, Arrays

Array = numpy.ndarray


def step(
    logits: Callable[[Arrays, Array], Array], weights: Arrays, inputs: Array, labels: Array
) -> Callable[[], float]:
    """One training step, with the weights updated in place."""
    weights = {name: value.copy() for name, value in weights.items()}
    one_hot = numpy.eye(10, dtype=numpy.float32)[labels]

    def cross_entropy(weights: Arrays) -> Array:
        z = logits(weights, inputs)
        z = z - np.max(z, axis=1, keepdims=True)
        log_probabilities = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        return -np.sum(log_probabilities * one_hot) / len(one_hot)

    differentiate = value_and_grad(cross_entropy)

    def train() -> float:
        loss, gradients = differentiate(weights)
        for name, value in weights.items():
            value -= LR * gradients[name]
        return loss

    return train


def relu(x: Array) -> Array:
    return np.maximum(x, numpy.float32(0))


def sigmoid(x: Array) -> Array:
    return (np.tanh(x / 2) + 1) / 2


def linear(weights: Arrays, name: str, x: Array) -> Array:
    return np.dot(x, weights[f"{name}.weight"].T) + weights[f"{name}.bias"]


def mlp(weights: Arrays, x: Array) -> Array:
    return linear(weights, "fc3", relu(linear(weights, "fc2", relu(linear(weights, "fc1", x)))))


def cnn(weights: Arrays, x: Array) -> Array:
    """Each convolution is one product with the 25 shifted images, one below the other.

    ``autograd.scipy.signal.convolve``, which autograd's own example uses, is slower.
    """
    for name, padding in (("conv1", 2), ("conv2", 0)):
        if padding:
            x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "constant")
        n, c, height, width = x.shape
        h, w = height - 4, width - 4
        shifted = [x[:, :, i : i + h, j : j + w] for i in range(5) for j in range(5)]
        patches = np.concatenate([np.reshape(a, (n, c, h * w)) for a in shifted], axis=1)
        rows = np.transpose(weights[f"{name}.weight"], (0, 2, 3, 1)).reshape((-1, c * 25))
        x = relu(np.matmul(rows, patches) + weights[f"{name}.bias"][:, None])
        x = np.max(np.reshape(x, (n, -1, h // 2, 2, w // 2, 2)), axis=(3, 5))
    return mlp(weights, np.reshape(x, (n, -1)))


def lstm(weights: Arrays, x: Array) -> Array:
    driven = linear(weights, "ih", x.swapaxes(0, 1))
    h = c = numpy.zeros((len(x), LSTM_HIDDEN), numpy.float32)
    for t in range(len(driven)):
        i, f, g, o = np.split(driven[t] + linear(weights, "hh", h), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return linear(weights, "head", h)


def layer_norm(weights: Arrays, name: str, x: Array) -> Array:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + EPSILON)
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def transformer(weights: Arrays, x: Array) -> Array:
    batch, time, d = x.shape
    qkv = np.reshape(linear(weights, "qkv", x), (batch, time, 3, HEADS, d // HEADS))
    q, k, v = (np.transpose(qkv[:, :, n], (0, 2, 1, 3)) for n in range(3))
    scores = np.matmul(q, np.swapaxes(k, 2, 3)) * (d // HEADS) ** -0.5
    exponentials = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    probabilities = exponentials / np.sum(exponentials, axis=-1, keepdims=True)
    attended = np.reshape(np.transpose(np.matmul(probabilities, v), (0, 2, 1, 3)), x.shape)
    x = layer_norm(weights, "norm1", x + linear(weights, "proj", attended))
    hidden = relu(linear(weights, "ff1", x))
    x = layer_norm(weights, "norm2", x + linear(weights, "ff2", hidden))
    return linear(weights, "head", np.mean(x, axis=1))


WORKLOADS: dict[str, Callable] = {
    f.__name__: partial(step, f) for f in (mlp, cnn, lstm, transformer)
}


def chain(x: Array, w: Array, b: Array, rounds: int) -> Callable[[], None]:
    """Forward and backward through ``rounds`` of multiply, add and tanh, then a sum."""

    def total(start: Array, scale: Array, shift: Array) -> Array:
        y = start
        for _ in range(rounds):
            y = np.tanh(y * scale + shift)
        return np.sum(y)

    differentiate = grad(total, argnum=(0, 1, 2))
    return lambda: differentiate(x, w, b)
