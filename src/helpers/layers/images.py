"""What convolution and pooling share: how images lie in memory, and what each output sees.

Arrays are (batch, channels, height, width) to their users and lie in memory as
(height, channels, width, batch): NumPy then works on rows of width · batch
numbers, and a product for each row of the image finds its operands in the cache.
"""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from helpers.arrays import Array
from helpers.layers.module import Function

Pair = int | tuple[int, int]


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """Return one number as two, for height and width, both at least ``least``."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in both):
        raise ValueError(f"{name} must be one or two whole numbers ≥ {least}, got {value!r}")
    return tuple(both)


def to_memory(x: Array) -> Array:
    """(batch, channels, height, width) → (height, channels, width, batch), contiguous."""
    return np.ascontiguousarray(x.transpose(2, 1, 3, 0))


def to_user(x: Array) -> Array:
    """(height, channels, width, batch) → (batch, channels, height, width), a view."""
    return x.transpose(3, 1, 0, 2)


def sliding_windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """View what each output sees: (out height, channels, kh, kw, out width, batch)."""
    (kh, kw), (dh, dw) = kernel, dilation
    spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    view = sliding_window_view(x, spans, axis=(0, 2))  # (H, C, W, N, span, span)
    view = view[:: stride[0], :, :: stride[1], :, ::dh, ::dw]
    return view.transpose(0, 1, 4, 5, 2, 3)


def fold(columns: Array, shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    """Add windows up where they overlap: the transpose of ``sliding_windows``."""
    out_h, _, kh, kw, out_w, _ = columns.shape
    image = np.zeros(shape, columns.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + stride[0] * (out_h - 1) + 1, stride[0])
            places = slice(left, left + stride[1] * (out_w - 1) + 1, stride[1])
            image[rows, :, places] += columns[:, :, i, j]
    return image


def padded(x: Array, padding: Pair) -> Array:
    """Surround (height, channels, width, batch) with zeros."""
    (ph, pw) = padding
    return np.pad(x, ((ph, ph), (0, 0), (pw, pw), (0, 0))) if ph or pw else x


def cropped(x: Array, padding: Pair) -> Array:
    (ph, pw), (h, _, w, _) = padding, x.shape
    return x[ph : h - ph, :, pw : w - pw]


class ZeroPad2d(Function):
    """Zeros around an image. Setting: padding, a number or (left, right, top, bottom)."""

    @staticmethod
    def function(x: Any, padding: int | tuple[int, int, int, int]) -> Any:
        if np.shape(padding) not in ((), (4,)) or np.min(padding) < 0:
            raise ValueError(
                "padding must be a number from 0 or four, (left, right, top, bottom), got "
                f"{padding!r}"
            )
        left, right, top, bottom = np.broadcast_to(padding, 4).tolist()
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


class Flatten(Function):
    """(batch, …) → (batch, n)."""

    def forward(self, x: Any) -> Any:
        return np.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
