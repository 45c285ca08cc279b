"""What is left of a demo: `report.json` with the facts of each act as the checker found them, and ten lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]
RECOVERED: Final = "secondsFromBadSignalToLastDeviceBack"


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
    orders = sum(act["orders"] for act in facts.values())
    return [
        f"1. Three planes reached {devices} devices ring by ring, in an order that keeps every set compatible.",
        f"2. A model went out alone in {facts[2]['seconds']:.0f} s: no restart, no other change, promoted on accuracy.",
        _wrong_model(facts[3]),
        f"4. Firmware that hung was undone by watchdog and bootloader, {facts[4][RECOVERED]} s after the first sign.",
        "5. Every bad version is frozen by the digest of its bytes, and a person was paged for it.",
        "6. A config that needs a model nobody has was refused before a byte was shipped.",
        "7. A person stopped one customer in mid-rollout; the others went on, and the rest caught up afterwards.",
        _boxes(facts),
        _platform(facts),
        f"10. All of it took {seconds:.0f} s and {orders} orders; a checker of its own confirms every line.",
    ]


def _wrong_model(act: Json) -> str:
    failed = next((one["value"] for one in act["verdicts"] if one["result"] == "Fail"), None)
    return (
        f"3. A model that its {act['ordered']} devices confirmed failed its canaries, on accuracy {failed}; it alone "
        f"went back, {act[RECOVERED]} s from the bad signal to the last device."
    )


def _boxes(facts: Mapping[int, Json]) -> str:
    if 7 not in facts:  # noqa: PLR2004 - the act
        return "8. Nothing was shown of Linux nodes, because this machine cannot have any."
    return "8. Two Linux nodes pulled a wrong model back by replaying its golden samples, with no API server to ask."


def _platform(facts: Mapping[int, Json]) -> str:
    if 8 not in facts:  # noqa: PLR2004 - the act
        return "9. Nothing was shown of an installation by helm, because a Pod needs a node."
    return "9. Installed by helm as a Pod, it rolled out what was committed to Git, and its page showed what is so."
