"""The comparison that nbval makes: text exactly, decimals by their last place."""

import pytest

from tools.comparison import Printed, unit


def printed(text: str, rtol: float = 0.0) -> Printed:
    made = Printed(text)
    made.rtol = rtol
    return made


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("loss 0.30", "loss 0.30"),
        ("loss 0.30", "loss 0.31"),
        ("loss 0.30", "loss 0.29"),
        ("[0.1 0.2]", "[0.1 0.3]"),
        ("1.5e-08", "1.6e-08"),
        ("9.99e-08", "1.00e-07"),
        ("2e-07", "3e-07"),
        (" 9.99", "10.00"),
        ("0.00", "-0.00"),
        ("x = 3.", "x = 4."),
    ],
)
def test_one_unit_in_the_last_place_is_equal(stored: str, fresh: str) -> None:
    assert printed(stored) == printed(fresh)
    assert printed(fresh) == printed(stored)
    assert (printed(stored) != printed(fresh)) is False


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("loss 0.30", "loss 0.32"),
        ("loss 0.30", "cost 0.30"),
        ("3 digits", "4 digits"),
        ("(100, 64)", "(100, 65)"),
        ("0.30 0.30", "0.30"),
        ("1.5e-08", "1.5e-07"),
        ("0.1 nan", "0.1 inf"),
        ("1.0", "-1.0"),
        ("0.5", "nan"),
        ("version 2", "version 2.0"),
        ("a 1.0", "a 1.0\n"),
        ("True", "False"),
        ("float32", "float64"),
    ],
)
def test_anything_else_differs(stored: str, fresh: str) -> None:
    assert printed(stored) != printed(fresh)
    assert printed(fresh) != printed(stored)


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("0.78 ± 0.08", "0.81 ± 0.08"),  # a unit and a quarter of the spread
        ("0.78 ± 0.08", "0.78 ± 0.11"),
        ("  9.9 ± 0.4", " 10.0 ± 0.5"),
        ("84 ± 8", "87 ± 10"),
        ("-84.3 ± 2.4", "-83.7 ± 2.1"),
        ("1.5e-03 ± 4e-04", "1.7e-03 ± 4e-04"),
        ("0.78 ± 0.00 of 5", "0.79 ± 0.01 of 5"),
    ],
)
def test_a_mean_may_move_by_a_quarter_of_its_spread(stored: str, fresh: str) -> None:
    assert printed(stored) == printed(fresh)
    assert printed(fresh) == printed(stored)


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("0.78 ± 0.08", "0.82 ± 0.08"),
        ("0.78 ± 0.08", "0.78 ± 0.13"),
        ("0.78 ± 0.00", "0.80 ± 0.00"),
        ("0.78 ± nan", "0.78 ± 0.10"),
        ("84 ± 8", "88 ± 8"),
        ("0.5 ± 0.1 of 5", "0.5 ± 0.1 of 6"),
        ("0.5 ± 0.1", "0.5 + 0.1"),
        ("0.5 ± 0.1", "0.5 ± 0.1 ± 0.1"),
        ("0.78 ± 0.08 at 0.1", "0.78 ± 0.08 at 0.3"),
        ("0.78 and 0.08", "0.81 and 0.08"),
    ],
)
def test_but_no_further(stored: str, fresh: str) -> None:
    assert printed(stored) != printed(fresh)
    assert printed(fresh) != printed(stored)


def test_a_tag_widens_it_relatively() -> None:
    assert printed("150.00", 1e-2) == printed("151.00", 1e-2)
    assert printed("150.00", 1e-2) != printed("152.00", 1e-2)
    assert printed("150.00") != printed("151.00")


@pytest.mark.parametrize(
    ("text", "value"), [("0.30", 0.01), ("1.5e-08", 1e-9), ("2e3", 1000), (" -4.", 1)]
)
def test_unit(text: str, value: float) -> None:
    assert unit(text) == pytest.approx(value)
