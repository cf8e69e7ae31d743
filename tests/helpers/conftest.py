"""The frameworks, where they are installed; a test that needs one that is not is skipped."""

import pytest
from hypothesis import HealthCheck, settings

# Busy machines are slow at drawing examples, too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")
