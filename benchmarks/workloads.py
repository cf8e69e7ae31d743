"""The four workloads: their shapes, one batch each, and the initial weights.

Weights have PyTorch's layouts and names: a linear layer's weight is (out, in), a convolution's
(out, in, height, width), the gates of the LSTM come in the order input, forget, cell, output. A
contestant that wants another layout converts them. Everything is drawn from one NumPy generator
per workload, so that every process has the same numbers.
"""

import numpy as np

Arrays = dict[str, np.ndarray]

LR = 0.01
CLASSES = 10
EPSILON = 1e-5  # of layer normalisation

LSTM_INPUT, LSTM_HIDDEN, LSTM_STEPS, LSTM_BATCH = 64, 128, 32, 32
D_MODEL, HEADS, D_FF, T, TRANSFORMER_BATCH = 128, 4, 512, 64, 16

DESCRIPTIONS = {
    "mlp": "784-256-128-10, ReLU, batch 128",
    "cnn": "LeNet on 28×28 (convolutions of 6 and 16, linear 400-120-84-10), ReLU, batch 64",
    "lstm": "input 64, hidden 128, 32 steps, batch 32, last state to linear 10",
    "transformer": "encoder block, post-norm, d 128, 4 heads, MLP 512, 64 steps, batch 16",
}

_INPUTS = {
    "mlp": (128, 784),
    "cnn": (64, 1, 28, 28),
    "lstm": (LSTM_BATCH, LSTM_STEPS, LSTM_INPUT),
    "transformer": (TRANSFORMER_BATCH, T, D_MODEL),
}

# (name, shape of the weight); every one has a bias of as many numbers as the weight has rows.
_LAYERS = {
    "mlp": [("fc1", (256, 784)), ("fc2", (128, 256)), ("fc3", (10, 128))],
    "cnn": [
        ("conv1", (6, 1, 5, 5)),
        ("conv2", (16, 6, 5, 5)),
        ("fc1", (120, 400)),
        ("fc2", (84, 120)),
        ("fc3", (10, 84)),
    ],
    "lstm": [("ih", (512, 64)), ("hh", (512, 128)), ("head", (10, 128))],
    "transformer": [
        ("qkv", (384, 128)),
        ("proj", (128, 128)),
        ("ff1", (512, 128)),
        ("ff2", (128, 512)),
        ("head", (10, 128)),
    ],
}


def data(workload: str) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Draw a workload's weights and its batch.

    Args:
        workload: a key of ``DESCRIPTIONS``.

    Returns:
        The weights by name (``fc1.weight``, ``fc1.bias`` …), the inputs (float32) and the
        labels (int64). The LSTM's inputs and the Transformer's are (batch, time, features), the
        images (batch, channels, height, width).
    """
    rng = np.random.default_rng([2024, list(DESCRIPTIONS).index(workload)])
    weights: Arrays = {}
    for name, shape in _LAYERS[workload]:
        fan_in = LSTM_HIDDEN if workload == "lstm" else int(np.prod(shape[1:]))
        bound = 1 / fan_in**0.5
        for part, size in ((f"{name}.weight", shape), (f"{name}.bias", shape[:1])):
            weights[part] = rng.uniform(-bound, bound, size).astype(np.float32)
    if workload == "transformer":
        for name in ("norm1", "norm2"):
            weights[f"{name}.weight"] = np.ones(D_MODEL, np.float32)
            weights[f"{name}.bias"] = np.zeros(D_MODEL, np.float32)
    inputs = rng.standard_normal(_INPUTS[workload], dtype=np.float32)
    labels = rng.integers(0, CLASSES, len(inputs))
    return weights, inputs, labels
