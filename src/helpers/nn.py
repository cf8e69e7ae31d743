"""Layers of the NumPy engine, with PyTorch's names, arguments and weight layouts.

The state of a model is a flat dictionary of arrays under PyTorch's names, so
that ``model.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})``
copies a PyTorch model. Sequences are (batch, time, features). The layers are
written in ``helpers.layers``, a topic a file.
"""

from helpers import functional
from helpers.autodiff import Parameter
from helpers.layers.activations import (
    ELU,
    GELU,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from helpers.layers.attention import MultiHeadAttention
from helpers.layers.convolution import Conv1d, Conv2d, ConvTranspose2d
from helpers.layers.dense import Embedding, Linear
from helpers.layers.images import Flatten, ZeroPad2d
from helpers.layers.module import Module, Sequential
from helpers.layers.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from helpers.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from helpers.layers.recurrent_modules import GRU, LSTM, RNN
from helpers.layers.training import Dropout, fit, train_step

__all__ = [
    "ELU", "GELU", "GRU", "LSTM", "RNN", "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d",
    "BatchNorm2d", "Conv1d", "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "Flatten",
    "GroupNorm", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module",
    "MultiHeadAttention", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh", "ZeroPad2d", "fit", "functional", "train_step",
]  # fmt: skip
