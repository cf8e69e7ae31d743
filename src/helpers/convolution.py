"""Convolution and pooling over images: fused primitives of the NumPy engine, and modules.

Arrays are (batch, channels, height, width) to their users and lie in memory as
(height, channels, width, batch): NumPy then works on rows of width · batch
numbers, and a product for each row of the image finds its operands in the cache.
"""

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from helpers.arrays import Array
from helpers.autodiff import primitive
from helpers.module import Module, check_sizes, uniform

Pair = int | tuple[int, int]


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """Return one number as two, for height and width, both at least ``least``."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in both):
        raise ValueError(f"{name} must be one or two whole numbers ≥ {least}, got {value!r}")
    return tuple(both)


def _to_memory(x: Array) -> Array:
    """(batch, channels, height, width) → (height, channels, width, batch), contiguous."""
    return np.ascontiguousarray(x.transpose(2, 1, 3, 0))


def _to_user(x: Array) -> Array:
    """(height, channels, width, batch) → (batch, channels, height, width), a view."""
    return x.transpose(3, 1, 0, 2)


def _windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """View what each output sees: (out height, channels, kh, kw, out width, batch)."""
    (kh, kw), (dh, dw) = kernel, dilation
    spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    view = sliding_window_view(x, spans, axis=(0, 2))  # (H, C, W, N, span, span)
    view = view[:: stride[0], :, :: stride[1], :, ::dh, ::dw]
    return view.transpose(0, 1, 4, 5, 2, 3)


def _fold(columns: Array, shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    """Add windows up where they overlap: the transpose of ``_windows``."""
    out_h, _, kh, kw, out_w, _ = columns.shape
    image = np.zeros(shape, columns.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + stride[0] * (out_h - 1) + 1, stride[0])
            places = slice(left, left + stride[1] * (out_w - 1) + 1, stride[1])
            image[rows, :, places] += columns[:, :, i, j]
    return image


def _padded(x: Array, padding: Pair) -> Array:
    """Surround (height, channels, width, batch) with zeros."""
    (ph, pw) = padding
    return np.pad(x, ((ph, ph), (0, 0), (pw, pw), (0, 0))) if ph or pw else x


def _cropped(x: Array, padding: Pair) -> Array:
    (ph, pw), (h, _, w, _) = padding, x.shape
    return x[ph : h - ph, :, pw : w - pw]


def _check(
    x: Array, weight: Array, bias: Array | None, inputs: int, outputs: int, groups: int = 1
) -> None:
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[inputs] * groups:
        each = f" in each of {groups} groups" if groups > 1 else ""
        raise ValueError(
            "x must have shape (batch, channels, height, width) and weight as many input "
            f"channels{each}, got {x.shape} and {weight.shape}"
        )
    if weight.shape[outputs] % groups:
        raise ValueError(f"groups must divide {weight.shape[outputs]} outputs, got {groups}")
    if bias is not None and bias.shape != (weight.shape[outputs],):
        raise ValueError(f"bias must have shape {(weight.shape[outputs],)}, got {bias.shape}")


@primitive
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    """Convolution (a cross-correlation, as in all frameworks) as one product per row and group.

    Args:
        x: (batch, in, height, width).
        weight: (out, in / groups, kernel height, kernel width).
        bias: (out,) or None.
        stride, padding, dilation: a number, or two for height and width.
        groups: parts of the channels that do not see each other; depthwise if it is in.

    Returns:
        (batch, out, H, W) with H = ⌊(height + 2 padding − dilation (kernel − 1) − 1)/stride⌋ + 1.

    Raises:
        ValueError: shapes do not fit, or the kernel is larger than the padded image.
    """
    stride, dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
    padding = pair("padding", padding, 0)
    check_sizes(groups=groups)
    _check(x, weight, bias, inputs=1, outputs=0, groups=groups)
    image = _padded(_to_memory(x), padding)
    (out, _, *kernel), (height, _, width, batch) = weight.shape, image.shape
    if any(d * (k - 1) >= n for d, k, n in zip(dilation, kernel, (height, width), strict=True)):
        raise ValueError(f"weight {weight.shape} does not fit in the padded image {height}×{width}")
    columns = _windows(image, kernel, stride, dilation)
    folded, rows, places = columns.shape, columns.shape[0], columns.shape[4]
    matrix = weight.reshape(groups, out // groups, math.prod(weight.shape[1:]))
    columns = columns.reshape(rows, groups, matrix.shape[2], places * batch)  # a copy
    value = (matrix @ columns).reshape(rows, out, places * batch)
    if bias is not None:
        value += bias[:, None]

    def by_row(g: Array) -> Array:
        return _to_memory(g).reshape(rows, groups, out // groups, places * batch)

    def by_x(g: Array) -> Array:
        parts = (matrix.swapaxes(1, 2) @ by_row(g)).reshape(folded)
        return _to_user(_cropped(_fold(parts, image.shape, stride, dilation), padding))

    def by_weight(g: Array) -> Array:
        return (columns @ by_row(g).swapaxes(2, 3)).sum(axis=0)

    return _to_user(value.reshape(rows, out, places, batch)), (
        by_x,
        lambda g: by_weight(g).swapaxes(1, 2).reshape(weight.shape),
        lambda g: (by_row(g) @ np.ones(places * batch, g.dtype)).sum(axis=0).ravel(),
    )


@primitive
def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
) -> Any:
    """Transposed convolution: the pullback of ``conv2d`` by its input, used forwards.

    Args:
        x: (batch, in, height, width).
        weight: (in, out, kernel height, kernel width).
        bias: (out,) or None.
        stride, padding, output_padding: a number, or two for height and width.

    Returns:
        (batch, out, H, W) with H = (height − 1) stride − 2 padding + kernel + output_padding.

    Raises:
        ValueError: shapes do not fit, or the padding leaves nothing.
    """
    stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
    output_padding = pair("output_padding", output_padding, 0)
    _check(x, weight, bias, inputs=0, outputs=1)
    image = _to_memory(x)
    (channels, out, kh, kw), (height, _, width, batch) = weight.shape, image.shape
    if any(o >= s for o, s in zip(output_padding, stride, strict=True)):
        raise ValueError(f"output_padding must be less than stride {stride}, got {output_padding}")
    full = (
        (height - 1) * stride[0] + kh + output_padding[0],
        out,
        (width - 1) * stride[1] + kw + output_padding[1],
        batch,
    )
    if full[0] <= 2 * padding[0] or full[2] <= 2 * padding[1]:
        raise ValueError(f"padding {padding} leaves nothing of {full[0]}×{full[2]}")
    matrix = weight.reshape(channels, out * kh * kw)
    flat = image.reshape(height, channels, width * batch)
    columns = (matrix.T @ flat).reshape(height, out, kh, kw, width, batch)
    value = _cropped(_fold(columns, full, stride, (1, 1)), padding)
    if bias is not None:
        value = value + bias[:, None, None]

    def seen(g: Array) -> Array:
        windows = _windows(_padded(_to_memory(g), padding), (kh, kw), stride, (1, 1))
        return windows[:height, :, :, :, :width].reshape(height, out * kh * kw, width * batch)

    return _to_user(value), (
        lambda g: _to_user((matrix @ seen(g)).reshape(image.shape)),
        lambda g: (flat @ seen(g).swapaxes(1, 2)).sum(axis=0).reshape(weight.shape),
        lambda g: g.sum(axis=(0, 2, 3)),
    )


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
    rows, by_row = _pool_axis(_to_memory(x), 2, kernel[1], stride[1])
    value, by_value = _pool_axis(rows, 0, kernel[0], stride[0])
    return _to_user(value), (lambda g: _to_user(by_row(by_value(_to_memory(g)))), None, None)


@primitive
def avg_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None) -> Any:
    """Mean of each window; arguments, shapes and errors as ``max_pool2d``."""
    kernel, stride = _pooling(x, kernel_size, stride)
    image = _to_memory(x)
    windows = _windows(image, kernel, stride, (1, 1))

    def pullback(g: Array) -> Array:
        shared = _to_memory(g)[:, :, None, None] / (kernel[0] * kernel[1])
        return _to_user(_fold(np.broadcast_to(shared, windows.shape), image.shape, stride, (1, 1)))

    return _to_user(windows.mean(axis=(2, 3))), (pullback, None, None)


def _pooling(x: Array, kernel_size: Pair, stride: Pair | None) -> tuple[Pair, Pair]:
    kernel = pair("kernel_size", kernel_size, 1)
    if x.ndim != 4 or kernel[0] > x.shape[2] or kernel[1] > x.shape[3]:
        raise ValueError(
            "x must have shape (batch, channels, height, width), no smaller than the window "
            f"{kernel}, got {x.shape}"
        )
    return kernel, kernel if stride is None else pair("stride", stride, 1)


# Layers


class _Convolution(Module):
    """What convolutions share: how the weights are drawn."""

    def _draw(
        self, channels: tuple[int, int], outputs: int, kernel_size: Pair, bias: bool, **options: Any
    ) -> None:
        kernel = pair("kernel_size", kernel_size, 1)
        fan_in = channels[1] * math.prod(kernel)
        self.weight = uniform(fan_in=fan_in, shape=(*channels, *kernel), **options)
        self.bias = uniform(fan_in=fan_in, shape=(outputs,), **options) if bias else None


class Conv2d(_Convolution):
    """Convolution: weight (out_channels, in_channels / groups, kernel height, kernel width)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels={in_channels} and out_channels={out_channels}, "
                f"got {groups}"
            )
        channels = (out_channels, in_channels // groups)
        self._draw(channels, out_channels, kernel_size, bias, rng=rng, dtype=dtype)
        self.settings = {"stride": stride, "padding": padding, "dilation": dilation}
        self.settings["groups"] = groups

    def forward(self, x: Any) -> Any:
        return conv2d(x, self.weight, self.bias, **self.settings)


class Conv1d(Conv2d):
    """Convolution of (batch, channels, time): weight (out_channels, in_channels / groups, kernel).

    Arguments as for ``Conv2d``, one number each: an image of height 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *args: Any, **kw: Any
    ):
        super().__init__(in_channels, out_channels, (1, kernel_size), *args, **kw)
        for name, along_height in (("stride", 1), ("padding", 0), ("dilation", 1)):
            self.settings[name] = (along_height, self.settings[name])
        self.weight.data = self.weight.data[:, :, 0]

    def forward(self, x: Any) -> Any:
        if x.ndim != 3:
            raise ValueError(f"x must have shape (batch, channels, time), got {x.shape}")
        image, weight = np.expand_dims(x, 2), np.expand_dims(self.weight, 2)
        return np.squeeze(conv2d(image, weight, self.bias, **self.settings), 2)


class ConvTranspose2d(_Convolution):
    """Transposed convolution: weight (in_channels, out_channels, kernel height, kernel width)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        bias: bool = True,
        *,
        rng: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        channels = (in_channels, out_channels)
        self._draw(channels, out_channels, kernel_size, bias, rng=rng, dtype=dtype)
        self.settings = {"stride": stride, "padding": padding, "output_padding": output_padding}

    def forward(self, x: Any) -> Any:
        return conv_transpose2d(x, self.weight, self.bias, **self.settings)
