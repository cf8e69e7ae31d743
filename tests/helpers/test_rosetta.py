"""The rows of the pages of differences: what they check, print and refuse."""

import numpy as np
import pytest

from helpers.rosetta import RosettaError, answer, row


def scale(values, epsilon=1e-7, name=None):
    return values


ONE, TWO = np.array([1.0, 2.0]), np.array([1.0, 2.5])


def test_a_row_prints_what_it_found(capsys):
    row(
        "half",
        defaults={scale: {"epsilon": 1e-7, "name": None}},
        answers={"numpy": (lambda: ONE, "[1, 2]"), "torch": (lambda: ONE[5], "IndexError")},
        before=(ONE, TWO),
        after=(ONE, TWO - [0, 0.5]),
        formulas={"torch": (ONE, ONE + 1e-9, 1e-8)},
    )
    assert capsys.readouterr().out == (
        "rosetta-half\n"
        f"  default: {scale.__module__.split('.')[0]} scale(epsilon=1e-07, name=None)\n"
        "  numpy: [1, 2]\n"
        "  torch: IndexError\n"
        "  before: 5.0e-01\n"
        "  after: 0\n"
        "  NumPy's formula against torch: below 1e-08\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"defaults": {scale: {"epsilon": 1e-8}}}, "has epsilon=1e-07 by default, not 1e-08"),
        ({"defaults": {scale: {"name": False}}}, "has name=None by default, not False"),
        ({"defaults": {scale: {"rate": 1}}}, "has rate='no such argument'"),
        ({"answers": {"numpy": (1, "2")}}, "numpy answers 1, expected 2"),
        ({"before": (ONE, ONE)}, "no difference any more"),
        ({"before": (ONE, ONE + 1e-7), "within": 1e-7}, "no difference any more"),
        ({"after": (ONE, ONE + 1e-7)}, "1.0e-07 where at most 0 is allowed"),
        ({"after": (ONE, ONE[:1])}, r"shape \(2,\) against \(1,\)"),
        ({"after": (ONE, ONE * np.nan), "within": 0.1}, "NaN or infinity against a number"),
        ({"formulas": {"tensorflow": (ONE, TWO, 0.1)}}, "5.0e-01 where at most 0.1 is allowed"),
        ({"after": None, "same": True}, "5.0e-01 where at most 0 is allowed"),
    ],
)
def test_what_is_not_so_fails_with_the_rows_name(arguments, words, capsys):
    with pytest.raises(RosettaError, match=f"^half: .*{words}"):
        row("half", **{"before": (ONE, TWO), "after": (ONE, ONE)} | arguments)
    assert capsys.readouterr().out == ""


def test_answers_alone_have_to_differ_unless_they_are_said_to_be_the_same(capsys):
    alike = {"numpy": (1, "1"), "torch": (1, "1")}
    with pytest.raises(RosettaError, match="half: the answers are all the same"):
        row("half", answers=alike, unmapped="it is so")
    with pytest.raises(RosettaError, match="half: the answers are not all the same"):
        row("half", answers=alike | {"tensorflow": (2, "2")}, same=True)
    row("half", answers=alike, same=True)
    row("half", answers=alike | {"tensorflow": (2, "2")}, unmapped="it is so")
    assert "  after: not to be had: it is so\n" in capsys.readouterr().out


def test_nan_and_infinity_agree_with_themselves(capsys):
    odd = np.array([np.nan, np.inf, -np.inf])
    row("odd", before=(odd, odd + 0), same=True)
    row("odd", before=(odd, [0, 0, 0]), after=(odd, odd))
    row("odd", before=([True, False], [True, True]), after=([2**53], [2**53]))
    out = capsys.readouterr().out
    assert "before: 0\n" in out and "before: NaN or infinity against a number" in out


@pytest.mark.parametrize(
    "arguments",
    [
        {"same": True},
        {"before": (ONE, TWO)},
        {"before": (ONE, TWO), "after": (ONE, ONE), "same": True},
        {"before": (ONE, TWO), "after": (ONE, ONE), "unmapped": "no"},
        {"after": (ONE, ONE)},
    ],
)
def test_an_incomplete_row_is_refused(arguments):
    with pytest.raises(ValueError, match="row 'half' must"):
        row("half", **arguments)


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="expected numbers"):
        row("half", before=("a", "b"), unmapped="no")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: 1 / 3, "0.3333"),
        (np.array([[1.5, 2.0]]), "[[1.5, 2]]"),
        ((np.int64(3), None), "(3, None)"),
        (np.float32, "float32"),
        ("text", "text"),
        (True, "True"),
        (np.dtype("int8"), "int8"),
    ],
)
def test_an_answer_is_short_text(call, text):
    assert answer(call) == text


def test_answers_of_frameworks(tf, torch):
    assert answer(lambda: tf.constant([1, 2])) == answer(lambda: torch.tensor([1, 2])) == "[1, 2]"
    assert answer(lambda: torch.tensor([1.5]).dtype) == "torch.float32"
