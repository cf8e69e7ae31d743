"""NumPy alone, forward only: what the operations themselves cost."""

from collections.abc import Callable

import numpy as np

WORKLOADS: dict[str, Callable] = {}


def chain(x: np.ndarray, w: np.ndarray, b: np.ndarray, rounds: int) -> Callable[[], None]:
    """Forward through ``rounds`` of multiply, add and tanh, then a sum."""

    def run() -> None:
        y = x
        for _ in range(rounds):
            y = np.tanh(y * w + b)
        y.sum()

    return run
