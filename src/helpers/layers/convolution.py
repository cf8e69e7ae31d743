"""Convolution, transposed convolution and their layers; ``images`` says how arrays lie."""

import math
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import primitive
from helpers.layers.images import (
    Pair,
    cropped,
    fold,
    padded,
    pair,
    sliding_windows,
    to_memory,
    to_user,
)
from helpers.layers.module import Module, check_sizes, uniform


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
    image = padded(to_memory(x), padding)
    (out, _, *kernel), (height, _, width, batch) = weight.shape, image.shape
    if any(d * (k - 1) >= n for d, k, n in zip(dilation, kernel, (height, width), strict=True)):
        raise ValueError(f"weight {weight.shape} does not fit in the padded image {height}×{width}")
    columns = sliding_windows(image, kernel, stride, dilation)
    folded, rows, places = columns.shape, columns.shape[0], columns.shape[4]
    matrix = weight.reshape(groups, out // groups, math.prod(weight.shape[1:]))
    columns = columns.reshape(rows, groups, matrix.shape[2], places * batch)  # a copy
    value = (matrix @ columns).reshape(rows, out, places * batch)
    if bias is not None:
        value += bias[:, None]

    def by_row(g: Array) -> Array:
        return to_memory(g).reshape(rows, groups, out // groups, places * batch)

    def by_x(g: Array) -> Array:
        parts = (matrix.swapaxes(1, 2) @ by_row(g)).reshape(folded)
        return to_user(cropped(fold(parts, image.shape, stride, dilation), padding))

    def by_weight(g: Array) -> Array:
        return (columns @ by_row(g).swapaxes(2, 3)).sum(axis=0)

    return to_user(value.reshape(rows, out, places, batch)), (
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
    image = to_memory(x)
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
    value = cropped(fold(columns, full, stride, (1, 1)), padding)
    if bias is not None:
        value = value + bias[:, None, None]

    def seen(g: Array) -> Array:
        windows = sliding_windows(padded(to_memory(g), padding), (kh, kw), stride, (1, 1))
        return windows[:height, :, :, :, :width].reshape(height, out * kh * kw, width * batch)

    return to_user(value), (
        lambda g: to_user((matrix @ seen(g)).reshape(image.shape)),
        lambda g: (flat @ seen(g).swapaxes(1, 2)).sum(axis=0).reshape(weight.shape),
        lambda g: g.sum(axis=(0, 2, 3)),
    )


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
