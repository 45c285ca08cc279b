"""What all tests share."""

import asyncio
import os
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

LONGEST_FIRST: Final = (
    "test_machine",
    "test_demo_sabotage",
    "test_operator_kills",
    "test_power_cuts",
    "test_first_release",
    "test_helm",
    "test_node",
    "test_bridge_kills",
    "test_sandbox",
    "test_operator",
    "test_chromium",
    "test_agent_on_node",
    "test_command_line",
    "test_agent",
    "test_errors",
    "test_completion",
    "test_installers",
)
"""The files that take longest, the longest first: begun last, each would run alone at the end."""

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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; within a file, and for all others, the order stays."""
    late = len(LONGEST_FIRST)
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, late))
