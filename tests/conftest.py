"""What all tests share."""

import asyncio
import os

from hypothesis import HealthCheck, Phase, settings

# On a busy machine of two cores an example may take long without anything being wrong.
settings.register_profile("backstay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For mutants (`make mutants`): few examples, the same each time, and nothing is made smaller that is found.
settings.register_profile(
    "mutants",
    settings.get_profile("backstay"),
    max_examples=30,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# For nights (`make faults`): ten times as many examples of everything.
settings.register_profile("long", settings.get_profile("backstay"), max_examples=1000)
settings.load_profile(os.environ.get("BACKSTAY_HYPOTHESIS", "backstay"))

# Between two tests pytest-asyncio asks for the current loop; unless it was told that there is none, Python 3.11 makes
# one for the answer, and nobody closes it.
asyncio.set_event_loop(None)
