"""What is left of a demo: `report.json` with the facts of each act as the checker found them, and ten lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One act as the checker judged it."""

    title: str
    facts: Json

    @property
    def held(self) -> bool:
        """Whether every claim of the act holds."""
        return bool(self.facts.get("passed"))


def write_report(file: Path, outcomes: Sequence[Outcome], devices: int, seconds: float) -> None:
    """Write the report."""
    report = {
        "passed": all(outcome.held for outcome in outcomes),
        "devices": devices,
        "seconds": round(seconds, 1),
        "acts": [{"title": outcome.title, **outcome.facts} for outcome in outcomes],
    }
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def ten_lines(outcomes: Sequence[Outcome], devices: int, seconds: float) -> list[str]:
    """What was proved, for somebody who reads nothing else."""
    facts = {outcome.facts["act"]: outcome.facts for outcome in outcomes}
    orders, recovered = sum(act["orders"] for act in facts.values()), "secondsFromBadSignalToLastDeviceBack"
    failed = next((one["value"] for one in facts[3]["verdicts"] if one["result"] == "Fail"), None)
    return [
        f"1. Three planes reached {devices} devices through five rings, each only after the one before was healthy.",
        "2. No device ran an incompatible set: firmware first, then the model that needs it, then the config.",
        f"3. A model went out alone in {facts[2]['seconds']:.0f} s: no restart, no other change, promoted on accuracy.",
        f"4. A model that all its {facts[3]['ordered']} devices confirmed failed its canaries, on accuracy {failed}.",
        f"5. Only that model went back: {facts[3][recovered]} s from the bad signal to the last device.",
        f"6. Firmware that hung was undone by watchdog and bootloader, {facts[4][recovered]} s after the first sign.",
        "7. Both bad versions are frozen by the digest of their bytes, and a person was paged for each.",
        "8. A config that needs a model nobody has was refused before a byte was shipped.",
        "9. A person stopped one customer in mid-rollout; the others went on, and the rest caught up afterwards.",
        f"10. All of it took {seconds:.0f} s and {orders} orders; a checker of its own confirms every line.",
    ]
