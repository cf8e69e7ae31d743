"""Recurrent layers, several upon each other and in both directions: the modules."""

from typing import Any

import numpy as np

from helpers.autodiff import Parameter
from helpers.layers.module import Module, check_sizes, uniform
from helpers.layers.recurrent import gru, lstm, rnn


class _Recurrent(Module):
    """Recurrent layers, one upon the other; PyTorch's names of the weights."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        rng: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.bidirectional = bidirectional
        rows, width = self.gates * hidden_size, input_size
        for i in range(num_layers):
            for suffix in self._directions():
                for name, shape in (
                    ("weight_ih", (rows, width)),
                    ("weight_hh", (rows, hidden_size)),
                    ("bias_ih", (rows,)),
                    ("bias_hh", (rows,)),
                ):
                    setattr(self, f"{name}_l{i}{suffix}", uniform(rng, hidden_size, shape, dtype))
            width = hidden_size * len(self._directions())

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _weights(self, layer: int, direction: str) -> list[Parameter]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l{layer}{direction}") for name in names]

    def _first(self, x: Any, state: Any) -> Any:
        shape = (self.num_layers * len(self._directions()), x.shape[0], self.hidden_size)
        if state is None:
            return np.zeros(shape, self.weight_hh_l0.dtype)
        if state.shape != shape:
            raise ValueError(f"the first state must have shape {shape}, got {state.shape}")
        return state

    def _run(self, x: Any, weights: list[Parameter], *states: Any) -> tuple[Any, ...]:
        """Return the outputs, (time, batch, hidden), and the last states."""
        raise NotImplementedError

    def _stack(self, x: Any, *firsts: Any) -> tuple[Any, list[Any]]:
        """Run all layers in all directions, and stack each kind of last states."""
        lasts, states = [], zip(*firsts, strict=True)
        for i in range(self.num_layers):
            outputs = []
            for direction in self._directions():
                seen = np.flip(x, 1) if direction else x
                value, *last = self._run(seen, self._weights(i, direction), *next(states))
                outputs.append(np.flip(value, 0) if direction else value)
                lasts.append(last)
            x = np.swapaxes(np.concatenate(outputs, -1) if self.bidirectional else value, 0, 1)
        return x, [np.stack(kind) for kind in zip(*lasts, strict=True)]

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Run over a sequence, and with ``bidirectional`` also from its end to its beginning.

        Args:
            x: (batch, time, input_size).
            h0: (num_layers · directions, batch, hidden_size), by default zeros; each layer's
                backward direction comes after its forward one.

        Returns:
            the last layer's states, (batch, time, directions · hidden_size), forward and
            backward side by side, and all last states, in the shape of h0. The backward
            direction's last state is the one at the first step of the sequence.
        """
        x, (last,) = self._stack(x, self._first(x, h0))
        return x, last


class RNN(_Recurrent):
    """Simple recurrent layer with tanh or ``nonlinearity="relu"``."""

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **kwargs: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(*args, **kwargs)
        self.nonlinearity = nonlinearity

    def _run(self, x: Any, weights: list[Parameter], *states: Any) -> tuple[Any, ...]:
        outputs = rnn(x, *weights, *states, relu=self.nonlinearity == "relu")
        return outputs, outputs[-1]


class GRU(_Recurrent):
    """Gated recurrent unit, gates r, z, n."""

    gates = 3

    def _run(self, x: Any, weights: list[Parameter], *states: Any) -> tuple[Any, ...]:
        outputs = gru(x, *weights, *states)
        return outputs, outputs[-1]


class LSTM(_Recurrent):
    """Long short-term memory, gates i, f, g, o."""

    gates = 4

    def _run(self, x: Any, weights: list[Parameter], *states: Any) -> tuple[Any, ...]:
        outputs = lstm(x, *weights, *states)
        return outputs[:-1], outputs[-2], outputs[-1]

    def forward(self, x: Any, state: Any = None) -> tuple[Any, tuple[Any, Any]]:
        """Run over a sequence, as the other layers; states are pairs (h, c)."""
        h0, c0 = (None, None) if state is None else state
        x, (h, c) = self._stack(x, self._first(x, h0), self._first(x, c0))
        return x, (h, c)
