"""Whole releases on the simulated clock: what goes wrong, what the operator makes of it, and how fast."""

from datetime import timedelta
from pathlib import Path

import pytest

from backstay.core.revision import Phase
from tests.simulate.rollout.releases import FLEET, PLAN, played


def told(lines: object) -> str:
    return "\n".join(line.text for line in lines)  # type: ignore[attr-defined]


def test_release_succeeds_when_nothing_goes_wrong(tmp_path: Path) -> None:
    outcome = played(tmp_path)
    assert (outcome.phase, outcome.is_over) == (Phase.SUCCEEDED, True)
    assert outcome.ended > timedelta(hours=3, minutes=30)
    assert outcome.most_bad == 0
    assert [report.counts.confirmed for _, report in outcome.rings] == [2, 98]
    assert "recovery is proven in ring canary" in told(outcome.lines)
    assert "approved ring everyone" in told(outcome.lines)


def test_same_seed_gives_the_same_release_and_another_one_another(tmp_path: Path) -> None:
    first, again, other = (played(tmp_path, "falls-silent=2%", seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_bad_version_is_stopped_at_the_canaries_when_its_probes_fail(tmp_path: Path) -> None:
    outcome = played(tmp_path, "bad-model")
    assert outcome.phase is Phase.ROLLED_BACK
    assert [times.started is not None for times, _ in outcome.rings] == [True, False]
    assert outcome.left_bad == 0
    assert any(frozen.startswith("model 3.0.0: Convicted") for frozen in outcome.frozen)


def test_bad_version_is_detected_and_recovered_from_when_only_a_signal_shows_it(tmp_path: Path) -> None:
    outcome = played(tmp_path, "silent-model")
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.most_bad == 2
    assert outcome.left_bad == 0
    assert outcome.detection is not None
    assert outcome.recovery is not None
    assert timedelta(0) < outcome.recovery < timedelta(minutes=10)
    assert outcome.exposure[-1].bad == 0


def test_device_that_is_switched_off_keeps_the_bad_version_until_it_is_back(tmp_path: Path) -> None:
    outcome = played(tmp_path, "silent-model", "offline=10%/3h")
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.left_bad == 0


@pytest.mark.parametrize("fault", ["prometheus-outage=2h@30m", "operator-crash@10m", "registry-outage=2m@1m"])
def test_release_succeeds_when_a_neighbour_is_away_for_a_while(tmp_path: Path, fault: str) -> None:
    assert played(tmp_path, fault).phase is Phase.SUCCEEDED


def test_release_halts_and_blames_no_version_when_the_registry_stays_away(tmp_path: Path) -> None:
    outcome = played(tmp_path, "registry-outage=48h@0s")
    assert outcome.phase is Phase.HALTED
    assert outcome.frozen == ()
    assert "no version is to blame" in told(outcome.lines)


def test_ring_fails_when_devices_fall_silent(tmp_path: Path) -> None:
    outcome = played(tmp_path, "falls-silent=100%")
    assert outcome.phase in {Phase.ROLLED_BACK, Phase.UNRESOLVED}
    assert "TimedOut" in told(outcome.lines)


def test_fleet_from_a_file_keeps_what_its_devices_run(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    outcome = played(
        tmp_path, fleet=str(tmp_path / "fleet.yaml"), text=PLAN.replace(", rehearsal: {devices: 1, breakOne: true}", "")
    )
    assert outcome.devices == 7
    assert outcome.phase is Phase.SUCCEEDED
    assert outcome.running == {"firmware 2.0.0, model 3.0.0, config 1.0.0": 6, "firmware 2.0.0, model 3.0.0": 1}
