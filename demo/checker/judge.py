"""The judgement over an act: every claim, and the facts that go into the report."""

from typing import Any, Final

from demo.checker.box_claims import ACT_7
from demo.checker.context import PLANES
from demo.checker.evidence import Evidence, Moment
from demo.checker.finding import Claim, Finding, phases, running_version, seconds_between
from demo.checker.platform_claims import ACT_8
from demo.checker.release_claims import ACT_1, ACT_2
from demo.checker.rollback_claims import ACT_3, ACT_4, seconds_to_recover
from demo.checker.stop_claims import ACT_5, ACT_6

CLAIMS: Final[dict[int, tuple[Claim, ...]]] = {
    1: ACT_1,
    2: ACT_2,
    3: ACT_3,
    4: ACT_4,
    5: ACT_5,
    6: ACT_6,
    7: ACT_7,
    8: ACT_8,
}
RECOVERIES: Final = frozenset({3, 4})


def judge(evidence: Evidence) -> list[Finding]:
    """Say of every claim of the act whether it holds."""
    return [claim(evidence) for claim in CLAIMS[evidence.act]]


def all_held(findings: list[Finding]) -> bool:
    """Whether nothing speaks against the act."""
    return all(finding.held for finding in findings)


def facts(evidence: Evidence) -> dict[str, Any]:
    """What happened in the act, in figures."""
    status = evidence.after.plan.get("status", {})
    return {
        "act": evidence.act,
        "revision": status.get("revision", ""),
        "seconds": seconds_between(evidence.before.at, evidence.after.at),
        "phases": phases(evidence),
        "orders": len(evidence.history.orders),
        "ordered": len({order.device for order in evidence.history.orders}),
        "versionsBefore": _versions(evidence, evidence.before),
        "versionsAfter": _versions(evidence, evidence.after),
        "verdicts": [
            {"signal": one.signal, "ring": one.ring, "result": one.result, "value": one.value, "at": one.at}
            for one in evidence.readings
        ],
        "secondsFromBadSignalToLastDeviceBack": seconds_to_recover(evidence) if evidence.act in RECOVERIES else None,
    }


def _versions(evidence: Evidence, moment: Moment) -> dict[str, dict[str, str]]:
    return {
        device: {plane: running_version(evidence, moment, device, plane) for plane in PLANES}
        for device in sorted(moment.flash)
    }
