"""Weights, models and optimisers between Keras, PyTorch and the NumPy engine.

``copy_weights`` moves the weights between two models that were each written in a framework,
``convert`` builds the other model too, ``convert_optimizer`` takes a running optimiser along.
"""

from helpers.convert.kinds import ConversionError
from helpers.convert.models import convert
from helpers.convert.optimizers import convert_optimizer
from helpers.convert.pairing import pairs, transfer
from helpers.convert.weights import copy_weights, get_dense, get_weights, set_dense, set_weights

__all__ = [
    "ConversionError", "convert", "convert_optimizer", "copy_weights", "get_dense", "get_weights",
    "pairs", "set_dense", "set_weights", "transfer",
]  # fmt: skip
