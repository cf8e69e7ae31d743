"""TensorFlow, each training step one ``tf.function``."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ..workloads import EPSILON, HEADS, LR, LSTM_HIDDEN, Arrays

_THREADS = int(os.environ["OMP_NUM_THREADS"])
tf.config.threading.set_intra_op_parallelism_threads(_THREADS)
tf.config.threading.set_inter_op_parallelism_threads(_THREADS)

Weights = dict[str, tf.Variable]


def step(
    logits: Callable[[Weights, tf.Tensor], tf.Tensor],
    weights: Arrays,
    inputs: np.ndarray,
    labels: np.ndarray,
) -> Callable[[], tf.Tensor]:
    """One training step as a compiled function of nothing."""
    variables = {name: tf.Variable(value) for name, value in weights.items()}
    x, y = tf.constant(inputs), tf.constant(labels)

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits(variables, x))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, list(variables.values()))
        for variable, gradient in zip(variables.values(), gradients, strict=True):
            variable.assign_sub(LR * gradient)
        return loss

    return lambda: train(x, y)


def linear(weights: Weights, name: str, x: tf.Tensor) -> tf.Tensor:
    """A linear layer; ``columns`` has made its weight (in, out)."""
    return tf.nn.bias_add(tf.matmul(x, weights[f"{name}.weight"]), weights[f"{name}.bias"])


def columns(weights: Arrays) -> Arrays:
    """The weights with every matrix transposed, and convolutions as TensorFlow has them."""
    turn = {2: (1, 0), 4: (2, 3, 1, 0)}
    return {name: a.transpose(turn[a.ndim]) if a.ndim > 1 else a for name, a in weights.items()}


def mlp_logits(weights: Weights, x: tf.Tensor) -> tf.Tensor:
    h = tf.nn.relu(linear(weights, "fc1", x))
    return linear(weights, "fc3", tf.nn.relu(linear(weights, "fc2", h)))


def mlp(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    return step(mlp_logits, columns(weights), inputs, labels)


def cnn_logits(weights: Weights, x: tf.Tensor) -> tf.Tensor:
    for name, padding in (("conv1", "SAME"), ("conv2", "VALID")):
        x = tf.nn.conv2d(x, weights[f"{name}.weight"], 1, padding)
        x = tf.nn.relu(tf.nn.bias_add(x, weights[f"{name}.bias"]))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return mlp_logits(weights, tf.reshape(x, (x.shape[0], -1)))


def cnn(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    """Images as (batch, height, width, channels), which is what it runs on a CPU."""
    first = weights["fc1.weight"].reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, 400)
    weights = columns({**weights, "fc1.weight": first})
    return step(cnn_logits, weights, inputs.transpose(0, 2, 3, 1), labels)


def lstm_logits(weights: Weights, x: tf.Tensor) -> tf.Tensor:
    """Unrolled, time first: quicker than ``keras.layers.LSTM`` and the ``BlockLSTM`` kernel."""
    bias = weights["ih.bias"] + weights["hh.bias"]
    driven = tf.tensordot(x, weights["ih.weight"], 1) + bias
    h = c = tf.zeros((x.shape[1], LSTM_HIDDEN))
    for step_input in tf.unstack(driven):
        i, f, g, o = tf.split(step_input + tf.matmul(h, weights["hh.weight"]), 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
    return linear(weights, "head", h)


def lstm(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    return step(lstm_logits, columns(weights), inputs.transpose(1, 0, 2), labels)


def layer_norm(weights: Weights, name: str, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, weights[f"{name}.bias"], weights[f"{name}.weight"], EPSILON
    )


def transformer_logits(weights: Weights, x: tf.Tensor) -> tf.Tensor:
    batch, time, d = x.shape
    rows = tf.reshape(x, (-1, d))  # plain matrix products are quicker than batched ones
    qkv = tf.reshape(linear(weights, "qkv", rows), (batch, time, 3, HEADS, d // HEADS))
    q, k, v = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))
    scores = tf.matmul(q, k, transpose_b=True) * (d // HEADS) ** -0.5
    attended = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
    attended = linear(weights, "proj", tf.reshape(attended, (-1, d)))
    rows = layer_norm(weights, "norm1", rows + attended)
    hidden = tf.nn.relu(linear(weights, "ff1", rows))
    rows = layer_norm(weights, "norm2", rows + linear(weights, "ff2", hidden))
    return linear(weights, "head", tf.reduce_mean(tf.reshape(rows, (batch, time, d)), 1))


def transformer(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    return step(transformer_logits, columns(weights), inputs, labels)


WORKLOADS: dict[str, Callable] = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "transformer": transformer}
