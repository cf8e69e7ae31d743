"""PyTorch, eager: the yardstick."""

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..workloads import D_FF, D_MODEL, HEADS, LR, LSTM_HIDDEN, LSTM_INPUT, Arrays

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def step(model: nn.Module, weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    """One training step of a model with the given weights, as a function."""
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)

    def train() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 256), nn.Linear(256, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(LSTM_INPUT, LSTM_HIDDEN, batch_first=True)
        self.head = nn.Linear(LSTM_HIDDEN, 10)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(D_MODEL, 3 * D_MODEL), nn.Linear(D_MODEL, D_MODEL)
        self.ff1, self.ff2 = nn.Linear(D_MODEL, D_FF), nn.Linear(D_FF, D_MODEL)
        self.norm1, self.norm2 = nn.LayerNorm(D_MODEL), nn.LayerNorm(D_MODEL)
        self.head = nn.Linear(D_MODEL, 10)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.proj(attended))
        x = self.norm2(x + self.ff2(F.relu(self.ff1(x))))
        return self.head(x.mean(1))


def lstm(weights: Arrays, inputs: np.ndarray, labels: np.ndarray):
    """The LSTM's step; PyTorch calls its weights ``lstm.weight_ih_l0`` …"""
    named = {}
    for name, value in weights.items():
        layer, part = name.split(".")
        named[name if layer == "head" else f"lstm.{part}_{layer}_l0"] = value
    return step(LSTM(), named, inputs, labels)


WORKLOADS: dict[str, Callable] = {
    "mlp": lambda *data: step(MLP(), *data),
    "cnn": lambda *data: step(LeNet(), *data),
    "lstm": lstm,
    "transformer": lambda *data: step(Encoder(), *data),
}


def chain(x: np.ndarray, w: np.ndarray, b: np.ndarray, rounds: int) -> Callable[[], None]:
    """Forward and backward through ``rounds`` of multiply, add and tanh, then a sum."""
    start, scale, shift = (torch.tensor(a, requires_grad=True) for a in (x, w, b))

    def run() -> None:
        y = start
        for _ in range(rounds):
            y = torch.tanh(y * scale + shift)
        y.sum().backward()
        start.grad = scale.grad = shift.grad = None

    return run
