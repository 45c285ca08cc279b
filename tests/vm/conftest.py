"""A machine for the tests of one file, and the cluster that it belongs to."""

from pathlib import Path

import pytest

from tests.cluster.conftest import kube, namespace, sandbox
from tests.vm.machine import unavailable

__all__ = ["kube", "namespace", "sandbox"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take minutes each, and an emulator: they run when they are asked for, and are skipped where it is not."""
    lacking = unavailable()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.machine)
            if lacking:
                item.add_marker(pytest.mark.skip(reason=lacking))
