"""How nbval compares a cell's output with the stored one.

nbval compares character by character. Here decimal numbers may differ by one
unit in the last place that was printed, or by the relative tolerance of a tag
on the cell such as ``rtol-1e-2``. All the rest has to be equal, whole numbers
included.
"""

import re

from nbval.plugin import IPyNbCell

# Blanks before a number belong to it: 9.99 and 10.00 are padded differently.
NUMBER = re.compile(r" *[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?")
MARGIN = 1 + 1e-9  # 0.30 and 0.31 are one unit apart, their floats a little more


def unit(text: str) -> float:
    """Return the value of one unit in the last place of a printed number."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


class Printed(str):
    """Text that equals another if it differs in the last digit of numbers at most."""

    rtol = 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or NUMBER.sub("#", self) != NUMBER.sub("#", other):
            return False
        for ours, theirs in zip(NUMBER.findall(self), NUMBER.findall(other), strict=True):
            a, b = float(ours), float(theirs)
            units = max(unit(ours), unit(theirs))
            if abs(a - b) > MARGIN * max(units, self.rtol * max(abs(a), abs(b))):
                return False
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def sanitize(cell: IPyNbCell, text: object) -> object:
    """Stand in for nbval's method of this name, which every compared text passes."""
    if not isinstance(text, str):
        return text
    printed = Printed(text)
    for tag in cell.cell.metadata.get("tags", []):
        if tag.startswith("rtol-"):
            printed.rtol = float(tag.removeprefix("rtol-"))
    return printed
