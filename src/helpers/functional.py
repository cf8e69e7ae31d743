"""Fused primitives of the NumPy engine: where a closed form beats the composition.

Tensors give tensors and arrays give arrays. Names, arguments and layouts are
PyTorch's: a dense layer's weight is (out, in). The primitives
are written in ``helpers.layers``, a topic a file.
"""

from helpers.layers.activations import gelu, log_softmax, relu, sigmoid, softmax, softplus
from helpers.layers.attention import scaled_dot_product_attention, self_attention
from helpers.layers.convolution import conv2d, conv_transpose2d
from helpers.layers.dense import embedding, linear
from helpers.layers.losses import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from helpers.layers.normalization import batch_norm, layer_norm
from helpers.layers.pooling import avg_pool2d, max_pool2d
from helpers.layers.recurrent import gru, lstm, rnn
from helpers.layers.training import dropout

__all__ = [
    "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "conv2d",
    "conv_transpose2d", "cross_entropy", "dropout", "embedding", "gelu", "gru",
    "layer_norm", "linear", "log_softmax", "lstm", "max_pool2d", "mse_loss", "relu",
    "rnn", "scaled_dot_product_attention", "self_attention", "sigmoid", "softmax", "softplus",
]  # fmt: skip
