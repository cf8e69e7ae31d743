"""What ``convert`` builds into a ``torch.nn.Sequential`` besides PyTorch's own layers."""

import torch
from torch.nn import functional


class Transpose(torch.nn.Module):
    """(batch, time, features) ↔ (batch, channels, time)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class Recurrent(torch.nn.Module):
    """An RNN, LSTM or GRU with ``batch_first=True`` that returns one tensor.

    Args:
        layer: the recurrent layer.
        sequences: return (batch, time, directions · hidden), else the last states, forward and
            backward side by side, (batch, directions · hidden).
    """

    def __init__(self, layer: torch.nn.RNNBase, sequences: bool = True) -> None:
        super().__init__()
        if not layer.batch_first:
            raise ValueError("layer must have batch_first=True")
        self.layer, self.sequences = layer, sequences

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, last = self.layer(x)
        last = last[0] if isinstance(last, tuple) else last
        return states if self.sequences else torch.cat(tuple(last), dim=-1)


class _Biased:
    """Batch norm whose running variance is the biased one, as in Keras."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(x)
        if not self.training:
            return super().forward(x)
        with torch.no_grad():
            axes = [i for i in range(x.ndim) if i != 1]
            variance, mean = torch.var_mean(x, axes, correction=0)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (variance - self.running_var)
            self.num_batches_tracked += 1
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class BiasedBatchNorm1d(_Biased, torch.nn.BatchNorm1d):
    """``BatchNorm1d`` with Keras' running variance."""


class BiasedBatchNorm2d(_Biased, torch.nn.BatchNorm2d):
    """``BatchNorm2d`` with Keras' running variance."""
