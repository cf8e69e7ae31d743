"""Real data that ships inside packages, split once and for all.

Nothing is downloaded unless ``helpers.scale()`` says ``"full"``.
"""

from helpers.data.images import digits, mnist
from helpers.data.preparation import checked_labels, minibatches, one_hot, standardize
from helpers.data.splits import Part, Splits, split
from helpers.data.tables import TABLES, Table, table

__all__ = [
    "TABLES", "Part", "Splits", "Table", "checked_labels", "digits", "minibatches", "mnist",
    "one_hot", "split", "standardize", "table",
]  # fmt: skip
