"""What every test gets: the hypothesis profiles."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.profile import PROFILE

settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(PROFILE)
