"""mygrad, with layers of ``mygrad.nnet`` and with memory guarding off."""

from collections.abc import Callable
from functools import partial

import mygrad as mg
import numpy as np
from mygrad import Tensor
from mygrad.nnet import conv_nd, relu, sigmoid, softmax, softmax_crossentropy

from ..workloads import EPSILON, HEADS, LR, LSTM_HIDDEN, Arrays

mg.turn_memory_guarding_off()  # its documentation's advice for speed

Weights = dict[str, Tensor]


def step(
    logits: Callable[[Weights, np.ndarray], Tensor],
    weights: Arrays,
    inputs: np.ndarray,
    labels: np.ndarray,
) -> Callable[[], float]:
    """One training step; mygrad drops gradients when a tensor is used next."""
    tensors = {name: mg.tensor(value) for name, value in weights.items()}

    def train() -> float:
        loss = softmax_crossentropy(logits(tensors, inputs), labels)
        loss.backward()
        for tensor in tensors.values():
            tensor.data -= LR * tensor.grad
        return loss.item()

    return train


def linear(weights: Weights, name: str, x: Tensor | np.ndarray) -> Tensor:
    return mg.matmul(x, weights[f"{name}.weight"].T) + weights[f"{name}.bias"]


def mlp(weights: Weights, x: Tensor | np.ndarray) -> Tensor:
    return linear(weights, "fc3", relu(linear(weights, "fc2", relu(linear(weights, "fc1", x)))))


def cnn(weights: Weights, x: Tensor | np.ndarray) -> Tensor:
    """Pooling as maxima of slices, which makes the step a third shorter than ``max_pool`` does."""
    for name, padding in (("conv1", 2), ("conv2", 0)):
        x = conv_nd(x, weights[f"{name}.weight"], stride=1, padding=padding)
        x = relu(x + weights[f"{name}.bias"].reshape(1, -1, 1, 1))
        left = mg.maximum(x[:, :, ::2, ::2], x[:, :, 1::2, ::2])
        right = mg.maximum(x[:, :, ::2, 1::2], x[:, :, 1::2, 1::2])
        x = mg.maximum(left, right)
    return mlp(weights, x.reshape(len(x), -1))


def lstm(weights: Weights, x: np.ndarray) -> Tensor:
    """Composed, as mygrad has no LSTM."""
    driven = linear(weights, "ih", np.ascontiguousarray(x.swapaxes(0, 1)))
    h = c = np.zeros((len(x), LSTM_HIDDEN), np.float32)
    n = LSTM_HIDDEN
    for step_input in driven:
        z = step_input + linear(weights, "hh", h)
        i, f, g, o = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
        c = sigmoid(f) * c + sigmoid(i) * mg.tanh(g)
        h = sigmoid(o) * mg.tanh(c)
    return linear(weights, "head", h)


def layer_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdims=True)
    deviation = mg.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(EPSILON))
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def transformer(weights: Weights, x: np.ndarray) -> Tensor:
    batch, time, d = x.shape
    qkv = linear(weights, "qkv", x).reshape(batch, time, 3, HEADS, d // HEADS)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    scores = mg.matmul(q, k.transpose(0, 1, 3, 2)) * np.float32((d // HEADS) ** -0.5)
    attended = mg.matmul(softmax(scores), v).transpose(0, 2, 1, 3).reshape(batch, time, d)
    x = layer_norm(weights, "norm1", x + linear(weights, "proj", attended))
    hidden = relu(linear(weights, "ff1", x))
    x = layer_norm(weights, "norm2", x + linear(weights, "ff2", hidden))
    return linear(weights, "head", x.mean(1))


WORKLOADS: dict[str, Callable] = {
    f.__name__: partial(step, f) for f in (mlp, cnn, lstm, transformer)
}


def chain(x: np.ndarray, w: np.ndarray, b: np.ndarray, rounds: int) -> Callable[[], None]:
    """Forward and backward through ``rounds`` of multiply, add and tanh, then a sum."""
    start, scale, shift = (mg.tensor(a) for a in (x, w, b))

    def run() -> None:
        y = start
        for _ in range(rounds):
            y = mg.tanh(y * scale + shift)
        y.sum().backward()

    return run
