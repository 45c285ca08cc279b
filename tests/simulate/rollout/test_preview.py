"""Who would be hit, and how: nobody can say they did not know (fleet#2891, fleet#3829)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backstay.core.holds import Hold
from backstay.core.planes import Plane
from backstay.simulate.rollout.fleets import fleet_for, known_releases
from backstay.simulate.rollout.preview import Preview, preview
from tests.simulate.rollout.releases import FLEET, PLAN, B, release

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


def seen(directory: Path, fleet: str = "100", text: str = PLAN, **changes: object) -> Preview:
    found = replace(release(directory, text), **changes)
    made = fleet_for(fleet, found)
    return preview(found, made.devices, known_releases(found, made), NOW)


def test_preview_says_who_is_in_which_ring(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert [(ring.name, ring.devices, ring.to_change, ring.at_once) for ring in found.rings] == [
        ("canary", 2, 2, 2),
        ("everyone", 98, 98, 20),
    ]
    assert len(found.rings[1].first) == 5
    assert found.rings[0].waits_for == ("a rehearsal with 1 devices and one broken on purpose",)
    assert found.rings[1].waits_for == ("a person's approval",)
    assert found.left_out == 0


def test_preview_counts_each_distinct_path(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    found = seen(tmp_path, str(tmp_path / "fleet.yaml"))
    assert [(path.devices, path.steps) for path in found.paths] == [
        (6, "firmware 1.0.0 → 2.0.0, then model 1.0.0 → 3.0.0"),
        (1, "model 1.0.0 → 3.0.0"),
    ]


def test_preview_says_what_would_be_refused(tmp_path: Path) -> None:
    needy = PLAN.replace('requires: {firmware: ">=2.0.0"}', 'requires: {config: ">=9.0.0"}')
    (tmp_path / "fleet.yaml").write_text(FLEET)
    found = seen(tmp_path, str(tmp_path / "fleet.yaml"), needy)
    assert any("model 3.0.0 requires config >=9.0.0, but the device has 1.0.0" in words for words in found.refusals)
    assert any("but the device has none" in words for words in found.refusals)


def test_preview_counts_devices_that_a_hold_stops(tmp_path: Path) -> None:
    hold = Hold("stop", versions=frozenset({(Plane.MODEL, B)}), devices=frozenset({"device-000"}))  # type: ignore[arg-type]
    everything = Hold("all", reason="stock-taking")
    assert sum(ring.held for ring in seen(tmp_path, holds=(hold,)).rings) == 0, "its next step is the firmware"
    assert sum(ring.held for ring in seen(tmp_path, holds=(everything,)).rings) == 100


def test_preview_is_no_shorter_than_what_the_plan_waits_for(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert found.at_best >= timedelta(hours=3, minutes=30)
    assert found.at_best == sum((ring.at_best for ring in found.rings), timedelta(hours=2))
