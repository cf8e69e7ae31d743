"""Pooling over images: the maximum or the mean of each window, or of the whole."""

import operator
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import primitive
from helpers.layers.images import Pair, fold, pair, sliding_windows, to_memory, to_user
from helpers.layers.module import Function


def _pooling(x: Array, kernel_size: Pair, stride: Pair | None) -> tuple[Pair, Pair]:
    kernel = pair("kernel_size", kernel_size, 1)
    if x.ndim != 4 or kernel[0] > x.shape[2] or kernel[1] > x.shape[3]:
        raise ValueError(
            "x must have shape (batch, channels, height, width), no smaller than the window "
            f"{kernel}, got {x.shape}"
        )
    return kernel, kernel if stride is None else pair("stride", stride, 1)


def _pool_axis(x: Array, axis: int, size: int, stride: int) -> tuple[Array, Any]:
    """Maximum over windows along one axis, and its pullback; the first of equals gets it all."""
    places = (x.shape[axis] - size) // stride + 1

    def part(a: Array, i: int) -> Array:
        index = (slice(None),) * axis + (slice(i, i + stride * (places - 1) + 1, stride),)
        return a[index]

    # Windows that do not overlap are written once, which is faster than adding.
    give = operator.iadd if stride < size else np.copyto

    leading = [part(x, 0)]  # the maximum of the first one, two, … of each window
    for i in range(1, size):
        leading.append(np.maximum(leading[-1], part(x, i)))

    def pullback(g: Array) -> Array:
        full = np.zeros(x.shape, g.dtype)
        for i in reversed(range(1, size)):
            taken = g * (part(x, i) > leading[i - 1])
            give(part(full, i), taken)
            g = g - taken
        give(part(full, 0), g)
        return full

    return leading[-1], pullback


@primitive
def max_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None) -> Any:
    """Maximum of each window, first along the width and then along the height.

    Args:
        x: (batch, channels, height, width).
        kernel_size: a number, or two for height and width.
        stride: the same; by default the kernel's size.

    Returns:
        (batch, channels, H, W) with H = ⌊(height − kernel)/stride⌋ + 1. Where
        several are equal, the first in reading order gets the gradient.

    Raises:
        ValueError: the window is larger than the image.
    """
    kernel, stride = _pooling(x, kernel_size, stride)
    rows, by_row = _pool_axis(to_memory(x), 2, kernel[1], stride[1])
    value, by_value = _pool_axis(rows, 0, kernel[0], stride[0])
    return to_user(value), (lambda g: to_user(by_row(by_value(to_memory(g)))), None, None)


@primitive
def avg_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None) -> Any:
    """Mean of each window; arguments, shapes and errors as ``max_pool2d``."""
    kernel, stride = _pooling(x, kernel_size, stride)
    image = to_memory(x)
    windows = sliding_windows(image, kernel, stride, (1, 1))

    def pullback(g: Array) -> Array:
        shared = to_memory(g)[:, :, None, None] / (kernel[0] * kernel[1])
        return to_user(fold(np.broadcast_to(shared, windows.shape), image.shape, stride, (1, 1)))

    return to_user(windows.mean(axis=(2, 3))), (pullback, None, None)


class MaxPool2d(Function):
    """Settings: kernel_size, stride (by default the kernel's size)."""

    function = max_pool2d


class AvgPool2d(Function):
    """Settings: kernel_size, stride (by default the kernel's size)."""

    function = avg_pool2d


class AdaptiveAvgPool2d(Function):
    """Mean of each channel's whole image: (batch, channels, H, W) → (batch, channels, 1, 1).

    Setting: output_size, of which 1 alone is possible.
    """

    @staticmethod
    def function(x: Any, output_size: Any = 1) -> Any:
        if output_size not in (1, (1, 1)):
            raise ValueError(f"output_size must be 1, got {output_size!r}; use AvgPool2d")
        return np.mean(x, axis=(2, 3), keepdims=True)
