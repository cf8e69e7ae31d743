"""Recurrent layers over whole sequences: the functions; their modules are in ``recurrent_modules``.

What does not have to wait for the step before, the products with the input and
the gradients of the weights, is one matrix product for all time steps. Gates
are in PyTorch's order, and stored as (gate, time, batch, hidden), so that one
call of NumPy works on all the gates of a step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.arrays import Array, as_rows, once
from helpers.autodiff import primitive


def _arranged(
    x: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array, *states: Array
) -> tuple[Array, Array, Array]:
    """Return x as (time, batch, in), and W and U as (gates, hidden, …)."""
    if x.ndim != 3:
        raise ValueError(f"x must have shape (batch, time, in), got {x.shape}")
    if not x.shape[1]:
        raise ValueError(f"x must have at least one time step, got shape {x.shape}")
    if x.dtype.kind != "f":
        raise TypeError(f"x must hold floats, got {x.dtype}")
    hidden = weight_hh.shape[-1]
    rows = weight_hh.shape[0]
    for name, array, shape in (
        ("weight_ih", weight_ih, (rows, x.shape[2])),
        ("bias_ih", bias_ih, (rows,)),
        ("bias_hh", bias_hh, (rows,)),
        *((f"{name}0", state, (len(x), hidden)) for name, state in zip("hc", states, strict=False)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    xs = np.ascontiguousarray(x.swapaxes(0, 1))
    return xs, weight_ih.reshape(-1, hidden, x.shape[2]), weight_hh.reshape(-1, hidden, hidden)


def _pullbacks(
    xs: Array, before: Callable[[], Array], w: Array, by_sums: Callable[[Array], tuple[Array, ...]]
) -> tuple[Callable[[Array], Array], ...]:
    """Return the pullbacks of x, both weights and both biases.

    ``by_sums`` gives the gradients by W x + b and by U h + d, each (gates,
    time · batch, hidden); ``before`` the h that each step met.
    """

    def by_x(gradient: Array) -> Array:
        return (by_sums(gradient)[0] @ w).sum(axis=0).reshape(xs.shape).swapaxes(0, 1)

    def by_weight(sums: Array, inputs: Array) -> Array:
        return as_rows(sums.swapaxes(1, 2) @ as_rows(inputs))

    def by_bias(sums: Array) -> Array:
        return (np.ones(sums.shape[1], sums.dtype) @ sums).ravel()

    return (
        by_x,
        lambda gradient: by_weight(by_sums(gradient)[0], xs),
        lambda gradient: by_weight(by_sums(gradient)[1], before()),
        lambda gradient: by_bias(by_sums(gradient)[0]),
        lambda gradient: by_bias(by_sums(gradient)[1]),
    )


@primitive
def rnn(
    x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any, *, relu=False
) -> Any:
    """Simple recurrent layer (Elman 1990): h ← tanh(W x + b + U h + d).

    Args:
        x: (batch, time, in).
        weight_ih, weight_hh: W (hidden, in) and U (hidden, hidden).
        bias_ih, bias_hh: b and d, (hidden,).
        h0: first state, (batch, hidden).
        relu: ReLU in the place of tanh.

    Returns:
        (time, batch, hidden): h after each step.
    """
    xs, w, u = _arranged(x, weight_ih, weight_hh, bias_ih, bias_hh, h0)
    states = (as_rows(xs) @ w[0].T + (bias_ih + bias_hh)).reshape(*xs.shape[:2], w.shape[1])
    h = h0
    for z in states:
        z += h @ u[0].T
        h = np.maximum(z, 0, out=z) if relu else np.tanh(z, out=z)

    @once
    def back(gradient: Array) -> tuple[Array, Array, Array]:
        sums = (states > 0).astype(x.dtype) if relu else 1 - states * states
        dh = np.zeros_like(h0)
        for t in reversed(range(len(xs))):
            sums[t] *= dh + gradient[t]
            dh = sums[t] @ u[0]
        sums = sums.reshape(1, -1, h0.shape[1])
        return sums, sums, dh

    def before() -> Array:
        return np.concatenate([h0[None], states[:-1]])

    return states, (*_pullbacks(xs, before, w, back), lambda gradient: back(gradient)[2])


@primitive
def lstm(
    x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any, c0: Any
) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, o = σ(W x + b + U h + d), g = tanh(…); c ← f c + i g; h ← o tanh c.

    Args:
        x: (batch, time, in).
        weight_ih, weight_hh: W (4 hidden, in) and U (4 hidden, hidden), rows i, f, g, o.
        bias_ih, bias_hh: b and d, (4 hidden,).
        h0, c0: first states, (batch, hidden).

    Returns:
        (time + 1, batch, hidden): h after each step and, in the last place, the last c.
    """
    xs, w, u = _arranged(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0)
    steps, hidden = len(xs), h0.shape[1]
    # σ(z) = (1 + tanh(z/2))/2: with the rows of i, f, o halved one tanh does for all.
    half = np.array([0.5, 0.5, 1, 0.5], x.dtype)[:, None, None]
    gates = as_rows(xs) @ (w * half).swapaxes(1, 2)
    gates += (bias_ih + bias_hh).reshape(4, 1, hidden) * half
    gates = gates.reshape(4, *xs.shape[:2], hidden)
    i, f, g, o = gates
    recurrent = np.ascontiguousarray((u * half).swapaxes(1, 2))
    states, cells = (np.empty((steps + 1, *h0.shape), x.dtype) for _ in range(2))
    squashed = np.empty((steps, *h0.shape), x.dtype)  # tanh c
    product = np.empty((4, *h0.shape), x.dtype)
    h, cells[0] = h0, c0
    for t in range(steps):
        z, c = gates[:, t], cells[t + 1]
        z += np.matmul(h, recurrent, out=product)
        np.tanh(z, out=z)
        for sigmoid in (z[:2], z[3]):
            sigmoid *= 0.5
            sigmoid += 0.5
        np.multiply(f[t], cells[t], out=c)
        c += np.multiply(i[t], g[t], out=squashed[t])
        np.tanh(c, out=squashed[t])
        h = np.multiply(o[t], squashed[t], out=states[t])
    states[steps] = cells[steps]

    @once
    def back(gradient: Array) -> tuple[Array, ...]:
        # First what each gate's gradient is multiplied by, for all steps at once.
        sums = gates * gates
        np.subtract(gates, sums, out=sums)
        np.subtract(1, g * g, out=sums[2])
        for gate, other in zip(sums, (g, cells[:-1], i, squashed), strict=True):
            gate *= other
        by_cell = o * squashed
        by_cell *= squashed
        np.subtract(o, by_cell, out=by_cell)
        dh, dc, part = np.zeros_like(h0), gradient[steps].copy(), np.empty_like(h0)
        for t in reversed(range(steps)):
            dh += gradient[t]
            dc += np.multiply(dh, by_cell[t], out=part)
            sums[3, t] *= dh
            sums[:3, t] *= dc
            dc *= f[t]
            np.matmul(sums[:, t], u, out=product).sum(axis=0, out=dh)
        sums = sums.reshape(4, -1, hidden)
        return sums, sums, dh, dc

    def before() -> Array:
        return np.concatenate([h0[None], states[: steps - 1]])[:steps]

    return states, (
        *_pullbacks(xs, before, w, back),
        lambda gradient: back(gradient)[2],
        lambda gradient: back(gradient)[3],
    )


@primitive
def gru(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, h0: Any) -> Any:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product.

    r, z = σ(W x + b + U h + d), n = tanh(W x + b + r (U h + d)); h ← (1 − z) n + z h.

    Args:
        x: (batch, time, in).
        weight_ih, weight_hh: W (3 hidden, in) and U (3 hidden, hidden), rows r, z, n.
        bias_ih, bias_hh: b and d, (3 hidden,).
        h0: first state, (batch, hidden).

    Returns:
        (time, batch, hidden): h after each step.
    """
    xs, w, u = _arranged(x, weight_ih, weight_hh, bias_ih, bias_hh, h0)
    steps, hidden = len(xs), h0.shape[1]
    gates = as_rows(xs) @ w.swapaxes(1, 2) + bias_ih.reshape(3, 1, hidden)
    gates = gates.reshape(3, *xs.shape[:2], hidden)
    r, z, n = gates
    recurrent, bias = np.ascontiguousarray(u.swapaxes(1, 2)), bias_hh.reshape(3, 1, hidden)
    states, inner = (np.empty((steps, *h0.shape), x.dtype) for _ in range(2))
    h = h0
    for t in range(steps):
        product = h @ recurrent + bias
        two = gates[:2, t]  # σ(a) = (1 + tanh(a/2))/2
        two += product[:2]
        two *= 0.5
        np.tanh(two, out=two)
        two *= 0.5
        two += 0.5
        inner[t] = product[2]
        n[t] += r[t] * inner[t]
        np.tanh(n[t], out=n[t])
        h = np.add(z[t] * (h - n[t]), n[t], out=states[t])

    def before() -> Array:
        return np.concatenate([h0[None], states[:-1]])[:steps]

    @once
    def back(gradient: Array) -> tuple[Array, ...]:
        # First what each gate's gradient is multiplied by, for all steps at once.
        sums = np.stack([(r - r * r) * inner, (z - z * z) * (before() - n), (1 - n * n) * (1 - z)])
        inner_sums = np.empty_like(sums)
        dh = np.zeros_like(h0)
        for t in reversed(range(steps)):
            dh = dh + gradient[t]
            sums[1:, t] *= dh
            sums[0, t] *= sums[2, t]
            inner_sums[:2, t] = sums[:2, t]
            np.multiply(sums[2, t], r[t], out=inner_sums[2, t])
            dh = dh * z[t] + (inner_sums[:, t] @ u).sum(axis=0)
        return sums.reshape(3, -1, hidden), inner_sums.reshape(3, -1, hidden), dh

    return states, (*_pullbacks(xs, before, w, back), lambda gradient: back(gradient)[2])
