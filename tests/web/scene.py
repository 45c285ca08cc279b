"""A morning in three namespaces: one release rolls, one was pulled back, one halted, one waits for a person."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from backstay.core.planes import Plane
from backstay.core.revision import Phase
from backstay.ports.chronicle import Happening
from tests.web.stage import Stage

ACCURACY = "avg(inference_accuracy * on(namespace, device) group_left() backstay_device_info{${scope}})"
LATENCY = "max(inference_seconds * on(namespace, device) group_left() backstay_device_info{${scope}})"
SIGNALS = (
    {"name": "accuracy", "blames": ["model", "config"], "query": ACCURACY, "min": "0.80", "failureLimit": 2},
    {"name": "latency", "blames": ["model"], "query": LATENCY, "max": "0.120", "failureLimit": 2},
)
RINGS = [
    {"name": "internal", "select": {"matchLabels": {"audience": "internal"}}, "soak": "2m"},
    {"name": "canary", "size": "10%", "min": 3, "soak": "5m", "spreadBy": ["region"]},
    {"name": "eu", "select": {"matchLabels": {"region": "eu"}}, "soak": "10m", "inFlight": "40%", "maxFailed": "10%"},
    {"name": "everyone", "size": "100%", "approval": "Manual"},
]
OLD = {"firmware": "2.3.0", "model": "7.1.0", "config": "30.2.0"}
GOOD = {"accuracy": 0.978, "latency": 0.081}
HOSTILE = '<script>alert("1")</script> & <img src=x onerror=alert(2)> ${scope} {{ 7 * 7 }} \u202e\u0000'.replace(
    "\0", ""
)


def _cameras(stage: Stage, namespace: str, number: int) -> None:
    stage.group(namespace, "cameras", kind="camera")
    for index in range(number):
        region = ("eu", "us", "apac")[index % 3]
        labels = {"kind": "camera", "region": region, "site": f"site-{index // 5:02}", "customer": f"c-{index % 7}"}
        if index < 3:
            labels["audience"] = "internal"
        stage.device(namespace, f"{region}-cam-{index:03}", labels, **OLD)


def a_release_that_rolls(stage: Stage) -> None:
    """`acme/vision` in its third ring, with some devices failed and some gone."""
    _cameras(stage, "acme", 60)
    stage.rule("acme", "inference", *SIGNALS)
    for name in ("us-cam-052", "eu-cam-057"):
        stage.vanish("acme", name)
    versions = {Plane.MODEL: "7.2.0", Plane.CONFIG: "31.0.0"}
    stage.plan("acme", "vision", versions, groups=["cameras"], rings=RINGS, health=["inference"])

    def camera_fails(name: str, plane: Plane, version: str) -> str:
        del version
        return (
            "RolledBack:ProbeFailed: camera: no frame in 5 s"
            if (name, plane) == ("eu-cam-030", Plane.MODEL)
            else "Confirmed"
        )

    stage.play("acme", "vision", _in(Phase.ROLLING, 2), numbers=GOOD)
    for _ in range(3):
        stage.turn("acme", "vision")
        stage.clock.pass_by(seconds=10)
        stage.obey("acme", camera_fails)
    stage.turn("acme", "vision")
    stage.obey("acme", lambda name, *_: "Downloading" if name.endswith(("2", "5", "8")) else "")
    stage.report("acme", "apac-cam-011", {"health": {"state": "Degraded", "failing": ["disk", "npu"]}})
    stage.turn("acme", "vision")
    stage.hold(
        "acme",
        "moving-house",
        reason="Customer c-4 moves its cameras until Friday.",
        scope={"selector": {"matchLabels": {"customer": "c-4"}}},
    )
    stage.chronicle.told["ReleasePlan", "acme", "vision"] = list(_events(stage.clock.now()))


def _events(now: datetime) -> Iterator[Happening]:
    yield Happening(now - timedelta(minutes=2), "RingStarted", "9c1f Rolling ring eu: ring eu opens for 18 devices")
    yield Happening(now - timedelta(minutes=4), "RingPromoted", "ring canary has passed")
    yield Happening(
        now - timedelta(minutes=9), "NoData", "accuracy: the query returned no series", warns=True, count=4,
        last=now - timedelta(minutes=7),
    )  # fmt: skip
    yield Happening(now - timedelta(minutes=16), "RevisionStarted", "revision begins")


def a_release_that_went_back(stage: Stage) -> None:
    """`borealis/lights`: a model that every probe passed, and whose accuracy fell."""
    _cameras(stage, "borealis", 24)
    stage.rule("borealis", "inference", *SIGNALS)
    spec = {
        "groups": ["cameras"],
        "rings": RINGS[:2],
        "health": ["inference"],
        "rollback": {"verify": "1m"},
        "stabilityWindow": "1m",
    }
    stage.plan("borealis", "lights", {Plane.CONFIG: "31.0.0"}, **spec)
    stage.play("borealis", "lights", lambda decision: decision.phase is Phase.SUCCEEDED, numbers=GOOD)
    stage.plan("borealis", "lights", {Plane.MODEL: "7.3.0", Plane.CONFIG: "31.0.0"}, **spec)
    stage.play("borealis", "lights", _in(Phase.SOAKING, 1), numbers=GOOD)
    bad = {"accuracy": 0.4967, "latency": 0.084}
    stage.play("borealis", "lights", lambda decision: decision.phase is Phase.ROLLING_BACK, numbers=bad)
    stage.play("borealis", "lights", lambda decision: decision.phase is Phase.ROLLED_BACK, numbers=GOOD)
    stage.turn("borealis", "lights")


def a_release_that_waits(stage: Stage) -> None:
    """`acme/doors`: its second ring begins when a person approves."""
    stage.group("acme", "doors", kind="door")
    for index in range(8):
        stage.device("acme", f"door-{index}", {"kind": "door", "region": "eu"}, firmware="1.0.0")
    rings = [{"name": "first", "size": 2, "soak": "1m"}, {"name": "rest", "size": "100%", "approval": "Manual"}]
    stage.plan("acme", "doors", {Plane.FIRMWARE: "1.1.0"}, groups=["doors"], rings=rings)
    stage.play("acme", "doors", lambda found: any(b.reason == "WaitingForApproval" for b in found.because))


def a_release_that_halted(stage: Stage) -> None:
    """`acme/gates`: a device failed, and the plan may not go back by itself."""
    stage.group("acme", "gates", kind="gate")
    for index in range(6):
        stage.device("acme", f"gate-{index}", {"kind": "gate"}, firmware="4.0.0")
    stage.plan(
        "acme", "gates", {Plane.FIRMWARE: "4.1.0"},
        groups=["gates"], rings=[{"name": "all", "size": "100%", "inFlight": "50%"}], rollback={"automatic": False},
    )  # fmt: skip
    bad = "RolledBack:ProbeFailed: agent: not connected in 90 s"
    stage.play(
        "acme", "gates", lambda found: found.phase is Phase.HALTED,
        answers=lambda name, *_: bad if name == "gate-3" else "Confirmed",
    )  # fmt: skip
    stage.turn("acme", "gates")


def a_release_that_is_done(stage: Stage) -> None:
    """`borealis/kiosks`: nothing to see here."""
    stage.group("borealis", "kiosks", kind="kiosk")
    for index in range(4):
        stage.device("borealis", f"kiosk-{index}", {"kind": "kiosk"}, config="1.0.0")
    rings = [{"name": "all", "size": "100%", "inFlight": "100%", "soak": "1m"}]
    stage.plan("borealis", "kiosks", {Plane.CONFIG: "1.1.0"}, groups=["kiosks"], rings=rings, stabilityWindow="1m")
    stage.play("borealis", "kiosks", lambda decision: decision.phase is Phase.SUCCEEDED)
    stage.turn("borealis", "kiosks")


def somebody_hostile(stage: Stage) -> None:
    """`evil`: everything that a tenant or a device may choose is chosen to break a page."""
    stage.device("evil", "eve-1", {"kind": "x", "note": "a.b"}, firmware=HOSTILE[:60])
    stage.report(
        "evil", "eve-1", {"planes": {"firmware": {"state": "Failed", "reason": HOSTILE}}, "agent": HOSTILE[:120]}
    )
    stage.hold("evil", "stop", reason=HOSTILE, scope={"selector": {}})
    stage.group("evil", "all", kind="x")
    stage.plan("evil", "plan", {Plane.FIRMWARE: "1.0.0"}, groups=["all"], rings=[{"name": "all", "size": "100%"}])
    stage.turn("evil", "plan")
    stage.turn("evil", "plan")
    stage.chronicle.told["EdgeDevice", "evil", "eve-1"] = [Happening(stage.clock.now(), HOSTILE, HOSTILE, warns=True)]
    stage.chronicle.told["ReleasePlan", "evil", "plan"] = [Happening(stage.clock.now(), HOSTILE, HOSTILE)]


def whole_scene() -> Stage:
    """All of it; it ends now, and began as long ago as it took."""
    stage = Stage()
    stage.clock.ahead = -timedelta(hours=2, minutes=13)
    a_release_that_went_back(stage)
    a_release_that_waits(stage)
    a_release_that_halted(stage)
    a_release_that_is_done(stage)
    somebody_hostile(stage)
    stage.clock.ahead = -timedelta(minutes=29)
    a_release_that_rolls(stage)
    assert stage.clock.ahead < timedelta(0), "the scene ends in the future"
    stage.clock.ahead = timedelta(0)
    return stage


def past(stage: Stage, minutes: int = 160) -> str:
    """What Prometheus remembers of the scene, as OpenMetrics text."""
    now = stage.clock.now().replace(second=0)
    times = [now - timedelta(seconds=15 * index) for index in range(minutes * 4, -1, -1)]
    info: list[str] = []
    figures: dict[str, list[str]] = {"inference_accuracy": [], "inference_seconds": []}
    for namespace, plan, fallen in (("acme", "vision", None), ("borealis", "lights", "7.3.0")):
        decided = stage.store.decided(namespace, plan)
        assert decided is not None
        state, rings = decided.decision.state, decided.observed.plan.rings
        failed = next((verdict.at for verdict in state.evidence), now)
        for number, device in enumerate(decided.observed.fleet):
            ring = decided.observed.fleet.ring_of(device.name)
            if ring is None:
                continue
            labels = f'namespace="{namespace}",device="{device.name}"'
            of = f'{labels},plan="{plan}",revision="{state.revision}",ring="{rings[ring].name}"'
            for index, at in enumerate(times):
                wave = math.sin(index / 7 + number) * 0.006 + math.sin(index / 31 + number * 2) * 0.004
                is_bad = (
                    fallen is not None
                    and ring == 1
                    and failed - timedelta(minutes=1.4) < at < failed + timedelta(minutes=2)
                )
                accuracy, seconds = (0.49 if is_bad else 0.975) + wave, 0.081 + wave * 2
                second = f"{at.timestamp():.0f}"
                info.append(f"backstay_device_info{{{of}}} 1 {second}")
                figures["inference_accuracy"].append(f"inference_accuracy{{{labels}}} {accuracy:.4f} {second}")
                figures["inference_seconds"].append(f"inference_seconds{{{labels}}} {seconds:.4f} {second}")
    return "\n".join([*info, *figures["inference_accuracy"], *figures["inference_seconds"], "# EOF", ""])


def _in(phase: Phase, ring: int):
    return lambda decision: decision.phase is phase and decision.state.ring == ring
