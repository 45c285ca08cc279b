"""What all tests share."""

from hypothesis import HealthCheck, settings

# On a busy machine of two cores an example may take long without anything being wrong.
settings.register_profile("backstay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("backstay")
