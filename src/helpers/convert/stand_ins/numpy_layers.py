"""What ``convert`` builds into a ``helpers.nn.Sequential`` besides the engine's own layers."""

from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import Tensor
from helpers.layers.module import Module
from helpers.layers.normalization import BatchNorm1d, BatchNorm2d


class Transpose(Module):
    """(batch, time, features) ↔ (batch, channels, time)."""

    def forward(self, x: Any) -> Any:
        return np.swapaxes(x, 1, 2)


class Recurrent(Module):
    """An RNN, LSTM or GRU that returns its outputs or, without ``sequences``, its last states."""

    def __init__(self, layer: Module, sequences: bool = True) -> None:
        self.layer, self.sequences = layer, sequences

    def forward(self, x: Any) -> Any:
        states, last = self.layer(x)
        if self.sequences:
            return states
        last = last[0] if isinstance(last, tuple) else last
        return np.concatenate([last[i] for i in range(last.shape[0])], axis=-1)


class _Biased:
    """Batch norm whose running variance is the biased one, as in Keras."""

    def forward(self, x: Any) -> Any:
        if not self.training:
            return super().forward(x)
        kept = self.running_var.copy()
        result = super().forward(x)
        data: Array = x.data if isinstance(x, Tensor) else x
        variance = data.var(axis=(0, *range(2, data.ndim)))
        self.running_var[...] = kept + self.momentum * (variance - kept)
        return result


class BiasedBatchNorm1d(_Biased, BatchNorm1d):
    """``BatchNorm1d`` with Keras' running variance."""


class BiasedBatchNorm2d(_Biased, BatchNorm2d):
    """``BatchNorm2d`` with Keras' running variance."""
