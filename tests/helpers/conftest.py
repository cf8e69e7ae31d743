"""The frameworks, where they are installed; a test that needs one that is not is skipped."""

import pytest


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")
