"""What happens in training: dropout, a step, an epoch."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from helpers.autodiff import Tensor, primitive
from helpers.layers.module import Module


@primitive
def dropout(x: Any, p: float, rng: Any) -> Any:
    """Set each element to 0 with probability p and divide the rest by 1 − p.

    Srivastava et al. 2014, in the inverted form; ``rng`` is a NumPy generator.
    """
    if not 0 <= p < 1:
        raise ValueError(f"p must lie in 0 ≤ p < 1, got {p}")
    kept = (rng.random(x.shape) >= p) * x.dtype.type(1 / (1 - p))
    return x * kept, (lambda g: g * kept, None, None)


class Dropout(Module):
    """Dropout in training, nothing in evaluation; ``rng`` as for the weights."""

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in 0 ≤ p < 1, got {p}")
        self.p, self.rng = p, rng

    def forward(self, x: Any) -> Any:
        if not (self.training and self.p):
            return x
        return dropout(x, self.p, self.rng or np.random)


def train_step(loss: Tensor, optimizer: Any) -> float:
    """Update the parameters once by the gradient of ``loss``, and return its value.

    Raises:
        FloatingPointError: the loss is NaN or infinite; the parameters stay as they were.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss is {value}; no step was taken. Look for a learning rate that is too "
            f"large (here {optimizer.lr}), and for log, sqrt or a quotient at 0"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return value


def fit(
    model: Callable[[Any], Any],
    loss_fn: Callable[[Any, Any], Tensor],
    optimizer: Any,
    batches: Iterable[tuple[Any, Any]],
) -> list[float]:
    """Take one step for each batch (x, target) and return the losses.

    Raises:
        FloatingPointError: a loss is NaN or infinite, as ``train_step``.
    """
    return [train_step(loss_fn(model(x), target), optimizer) for x, target in batches]
