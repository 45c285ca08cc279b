"""What the narrator says, and what a demo is made of."""

import io

from rich.console import Console

from backstay.api import DeviceGroup, EdgeDevice, HealthRule, Hold, ReleasePlan
from backstay.core.planes import ContentDigest, Plane
from demo import resources
from demo.artifacts import Artifact
from demo.boxes import NAMES, document
from demo.fleet import CUSTOMERS, REGIONS, cameras
from demo.narrator import BAR_CELLS, Narrator, bar
from demo.report import Outcome, ten_lines
from demo.scene import RingScene, Scene, VerdictScene, scene_of, told

ROLLING = Scene(
    1, 1, "abc-1", "Rolling", "canary", (RingScene("internal", 3, 3, is_passed=True), RingScene("canary", 3))
)


def plan_status(**status: object) -> dict[str, object]:
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": 2, **status}}


def test_scene_reads_the_plan_when_a_ring_rolls() -> None:
    scene = scene_of(
        plan_status(
            phase="Rolling",
            ring="canary",
            rings=[{"name": "canary", "target": 3, "confirmed": 1, "inFlight": 2}],
            progress={"verdicts": [{"signal": "accuracy", "result": "Pass", "value": "0.98", "message": "fine"}]},
        )
    )
    assert scene.is_answered
    assert scene.rings == (RingScene("canary", 3, confirmed=1, in_flight=2),)
    assert str(scene.verdicts[0]) == "accuracy 0.98 Pass"


def test_scene_is_not_answered_when_the_operator_has_not_seen_the_plan() -> None:
    assert not scene_of({"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}).is_answered


def test_narrator_tells_which_ring_opens_when_the_plan_moves_on() -> None:
    before = Scene(1, 1, "abc-1", "Soaking", "internal", (RingScene("internal", 3, 3), RingScene("canary", 3)))
    assert list(told(before, ROLLING)) == ["ring internal has passed", "ring canary opens for 3 devices"]


def test_narrator_tells_the_value_when_a_signal_fails() -> None:
    verdict = VerdictScene("accuracy", "Fail", "0.29", "0.29 is below the minimum of 0.80")
    soaking = Scene(1, 1, "abc-1", "Soaking", "canary", ROLLING.rings, (verdict,))
    assert list(told(ROLLING, soaking)) == ["accuracy of ring canary: 0.29 is below the minimum of 0.80 → Fail"]


def test_narrator_tells_a_verdict_once_when_it_stays_the_same() -> None:
    verdict = VerdictScene("accuracy", "Pass", "0.97", "0.97 is within its limits")
    soaking = Scene(1, 1, "abc-1", "Soaking", "canary", ROLLING.rings, (verdict,))
    assert list(told(ROLLING, soaking)) == ["health of ring canary: accuracy 0.97 → Pass"]
    assert list(told(soaking, soaking)) == []


def test_narrator_names_culprit_and_hold_when_a_release_is_rolled_back() -> None:
    back = scene_of(
        plan_status(
            phase="RolledBack",
            culprit={"plane": "model", "version": "1.2.0", "hold": "frozen-model-1"},
            conditions=[{"type": "Stalled", "status": "True", "message": "over"}],
        )
    )
    assert list(told(Scene(phase="Verifying"), back)) == [
        "health has returned, the release is rolled back",
        "model 1.2.0 is convicted, and frozen by hold frozen-model-1",
    ]


def test_narrator_writes_plain_lines_when_there_is_no_terminal() -> None:
    out = io.StringIO()
    narrator = Narrator(Console(file=out, force_terminal=False, width=80))
    with narrator.watching():
        narrator.see(ROLLING)
    assert "ring canary opens for 3 devices" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_bar_is_full_when_every_device_has_confirmed() -> None:
    assert bar(RingScene("everyone", 26, confirmed=26), going_back=False).plain == "█" * BAR_CELLS


def test_bar_keeps_its_length_when_devices_are_counted_twice() -> None:
    assert len(bar(RingScene("canary", 3, confirmed=2, in_flight=2, failed=2), going_back=True).plain) == BAR_CELLS


def test_fleet_spreads_over_customers_and_regions_when_it_has_sixty_cameras() -> None:
    fleet = cameras()
    assert len({camera.name for camera in fleet}) == 60
    assert {camera.customer for camera in fleet} == {"", *CUSTOMERS}
    for customer in CUSTOMERS:
        assert 18 <= sum(camera.customer == customer for camera in fleet) <= 20
    assert {camera.gateway for camera in fleet} == {f"gw-{region}" for region in REGIONS}


def test_every_object_that_a_person_applies_is_one_that_our_models_accept() -> None:
    digest = "sha256:" + "0" * 64
    artifact = Artifact(Plane.MODEL, "1.0.0", None, f"127.0.0.1:1/vision/model@{digest}", ContentDigest(digest))  # type: ignore[arg-type]
    plan = ReleasePlan.model_validate(resources.plan(artifact))
    assert [ring.name for ring in plan.spec.rings] == ["internal", "canary", "tenth", "eu", "everyone"]
    assert DeviceGroup.model_validate(resources.group())
    assert HealthRule.model_validate(resources.health_rule())
    assert Hold.model_validate(resources.hold("borealis"))
    assert ReleasePlan.model_validate(resources.box_plan(artifact)).spec.rings[0].name == "line"
    assert DeviceGroup.model_validate(resources.box_group())
    assert HealthRule.model_validate(resources.box_health_rule())
    assert all(EdgeDevice.model_validate(document(name)) for name in NAMES)


def test_summary_has_ten_lines_when_all_acts_have_passed() -> None:
    facts = {
        "passed": True,
        "seconds": 30.0,
        "orders": 6,
        "ordered": 6,
        "verdicts": [{"result": "Fail", "value": 0.29}],
    }
    recovered = {"secondsFromBadSignalToLastDeviceBack": 3.3}
    outcomes = [Outcome("", {**facts, **recovered, "act": number}) for number in range(1, 9)]
    lines = ten_lines(outcomes, 60, 170.0)
    assert [line.split(".")[0] for line in lines] == [str(number) for number in range(1, 11)]
    assert "0.29" in lines[2]
    assert "with no API server to ask" in lines[7]
    assert "committed to Git" in lines[8]
    without_nodes = ten_lines(outcomes[:6], 60, 170.0)
    assert "because this machine cannot have any" in without_nodes[7]
    assert "a Pod needs a node" in without_nodes[8]
