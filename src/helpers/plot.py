"""The book's figures: one style, fixed colours, labels at the lines.

The frameworks' colours are Okabe and Ito's blue, vermilion and green, which
stay distinct under the common kinds of colour blindness, the last two darkened
until they can be read as text. Each framework has a line style of its own as
well, so that lines which agree, and so coincide, can all be seen.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLORS = {"numpy": "#0072B2", "tensorflow": "#C24F00", "torch": "#007E5C"}
LABELS = {"numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}
# A wide line below and dashes that take turns above it: where the three
# coincide, all three show.
_LINES = {"numpy": (5.0, "-"), "tensorflow": (2.5, (0, (5, 7))), "torch": (2.5, (6, (5, 7)))}
OTHERS = ("#444444", "#AA3377", "#7A5C00", "#332288", "#000000")

_STYLE = {
    "figure.figsize": (7.0, 3.4),
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=OTHERS),
    "axes.titlesize": 11,
    "savefig.facecolor": "white",
}


def figure(columns: int = 1, rows: int = 1, **options: object) -> tuple[Figure, list[Axes]]:
    """Start a figure in the book's style.

    Args:
        columns: axes side by side.
        rows: axes below each other.
        options: passed to ``matplotlib.pyplot.subplots``.

    Returns:
        The figure and its axes, row by row.

    Raises:
        ValueError: a count is below 1.
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"columns and rows must be at least 1, got {columns} and {rows}")
    with mpl.rc_context(_STYLE):
        made, axes = plt.subplots(rows, columns, squeeze=False, **options)
    return made, list(axes.flat)


def show() -> None:
    """Show the current figure, and return nothing, as nbval wants it."""
    plt.show()


def curves(
    axes: Axes, series: Mapping[str, Sequence[float]], *, x: Sequence[float] | None = None
) -> None:
    """Draw one line a series with its name at its end.

    Series named after a framework get its colour and style.

    Args:
        axes: where to draw.
        series: name to values, (points,).
        x: positions, (points,); 1, 2, … by default.

    Raises:
        ValueError: no series, lengths differ, or a value is not finite.
    """
    points = _checked(series)
    at = _positions(x, points)
    if np.issubdtype(at.dtype, np.integer) and axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends = []
    for i, (name, values) in enumerate(series.items()):
        color, width, style = _line(name, i)
        axes.plot(at, values, color=color, linewidth=width, linestyle=style)
        ends.append((float(values[-1]), LABELS.get(name, name), color))
    _label_ends(axes, float(at[-1]), ends)


def spread(
    axes: Axes, series: Mapping[str, np.ndarray], *, x: Sequence[float] | None = None
) -> None:
    """Draw the mean of several runs as a line, ± one standard deviation as a band.

    Args:
        axes: where to draw.
        series: name to values, (runs, points), at least two runs.
        x: positions, (points,); 1, 2, … by default.

    Raises:
        ValueError: fewer than two runs, no series, lengths differ, or a
            value is not finite.
    """
    for name, values in series.items():
        if np.ndim(values) != 2 or len(values) < 2:
            raise ValueError(f"{name} must be (runs ≥ 2, points), got {np.shape(values)}")
        _refuse_not_finite(name, values)
    means = {name: np.mean(values, axis=0) for name, values in series.items()}
    at = _positions(x, _checked(means))
    for i, (name, values) in enumerate(series.items()):
        deviation = np.std(values, axis=0, ddof=1)
        low, high = means[name] - deviation, means[name] + deviation
        axes.fill_between(at, low, high, color=_line(name, i)[0], alpha=0.2, linewidth=0)
    curves(axes, means, x=at)


def images(pictures: np.ndarray, titles: Sequence[str] | None = None, columns: int = 10) -> None:
    """Show grey-level pictures in rows.

    Args:
        pictures: (pictures, height, width).
        titles: one for each picture.
        columns: pictures a row.

    Raises:
        ValueError: not 3-D, empty, or another number of titles.
    """
    pictures = np.asarray(pictures)
    if pictures.ndim != 3 or not len(pictures):
        raise ValueError(f"pictures must be (pictures, height, width), got {pictures.shape}")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"titles must be {len(pictures)}, one a picture, got {len(titles)}")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = 7.0 / columns * rows * (1.3 if titles else 1.0)
    _, axes = figure(columns, rows, figsize=(7.0, height))
    for ax in axes:
        ax.axis("off")
    for i, picture in enumerate(pictures):
        axes[i].imshow(picture, cmap="gray_r")
        if titles is not None:
            axes[i].set_title(titles[i], loc="center")
    show()


def _line(name: str, position: int) -> tuple[str, float, object]:
    if name in COLORS:
        return COLORS[name], *_LINES[name]
    color = OTHERS[position % len(OTHERS)]
    # Dashes tell black from the dark grey that the colours begin with.
    return color, 1.8, "--" if color == OTHERS[-1] else "-"


def _checked(series: Mapping[str, Sequence[float]]) -> int:
    """Return the common number of points."""
    lengths = {name: len(values) for name, values in series.items()}
    if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"series must be equally long and not empty, got {lengths}")
    for name, values in series.items():
        _refuse_not_finite(name, values)
    return next(iter(lengths.values()))


def _refuse_not_finite(name: str, values: Sequence[float]) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"series {name!r} holds NaN or infinity, expected finite numbers")


def _positions(x: Sequence[float] | None, points: int) -> np.ndarray:
    at = np.arange(1, points + 1) if x is None else np.asarray(x)
    if len(at) != points:
        raise ValueError(f"x must have {points} points as the series have, got {len(at)}")
    return at


def _label_ends(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Write names at the ends of lines, moved apart where they would overlap."""
    axes.figure.canvas.draw()
    line_height = 15 * axes.figure.dpi / 72
    below = -np.inf
    for value, name, color in sorted(ends, key=lambda end: end[0]):
        at = axes.transData.transform((x, value))[1]
        placed = max(at, below + line_height)
        below = placed
        axes.annotate(
            name,
            (x, value),
            xytext=(6, (placed - at) * 72 / axes.figure.dpi),
            textcoords="offset points",
            color=color,
            fontsize=axes.xaxis.label.get_fontsize(),
            va="center",
            annotation_clip=False,
        )
