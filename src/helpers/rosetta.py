"""Differences between the frameworks, each measured by its own cell.

A row of the pages ``frameworks/rosetta-…`` ends in a call of ``row``, which
checks what the row says, prints it, and fails with the row's name once a
release changes a default. The book's table collects what is printed.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from helpers.parity import to_numpy

WAYS = ("numpy", "tensorflow", "torch")
Pair = tuple[Any, Any]


class RosettaError(AssertionError):
    """A row says something that is not, or no longer, so."""


def row(
    name: str,
    /,
    *,
    defaults: Mapping[Callable[..., Any], Mapping[str, Any]] | None = None,
    answers: Mapping[str, tuple[Any, str]] | None = None,
    before: Pair | None = None,
    after: Pair | None = None,
    within: float = 0.0,
    formulas: Mapping[str, tuple[Any, Any, float]] | None = None,
    same: bool = False,
    unmapped: str | None = None,
) -> None:
    """Check one difference between the frameworks and print what was found.

    Args:
        name: the row's id, which never changes: links lead to ``rosetta-<name>``.
        defaults: for each class or function the arguments' present defaults,
            ``{keras.optimizers.Adam: {"epsilon": 1e-7}}``.
        answers: for each of ``numpy``, ``tensorflow``, ``torch`` what it gives
            (a value, or a function to call without arguments), and the text
            expected of ``answer``.
        before: the two frameworks' arrays, by default or as one would write it.
        after: the two arrays with the setting that makes them agree.
        within: the largest absolute difference allowed in ``after`` (or, with
            ``same``, in ``before``); 0 asks for the same bits.
        formulas: for ``tensorflow`` or ``torch`` what NumPy's formula gives, the
            framework's result, and the largest difference allowed.
        same: the frameworks do not differ here, as one might expect them to.
        unmapped: why no setting makes them agree, in place of ``after``.

    Raises:
        RosettaError: a default, an answer or a difference is not as stated; the
            message names the row.
        ValueError: the row lacks what every row has.
        TypeError: a value is not numeric.
    """
    if before is None and not answers:
        raise ValueError(f"row {name!r} must show a difference: give before or answers")
    if same == (after is not None or unmapped is not None) or None not in (after, unmapped):
        raise ValueError(f"row {name!r} must be given exactly one of after, unmapped and same")
    lines = []
    lines.extend(("default", text) for text in _defaults(name, defaults or {}))
    for framework, (found, expected) in (answers or {}).items():
        text = answer(found)
        if text != expected:
            raise RosettaError(f"{name}: {framework} answers {text}, expected {expected}")
        lines.append((framework, text))
    if answers and (len({text for _, text in answers.values()}) == 1) != same and before is None:
        raise RosettaError(f"{name}: the answers are {'not ' if same else ''}all the same")
    if before is not None:
        gap = _gap(*before)
        if not same and isinstance(gap, float) and not gap > 2 * within:
            raise RosettaError(f"{name}: no difference any more, {gap:.1e} before the mapping")
        lines.append(("before", _bound(name, before, within) if same else _say(gap)))
    if after is not None:
        lines.append(("after", _bound(name, after, within)))
    if unmapped is not None:
        lines.append(("after", f"not to be had: {unmapped}"))
    for framework, (own, theirs, allowed) in (formulas or {}).items():
        lines.append((f"NumPy's formula against {framework}", _bound(name, (own, theirs), allowed)))
    # In one piece: the kernel may send what is written apart as two outputs.
    text = "".join(f"  {key}: {found}\n" for key, found in lines)
    print(f"rosetta-{name}\n{text}", end="")


def answer(call: Any) -> str:
    """Return what a call gives as short text, or the name of its error.

    Arrays and tensors become nested lists of their numbers, with four
    significant digits; tuples become their parts, and all else ``str``.
    """
    if callable(call) and not isinstance(call, type):
        try:
            call = call()
        except Exception as error:  # whichever: its name is the answer
            return type(error).__name__
    if isinstance(call, tuple):
        return f"({', '.join(map(answer, call))})"
    if isinstance(call, str | type | bool | None.__class__):
        return getattr(call, "__name__", str(call))
    try:
        return _digits(to_numpy(call).tolist())
    except TypeError:
        return str(call)


def _defaults(name: str, wanted: Mapping[Callable[..., Any], Mapping[str, Any]]) -> list[str]:
    said = []
    for function, arguments in wanted.items():
        title = getattr(function, "__qualname__", str(function)).removesuffix(".__init__")
        root = (getattr(function, "__module__", None) or "").split(".")[0]
        known = inspect.signature(function).parameters
        for argument, expected in arguments.items():
            found = known[argument].default if argument in known else "no such argument"
            if found != expected or type(found) is not type(expected):
                raise RosettaError(
                    f"{name}: {root} {title} has {argument}={found!r} by default, not {expected!r}"
                )
        values = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        said.append(f"{root} {title}({values})")
    return said


def _gap(a: Any, b: Any) -> float | str:
    """Return the largest absolute difference, or in words why there is none."""
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        return f"shape {a.shape} against {b.shape}"
    wide = np.result_type(a, b, np.float64)
    a, b = a.astype(wide), b.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    gaps = abs(np.subtract(a, b, out=np.zeros(a.shape, wide), where=~same))
    if not np.isfinite(gaps).all():
        return "NaN or infinity against a number"
    return float(gaps.max(initial=0))


def _bound(name: str, pair: Pair, within: float) -> str:
    gap = _gap(*pair)
    if isinstance(gap, str) or gap > within:
        raise RosettaError(f"{name}: {_say(gap)} where at most {within:g} is allowed")
    return f"below {within:g}" if within else "0"


def _say(gap: float | str) -> str:
    return gap if isinstance(gap, str) else f"{gap:.1e}"


def _digits(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_digits, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
