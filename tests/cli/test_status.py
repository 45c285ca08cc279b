"""How a plan looks to whoever watches it."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from backstay.api.releaseplan import ReleasePlan
from backstay.cli.status import rendered

NOW = datetime(2026, 11, 26, 3, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    at = "2026-11-26T03:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def plan(**status: Any) -> ReleasePlan:
    versions = {
        plane: {"version": version, "artifact": f"registry.example/vision/{plane}@{DIGEST}"}
        for plane, version in (("firmware", "2.4.1"), ("model", "7.2.0"))
    }
    return ReleasePlan.from_document(
        {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "ReleasePlan",
            "metadata": {"name": "vision", "namespace": "acme"},
            "spec": {"groups": ["cameras"], "versions": versions, "paused": status.pop("paused", False)},
            "status": status,
        }
    )


def shown(found: ReleasePlan, *, wide: bool = False) -> str:
    console = Console(file=StringIO(), width=110, force_terminal=False)
    console.print(rendered(found, NOW, wide=wide))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")


RINGS = [
    {
        "name": "internal",
        "target": 3,
        "confirmed": 3,
        "started": 3,
        "passed": "2026-11-26T02:00:00Z",
        "verdict": "Pass",
    },
    {"name": "canary", "target": 40, "confirmed": 31, "started": 36, "inFlight": 4, "failed": 1, "verdict": "NoData"},
    {"name": "everyone", "target": 10_000, "offline": 12},
]


def test_plan_under_way_shows_its_rings_as_they_fill() -> None:
    ready = condition("Ready", "False", "WaitingForDevices", "31 of 40 devices of ring canary confirmed")
    found = plan(
        revision="0ff0650b3c-3",
        phase="Rolling",
        phaseSince="2026-11-26T03:00:00Z",
        ring="canary",
        rings=RINGS,
        conditions=[condition("Reconciling", "True", "Rolling", "31 of 40 devices of ring canary confirmed"), ready],
    )
    assert shown(found) == (
        """\
vision  Rolling, ring canary, for 12m
  firmware 2.4.1, model 7.2.0   revision 0ff0650b3c-3
  Rolling: 31 of 40 devices of ring canary confirmed
    ring                            confirmed  changing  failed  offline  health
    internal  ████████████████████        3/3         0       0        0  passed
 ▸  canary    ████████████████▒▒✗·      31/40         4       1        0  NoData
    everyone  ····················    0/10000         0       0       12  -"""
    )


def test_plan_that_was_pulled_back_names_the_culprit() -> None:
    guilty = {"plane": "model", "version": "7.2.0", "verdict": "Convicted", "reason": "latency-p95 0.31 is above 0.12"}
    found = plan(
        revision="0ff0650b3c-3",
        phase="RolledBack",
        ring="canary",
        culprit=guilty,
        conditions=[condition("Ready", "False", "RolledBack", "model 7.2.0 was reverted")],
    )
    assert shown(found).splitlines() == [
        "vision  RolledBack",
        "  firmware 2.4.1, model 7.2.0   revision 0ff0650b3c-3",
        "  RolledBack: model 7.2.0 was reverted",
        "  Convicted: model 7.2.0, latency-p95 0.31 is above 0.12",
    ]


def test_plan_that_nobody_has_looked_at_yet_says_that_much() -> None:
    assert shown(plan(paused=True)).splitlines() == [
        "vision  Pending  PAUSED",
        "  firmware 2.4.1, model 7.2.0   revision none yet",
    ]


@pytest.mark.parametrize(
    ("ring", "cells"),
    [
        ({"target": 10_000, "confirmed": 1}, "█" + "·" * 19),
        ({"target": 10_000, "failed": 1, "confirmed": 9_999}, "█" * 19 + "✗"),
        ({"target": 0}, "·" * 20),
        ({"target": 2, "confirmed": 1, "inFlight": 1}, "█" * 10 + "▒" * 10),
    ],
)
def test_bar_never_overflows_and_shows_whatever_there_is(ring: dict[str, int], cells: str) -> None:
    assert cells in shown(plan(revision="0ff0650b3c-3", phase="Rolling", ring="one", rings=[{"name": "one", **ring}]))
