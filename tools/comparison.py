"""How nbval compares a cell's output with the stored one.

nbval compares character by character. Here decimal numbers may differ by one
unit in the last place that was printed, or by the relative tolerance of a tag
on the cell such as ``rtol-1e-2``. All the rest has to be equal, whole numbers
included.

A mean printed with its spread, ``0.78 ± 0.05``, is the result of several runs,
whose roundings differ between processors. Beside the unit, the mean and the
spread may each move by a quarter of the spread: for up to sixteen runs that is
at most the standard error of the mean, and a sentence about the mean must not
rest on less.
"""

import re

from nbval.plugin import IPyNbCell

SHARE = 1 / 4  # of a spread that a mean, or the spread itself, may move
_DECIMAL = r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?"
_ANY = rf"(?:{_DECIMAL}|[-+]?\d+)"
# Blanks before a number belong to it: 9.99 and 10.00 are padded differently. First come means
# with their spreads, which may be whole numbers; then other decimal numbers.
NUMBER = re.compile(rf" *(?:(?P<mean>{_ANY}) *± *(?P<spread>{_ANY})|(?P<decimal>{_DECIMAL}))")
MARGIN = 1 + 1e-9  # 0.30 and 0.31 are one unit apart, their floats a little more


def unit(text: str) -> float:
    """Return the value of one unit in the last place of a printed number."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def outline(text: str) -> str:
    """Return a text with its numbers blotted out, a mean with its spread as one kind of its own."""
    return NUMBER.sub(lambda found: "#" if found["decimal"] else "#±#", text)


class Printed(str):
    """Text that equals another if the numbers in it differ no more than rounding explains."""

    rtol = 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or outline(self) != outline(other):
            return False
        pairs = zip(NUMBER.finditer(self), NUMBER.finditer(other), strict=True)
        return all(self._near(ours, theirs) for ours, theirs in pairs)

    def _near(self, ours: re.Match[str], theirs: re.Match[str]) -> bool:
        if ours["decimal"]:
            return self._within(ours["decimal"], theirs["decimal"], 0.0)
        moved = SHARE * max(float(ours["spread"]), float(theirs["spread"]))
        return all(self._within(ours[part], theirs[part], moved) for part in ("mean", "spread"))

    def _within(self, ours: str, theirs: str, moved: float) -> bool:
        a, b = float(ours), float(theirs)
        units = max(unit(ours), unit(theirs)) + moved
        return abs(a - b) <= MARGIN * max(units, self.rtol * max(abs(a), abs(b)))

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
