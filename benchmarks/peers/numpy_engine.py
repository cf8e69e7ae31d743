"""The book's NumPy engine."""

from collections.abc import Callable

import numpy as np

from helpers import functional as F  # noqa: N812
from helpers import nn, optim
from helpers.autodiff import Tensor

from ..workloads import D_FF, D_MODEL, HEADS, LR, LSTM_HIDDEN, LSTM_INPUT, Arrays


def step(
    model: nn.Module, weights: Arrays, inputs: np.ndarray, labels: np.ndarray
) -> Callable[[], np.ndarray]:
    """One training step of a model with the given weights, as a function."""
    model.load_state_dict(weights)
    optimizer = optim.SGD(model.parameters(), lr=LR)

    def train() -> np.ndarray:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.data

    return train


def sequential(*layers: nn.Module) -> Callable:
    """The step of layers one after the other, which take the weights in their order."""

    def build(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
        model = nn.Sequential(*layers)
        named = dict(zip(model.state_dict(), weights.values(), strict=True))
        return step(model, named, inputs, labels)

    return build


mlp = sequential(
    *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
)
cnn = sequential(
    *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
    *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
)


class LSTM(nn.Module):
    def __init__(self) -> None:
        self.lstm = nn.LSTM(LSTM_INPUT, LSTM_HIDDEN)
        self.head = nn.Linear(LSTM_HIDDEN, 10)

    def forward(self, x: np.ndarray) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        self.attention = nn.MultiHeadAttention(D_MODEL, HEADS)
        self.norm1, self.norm2 = nn.LayerNorm(D_MODEL), nn.LayerNorm(D_MODEL)
        self.ff1, self.ff2 = nn.Linear(D_MODEL, D_FF), nn.Linear(D_FF, D_MODEL)
        self.head = nn.Linear(D_MODEL, 10)

    def forward(self, x: np.ndarray) -> Tensor:
        x = self.norm1(x + self.attention(x))
        x = self.norm2(x + self.ff2(F.relu(self.ff1(x))))
        return self.head(np.mean(x, axis=1))


def lstm(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    """The LSTM's step, with PyTorch's names of the weights: ``lstm.weight_ih_l0`` …"""
    named = {}
    for name, value in weights.items():
        layer, part = name.split(".")
        named[name if layer == "head" else f"lstm.{part}_{layer}_l0"] = value
    return step(LSTM(), named, inputs, labels)


def transformer(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    """The encoder's step, with PyTorch's names of the weights of attention."""
    attention = {"qkv": "attention.in_proj_", "proj": "attention.out_proj."}
    named = {}
    for name, value in weights.items():
        layer, part = name.split(".")
        named[attention.get(layer, f"{layer}.") + part] = value
    return step(Encoder(), named, inputs, labels)


WORKLOADS: dict[str, Callable] = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "transformer": transformer}


def chain(x: np.ndarray, w: np.ndarray, b: np.ndarray, rounds: int) -> Callable[[], None]:
    """Forward and backward through ``rounds`` of multiply, add and tanh, then a sum."""
    start, scale, shift = (Tensor(a, requires_grad=True) for a in (x, w, b))

    def run() -> None:
        y = start
        for _ in range(rounds):
            y = np.tanh(y * scale + shift)
        y.sum().backward()
        start.grad = scale.grad = shift.grad = None

    return run
