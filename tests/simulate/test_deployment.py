"""What a device reads of a deployment."""

from datetime import timedelta
from typing import Any

import pytest

from backstay.simulate.deployment import BadDeployment, parse_deployment

EXTENSION = {
    "plane": "model",
    "type": "Install",
    "content": f"sha256:{'0' * 64}",
    "window": "5m",
    "probes": [{"name": "camera", "kind": "InputPresent", "input": "camera0", "within": "1m30s"}],
}


def document(**extension: Any) -> dict[str, Any]:
    chunk = {"part": "model", "version": "7.2.0", "artifacts": [{"size": 1, "_links": {}}]}
    return {"id": "7", "deployment": {"chunks": [chunk]}, "backstay": EXTENSION | extension}


def test_deployment_gives_each_probe_its_own_time() -> None:
    probe = parse_deployment(document()).order.probes[0]
    assert probe.within == timedelta(seconds=90)
    assert probe.settings == (("input", "camera0"),)


def test_deployment_is_refused_when_a_probes_own_time_is_none() -> None:
    with pytest.raises(BadDeployment, match="soon"):
        parse_deployment(document(probes=[{"name": "camera", "kind": "InputPresent", "within": "soon"}]))
