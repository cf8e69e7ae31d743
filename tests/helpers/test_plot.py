"""Figures: colours that can be told apart, names that can be read, and errors."""

from itertools import combinations, pairwise

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from helpers import plot

# Where there is a display, Agg says that it shows nothing on it.
pytestmark = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def axes():
    return plot.figure()[1][0]


def luminance(color):
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


ALL = [*plot.COLORS.values(), *plot.OTHERS]


def test_contrast_is_computed_right():
    assert 1.05 / (luminance("black") + 0.05) == pytest.approx(21)
    assert 1.05 / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("color", ALL)
def test_every_colour_can_be_seen_on_white(color):
    assert 1.05 / (luminance(color) + 0.05) >= 3


@pytest.mark.parametrize("color", plot.COLORS.values(), ids=list(plot.COLORS))
def test_framework_colours_can_be_read_as_text_on_white(color):
    assert 1.05 / (luminance(color) + 0.05) >= 4.5


def test_colours_are_distinct():
    assert len({to_hex(c) for c in ALL}) == len(ALL)
    for a, b in combinations(ALL, 2):
        assert np.linalg.norm(np.subtract(to_rgb(a), to_rgb(b))) > 0.15


def test_every_framework_has_a_colour_a_name_and_a_line_of_its_own(axes):
    names = ["numpy", "tensorflow", "torch"]
    assert list(plot.COLORS) == list(plot.LABELS) == names
    plot.curves(axes, {name: [1.0, 2.0] for name in names})
    assert [line.get_color() for line in axes.lines] == [plot.COLORS[name] for name in names]
    looks = {(line.get_linewidth(), str(line._unscaled_dash_pattern)) for line in axes.lines}
    assert len(looks) == 3
    widths = [line.get_linewidth() for line in axes.lines]
    assert widths == sorted(widths, reverse=True)


def test_black_is_told_from_dark_grey_by_dashes(axes):
    plot.curves(axes, {name: [1.0, 2.0] for name in "abcde"})
    first, *_, last = axes.lines
    assert (to_hex(first.get_color()), to_hex(last.get_color())) == ("#444444", "#000000")
    assert [line.get_linestyle() for line in axes.lines] == ["-"] * 4 + ["--"]


def pixels(axes, color):
    """Count the pixels of a colour."""
    axes.figure.canvas.draw()
    image = np.asarray(axes.figure.canvas.buffer_rgba())[..., :3]
    wanted = np.round(255 * np.array(to_rgb(color)))
    return np.count_nonzero(np.abs(image - wanted).max(axis=-1) <= 2)


@pytest.mark.parametrize("name", plot.COLORS)
def test_lines_that_coincide_all_show(axes, name):
    plot.curves(axes, {key: [1.0, 1.0] for key in plot.COLORS})
    for text in axes.texts:
        text.set_visible(False)
    assert pixels(axes, plot.COLORS[name]) > 300


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_a_figure_has_its_axes_row_by_row(columns, rows):
    made, axes = plot.figure(columns, rows)
    assert isinstance(axes, list)
    assert axes == made.axes
    assert len(axes) == columns * rows
    grid = [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in axes]
    assert grid == [(r, c) for r in range(rows) for c in range(columns)]


def test_a_figure_passes_its_options_on():
    made, (left, right) = plot.figure(2, figsize=(4.0, 2.0), sharey=True)
    assert made.get_size_inches().tolist() == [4.0, 2.0]
    left.set_ylim(0, 7)
    assert right.get_ylim() == (0, 7)


def test_a_figure_is_in_the_style_and_leaves_the_settings_alone():
    before = matplotlib.rcParams.copy()
    made, (axes,) = plot.figure()
    assert matplotlib.rcParams == before
    assert not axes.spines["top"].get_visible()
    assert not axes.spines["right"].get_visible()
    assert made.get_constrained_layout()
    assert [axes._get_lines.get_next_color() for _ in range(5)] == list(plot.OTHERS)


def test_the_style_reaches_the_names_at_the_lines(axes):
    plot.curves(axes, {"torch": [1.0, 2.0]})
    assert axes.texts[0].get_fontsize() == axes.xaxis.label.get_fontsize()


@pytest.mark.parametrize(("columns", "rows"), [(0, 1), (1, 0), (-1, 2)])
def test_a_figure_without_axes_is_refused(columns, rows):
    expected = f"columns and rows must be at least 1, got {columns} and {rows}"
    with pytest.raises(ValueError, match=expected):
        plot.figure(columns, rows)
    assert plt.get_fignums() == []


def test_show_returns_nothing(axes):
    assert plot.show() is None


def test_curves_draw_each_series_with_its_name(axes):
    series = {"torch": [3.0, 1.0], "momentum": np.array([4.0, 0.5]), "numpy": (2, 2)}
    assert plot.curves(axes, series) is None
    for line, values in zip(axes.lines, series.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2])
        np.testing.assert_array_equal(line.get_ydata(), values)
    expected = {"PyTorch": 1.0, "momentum": 0.5, "NumPy": 2.0}
    assert {text.get_text(): text.xy for text in axes.texts} == {
        name: (2.0, value) for name, value in expected.items()
    }
    colors = {line.get_ydata()[-1]: line.get_color() for line in axes.lines}
    assert all(text.get_color() == colors[text.xy[1]] for text in axes.texts)


def test_other_series_have_different_colours(axes):
    plot.curves(axes, {name: [1.0, 2.0] for name in ("a", "b", "c", "d", "e")})
    assert len({line.get_color() for line in axes.lines}) == 5


def test_curves_are_drawn_at_x(axes):
    plot.curves(axes, {"torch": [3.0, 1.0, 2.0]}, x=[0.0, 0.5, 4.0])
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 0.5, 4])
    assert axes.texts[0].xy == (4.0, 2.0)


def test_a_curve_may_be_a_single_point(axes):
    plot.curves(axes, {"torch": [3.0]})
    assert axes.texts[0].xy == (1.0, 3.0)


def test_epochs_are_counted_in_whole_numbers(axes):
    plot.curves(axes, {"torch": [3.0, 1.0, 2.0]})
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    ticks = [t for t in axes.get_xticks() if low <= t <= high]
    assert ticks == [1, 2, 3]


def test_a_logarithmic_axis_stays_logarithmic(axes):
    axes.set_xscale("log")
    plot.curves(axes, {"torch": [3.0, 1.0, 2.0, 1.0]}, x=[1, 10, 100, 1000])
    axes.figure.canvas.draw()
    assert {1, 10, 100, 1000} <= set(axes.get_xticks().tolist())


def boxes(axes):
    """Return where names stand, from bottom to top, as they are drawn at last."""
    axes.figure.canvas.draw()
    texts = sorted(axes.texts, key=lambda text: text.get_window_extent().y0)
    return [(text.get_text(), text.get_window_extent()) for text in texts]


ENDS = {
    "equal": {"numpy": 1.0, "tensorflow": 1.0, "torch": 1.0},
    "close": {"numpy": 1.0, "tensorflow": 1.001, "torch": 0.999},
    "pair": {"numpy": 0.2, "tensorflow": 0.21, "torch": 1.9},
    "at the top": {"numpy": 2.0, "tensorflow": 1.99, "torch": 2.0},
    "chain": {"a": 1.0, "b": 1.06, "c": 1.12, "d": 1.18, "e": 1.24},
}


@pytest.mark.parametrize(
    ("grid", "scale"), [((1, 1), "linear"), ((1, 1), "log"), ((1, 2), "linear")]
)
@pytest.mark.parametrize("ends", ENDS.values(), ids=list(ENDS))
def test_names_at_lines_do_not_overlap(ends, grid, scale):
    _, every = plot.figure(*grid)
    for axes in every:
        axes.set_yscale(scale)
        axes.set_xlabel("epoch")
        plot.curves(axes, {name: [1.0, 2.0, 0.1, end] for name, end in ends.items()})
    for axes in every:
        found = boxes(axes)
        assert len(found) == len(ends)
        for (_, lower), (_, upper) in pairwise(found):
            assert upper.y0 >= lower.y1
        order = sorted(ends, key=ends.get)
        assert [name for name, _ in found] == [plot.LABELS.get(name, name) for name in order]


def test_names_that_do_not_overlap_stand_at_their_lines(axes):
    ends = {"numpy": 1.0, "tensorflow": 2.0, "torch": 3.0}
    plot.curves(axes, {name: [0.0, end] for name, end in ends.items()})
    for (_, box), end in zip(boxes(axes), ends.values(), strict=True):
        x, y = axes.transData.transform((2, end))
        assert (box.y0 + box.y1) / 2 == pytest.approx(y, abs=3)
        assert 0 < box.x0 - x < 20


def test_names_at_lines_are_inside_the_figure(axes):
    plot.curves(axes, {name: [1.0, 2.0] for name in plot.COLORS})
    width, height = axes.figure.canvas.get_width_height()
    for _, box in boxes(axes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height


def test_curves_without_series_are_refused(axes):
    with pytest.raises(ValueError, match=r"series must be equally long and not empty, got \{\}"):
        plot.curves(axes, {})
    with pytest.raises(ValueError, match=r"equally long and not empty, got \{'a': 0\}"):
        plot.curves(axes, {"a": []})


def test_curves_of_unequal_lengths_are_refused(axes):
    with pytest.raises(ValueError, match=r"equally long and not empty, got \{'a': 2, 'b': 3\}"):
        plot.curves(axes, {"a": [1, 2], "b": [1, 2, 3]})


@pytest.mark.parametrize("x", [[1], [1, 2, 3], []])
def test_positions_of_another_length_are_refused(axes, x):
    expected = f"x must have 2 points as the series have, got {len(x)}"
    with pytest.raises(ValueError, match=expected):
        plot.curves(axes, {"a": [1.0, 2.0]}, x=x)
    with pytest.raises(ValueError, match=expected):
        plot.spread(axes, {"a": np.ones((3, 2))}, x=x)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_curves_that_are_not_finite_are_refused_and_nothing_is_drawn(axes, bad):
    with pytest.raises(ValueError, match="series 'b' holds NaN or infinity, expected finite"):
        plot.curves(axes, {"a": [1.0, 2.0], "b": [1.0, bad]})
    assert not axes.lines
    assert not axes.texts


def test_spread_draws_the_mean_with_one_standard_deviation(axes):
    runs = np.array([[1.0, 5.0, 2.0], [3.0, 5.0, 4.0], [2.0, 8.0, 9.0]])
    assert plot.spread(axes, {"torch": runs, "other": runs + 20}, x=[0, 2, 4]) is None
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 2, 4]] * 2
    mean = [2.0, 6.0, 5.0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), mean)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), np.add(mean, 20))
    # By hand: Σ(x − mean)² / (3 − 1) is 1, 3 and 13.
    deviation = np.sqrt([1.0, 3.0, 13.0])
    band, other = axes.collections
    corners = {tuple(np.round(v, 9)) for v in band.get_paths()[0].vertices}
    for i, at in enumerate([0, 2, 4]):
        for sign in (-1, 1):
            assert tuple(np.round((at, mean[i] + sign * deviation[i]), 9)) in corners
    assert to_hex(band.get_facecolor()[0]) == plot.COLORS["torch"].lower()
    assert to_hex(other.get_facecolor()[0]) == to_hex(axes.lines[1].get_color())
    assert 0 < band.get_facecolor()[0][3] < 0.5
    assert sorted(text.get_text() for text in axes.texts) == ["PyTorch", "other"]


def test_spread_counts_points_from_1(axes):
    plot.spread(axes, {"torch": [[1.0, 2.0], [3.0, 4.0]]})
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2])


@pytest.mark.parametrize("shape", [(1, 4), (4,), (0, 4), (2, 2, 4), ()])
def test_spread_needs_two_runs(axes, shape):
    expected = r"torch must be \(runs ≥ 2, points\), got \(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=expected):
        plot.spread(axes, {"numpy": np.ones((2, 4)), "torch": np.ones(shape)})


def test_spread_needs_series_of_equal_lengths(axes):
    with pytest.raises(ValueError, match=r"equally long and not empty, got \{\}"):
        plot.spread(axes, {})
    with pytest.raises(ValueError, match=r"equally long and not empty, got \{'a': 3, 'b': 2\}"):
        plot.spread(axes, {"a": np.ones((2, 3)), "b": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"equally long and not empty, got \{'a': 0\}"):
        plot.spread(axes, {"a": np.ones((2, 0))})


@pytest.mark.parametrize("bad", [(np.nan, 1.0), (np.inf, 1.0), (np.inf, -np.inf)])
def test_spread_refuses_what_is_not_finite(axes, bad):
    runs = np.ones((2, 3))
    runs[:, 1] = bad
    with pytest.raises(ValueError, match="series 'torch' holds NaN or infinity, expected finite"):
        plot.spread(axes, {"torch": runs})
    assert not axes.lines
    assert not axes.collections


def shown(monkeypatch):
    """Count the figures shown."""
    count = []
    monkeypatch.setattr(plt, "show", lambda: count.append(plt.get_fignums()))
    return count


@pytest.mark.parametrize(
    ("count", "columns", "grid"),
    [(3, 10, (1, 3)), (10, 10, (1, 10)), (11, 10, (2, 10)), (5, 2, (3, 2)), (1, 1, (1, 1))],
)
def test_images_stand_in_rows(monkeypatch, count, columns, grid):
    figures = shown(monkeypatch)
    pictures = np.random.default_rng(0).integers(0, 256, (count, 4, 5)).astype(np.uint8)
    assert plot.images(pictures, columns=columns) is None
    axes = plt.gcf().axes
    assert figures == [[plt.gcf().number]]
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == grid
    for ax, picture in zip(axes, pictures, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), picture)
    assert sum(len(ax.images) for ax in axes) == count
    assert not any(ax.axison for ax in axes)


def test_ten_images_a_row_by_default():
    plot.images(np.ones((12, 2, 2)))
    assert plt.gcf().axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 10)


def test_images_show_ink_dark_and_paper_light():
    plot.images(np.array([[[0, 255], [128, 255]]]))
    [image] = plt.gcf().axes[0].images
    rgba = image.to_rgba(image.get_array())
    assert rgba[0, 0, :3].tolist() == [1, 1, 1]
    assert rgba[0, 1, :3].tolist() == [0, 0, 0]
    assert 0.3 < rgba[1, 0, 0] < 0.7


@pytest.mark.parametrize("titles", [["a", "b", "c"], ("a", "b", "c"), None])
def test_images_have_their_titles(titles):
    plot.images(np.zeros((3, 2, 2)), titles)
    found = [ax.get_title(loc="center") for ax in plt.gcf().axes]
    assert found == list(titles or ["", "", ""])


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (2, 4, 4, 3), ()])
def test_images_of_another_shape_are_refused(shape):
    expected = r"pictures must be \(pictures, height, width\), got \(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=expected):
        plot.images(np.zeros(shape))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("titles", [["a"], ["a", "b", "c"], []])
def test_another_number_of_titles_is_refused(titles):
    with pytest.raises(ValueError, match=f"titles must be 2, one a picture, got {len(titles)}"):
        plot.images(np.zeros((2, 4, 4)), titles)
    assert plt.get_fignums() == []
