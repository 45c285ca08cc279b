"""The device application on its flash, without a network."""

import struct
from datetime import timedelta

import pytest

from backstay.core.device import Probe
from backstay.core.devices import PlaneState, StepType
from backstay.core.otadata import ImageState
from backstay.core.planes import Plane
from backstay.simulate.application import ResetCause
from backstay.simulate.factory import provision
from backstay.simulate.flash import Flash
from backstay.simulate.image import Behaviour
from backstay.simulate.partitions import LAYOUT
from tests.simulate.workbench import (
    CHIP_BYTES,
    FACTORY,
    OFFLINE_PROBES,
    PROBES,
    WINDOW,
    Bench,
    config,
    image,
    model,
    order,
)

ON_PURPOSE = "ProbeFailed: rehearsal: failed on purpose, to rehearse falling back"


def test_device_runs_the_factory_set_when_it_is_new() -> None:
    bench = Bench()
    assert [bench.running(plane) for plane in Plane] == ["1.0.0", "1.0.0", "1.0.0"]
    assert str(bench.app.board.app) == "ota_0"
    bench.check_whole()


def test_firmware_is_confirmed_when_its_probes_pass_after_the_boot() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0"))
    assert bench.running(Plane.FIRMWARE) == "1.1.0"
    assert str(bench.app.board.app) == "ota_1"
    assert bench.state(Plane.FIRMWARE) is PlaneState.PENDING_CONFIRM
    bench.settle()
    assert bench.state(Plane.FIRMWARE) is PlaneState.CONFIRMED
    bench.power_on()
    assert bench.running(Plane.FIRMWARE) == "1.1.0"
    assert bench.app.board.banks[Plane.FIRMWARE].fallback is not None


@pytest.mark.parametrize("plane", [Plane.MODEL, Plane.CONFIG])
def test_plane_changes_without_a_restart_when_it_is_not_firmware(plane: Plane) -> None:
    bench, payload = Bench(), model(2) if plane is Plane.MODEL else config(0.6)
    bench.install(order(1, plane, payload, "2.0.0"), payload)
    bench.settle()
    assert (bench.running(plane), bench.state(plane)) == ("2.0.0", PlaneState.CONFIRMED)
    assert bench.resets == [ResetCause.POWER_ON]


def test_model_falls_back_when_a_probe_fails_until_the_window_ends() -> None:
    bench, bad = Bench(), model(2, wrong=True)
    bench.install(order(1, Plane.MODEL, bad, "2.0.0"), bad)
    assert bench.running(Plane.MODEL) == "2.0.0"
    bench.settle()
    assert bench.now <= WINDOW.total_seconds()
    assert (bench.running(Plane.MODEL), bench.state(Plane.MODEL)) == ("1.0.0", PlaneState.ROLLED_BACK)
    reason = bench.reason(Plane.MODEL)
    assert reason.startswith("ProbeFailed: replay: agreement 0.")
    bench.power_on()
    assert (bench.running(Plane.MODEL), bench.reason(Plane.MODEL)) == ("1.0.0", reason)


def test_firmware_falls_back_with_its_reason_when_the_camera_fails() -> None:
    bench, bad = Bench(), image("1.1.0", Behaviour.CAMERA_FAILS)
    bench.install(order(1, Plane.FIRMWARE, bad, "1.1.0"), bad)
    bench.settle()
    assert bench.running(Plane.FIRMWARE) == "1.0.0"
    assert bench.reason(Plane.FIRMWARE) == "ProbeFailed: camera: no frames from camera0"


def test_firmware_falls_back_when_it_crashes_as_it_starts() -> None:
    bench, bad = Bench(), image("1.1.0", Behaviour.CRASHES)
    bench.install(order(1, Plane.FIRMWARE, bad, "1.1.0"), bad)
    assert bench.running(Plane.FIRMWARE) == "1.0.0"
    assert bench.state(Plane.FIRMWARE) is PlaneState.ROLLED_BACK
    assert bench.reason(Plane.FIRMWARE).startswith("BootFailed")


def test_firmware_falls_back_when_the_watchdog_bites_before_it_confirms() -> None:
    bench, bad = Bench(), image("1.1.0", Behaviour.HANGS)
    bench.install(order(1, Plane.FIRMWARE, bad, "1.1.0"), bad)
    assert bench.running(Plane.FIRMWARE) == "1.1.0"
    bench.power_on(ResetCause.WATCHDOG)
    assert bench.running(Plane.FIRMWARE) == "1.0.0"
    assert bench.reason(Plane.FIRMWARE) == "Watchdog"


def test_change_is_not_confirmed_when_the_bridge_does_not_answer_after_it() -> None:
    bench = Bench()
    bench.app.connected()
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0", PROBES), model(2))
    bench.settle()
    assert bench.reason(Plane.MODEL) == "ProbeFailed: agent: the bridge has not answered since the change"


def test_install_is_refused_when_its_set_would_be_incompatible() -> None:
    bench = Bench()
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0", requires={"firmware": ">=2.0.0"}), model(2))
    assert (bench.running(Plane.MODEL), bench.state(Plane.MODEL)) == ("1.0.0", PlaneState.FAILED)
    assert bench.reason(Plane.MODEL) == (
        "Incompatible: model 2.0.0 requires firmware >=2.0.0, but the device has 1.0.0"
    )


def test_install_is_refused_when_a_neighbour_would_not_fit_any_more() -> None:
    bench = Bench()
    bench.install(order(1, Plane.MODEL, model(9), "9.0.0"), model(9))
    assert bench.reason(Plane.MODEL).startswith("Incompatible: config 1.0.0 requires model >=1.0.0,<9.0.0")


ENDLESS = config().replace(b": 10}", b": 1e999}")
DEEP = b"[" * 12_000
HEADERS = (b'{"input": {"max": 16}, "layers": [{"out": Infinity, "in": 1, "scale": 1}]}', b"[" * 50_000)
MODELS = tuple(b"BSM1" + struct.pack("<I", len(header)) + header for header in HEADERS)


@pytest.mark.parametrize(
    ("plane", "payload"), [*((Plane.CONFIG, x) for x in (ENDLESS, DEEP)), *((Plane.MODEL, x) for x in MODELS)]
)
def test_device_boots_and_serves_when_what_it_installed_breaks_its_parser(plane: Plane, payload: bytes) -> None:
    bench = Bench()
    bench.install(order(1, plane, payload, "1.1.0"), payload)
    assert bench.state(plane) is PlaneState.FAILED
    bench.power_on()
    bench.check_whole()


def test_orders_are_remembered_when_each_plane_has_as_many_probes_as_there_can_be() -> None:
    bench = Bench()
    probes = tuple(
        Probe(f"{number:02}-{'p' * 60}", "InputPresent", (("input", "c" * 63),), timedelta(minutes=5))
        for number in range(32)
    )
    changes = ((Plane.FIRMWARE, image("1.1.0")), (Plane.MODEL, model(2)), (Plane.CONFIG, config(0.6)))
    for number, (plane, payload) in enumerate(changes, 1):
        bench.install(order(number, plane, payload, "1.1.0", probes), payload)
        bench.settle()
    bench.power_on()
    assert [bench.state(plane) for plane in Plane] == [PlaneState.CONFIRMED] * 3


def test_firmware_falls_back_when_its_step_has_the_highest_number() -> None:
    bench, bad = Bench(), image("1.1.0", Behaviour.CRASHES)
    bench.install(order(2**53, Plane.FIRMWARE, bad, "1.1.0"), bad)
    assert (bench.running(Plane.FIRMWARE), bench.state(Plane.FIRMWARE)) == ("1.0.0", PlaneState.ROLLED_BACK)


def test_download_is_refused_when_its_bytes_are_others() -> None:
    bench, torn = Bench(), model(2)[:-1] + b"!"
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0"), torn)
    assert bench.reason(Plane.MODEL).startswith("DigestMismatch")
    bench.install(order(2, Plane.MODEL, model(2), "2.0.0"), model(2))
    bench.settle()
    assert bench.running(Plane.MODEL) == "2.0.0"


@pytest.mark.parametrize(
    ("plane", "payload"),
    [(Plane.MODEL, b"BSM1 no model"), (Plane.CONFIG, b"{}"), (Plane.FIRMWARE, image("1.1.0")[:-1] + b"!")],
)
def test_install_is_refused_when_the_payload_is_none_that_loads(plane: Plane, payload: bytes) -> None:
    bench = Bench()
    bench.install(order(1, plane, payload, "2.0.0"), payload)
    assert bench.reason(plane).startswith("Rejected")
    assert bench.running(plane) == "1.0.0"


def test_return_switches_without_a_download_when_the_fallback_is_it() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0"))
    bench.settle()
    bench.do(
        lambda: bench.app.order(order(2, Plane.FIRMWARE, image("1.0.0"), "1.0.0", step=StepType.RETURN), bench.now)
    )
    assert bench.app.download is None
    assert bench.running(Plane.FIRMWARE) == "1.0.0"
    bench.settle()
    assert bench.state(Plane.FIRMWARE) is PlaneState.CONFIRMED


def test_return_undoes_what_is_on_trial_at_once() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0"))
    back = order(2, Plane.FIRMWARE, image("1.0.0"), "1.0.0", step=StepType.RETURN)
    bench.do(lambda: bench.app.order(back, bench.now))
    assert (bench.running(Plane.FIRMWARE), bench.reason(Plane.FIRMWARE)) == ("1.0.0", "Canceled")
    bench.do(lambda: bench.app.order(back, bench.now))
    bench.settle()
    assert bench.state(Plane.FIRMWARE) is PlaneState.CONFIRMED


def test_step_is_not_done_again_when_it_is_delivered_again() -> None:
    bench, step = Bench(), order(1, Plane.MODEL, model(2), "2.0.0")
    bench.install(step, model(2))
    bench.settle()
    bench.power_on()
    operations = bench.flash.operations
    bench.do(lambda: bench.app.order(step, bench.now))
    assert (bench.app.download, bench.flash.operations) == (None, operations)


def test_new_install_waits_when_another_change_is_on_trial() -> None:
    bench = Bench()
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0"), model(2))
    bench.do(lambda: bench.app.order(order(2, Plane.CONFIG, config(0.6), "2.0.0"), bench.now))
    assert bench.state(Plane.CONFIG) is PlaneState.IDLE
    bench.settle()
    bench.install(order(2, Plane.CONFIG, config(0.6), "2.0.0"), config(0.6))
    bench.settle()
    assert (bench.running(Plane.MODEL), bench.running(Plane.CONFIG)) == ("2.0.0", "2.0.0")


def test_install_never_overwrites_the_fallback_of_something_unconfirmed() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0"))
    before = bench.app.board.banks[Plane.FIRMWARE].other
    bench.do(lambda: bench.app.order(order(2, Plane.FIRMWARE, image("1.2.0"), "1.2.0"), bench.now))
    assert bench.app.download is None
    assert bench.app.board.banks[Plane.FIRMWARE].other == before


def test_step_expires_when_it_was_not_begun() -> None:
    bench = Bench()
    bench.do(lambda: bench.app.order(order(1, Plane.MODEL, model(2), "2.0.0"), bench.now, expired=True))
    assert (bench.app.download, bench.reason(Plane.MODEL)) == (None, "Expired")


def test_step_is_refused_when_the_device_lacks_the_probe() -> None:
    bench = Bench()
    bench.do(lambda: bench.app.order(order(1, Plane.MODEL, model(2), "2.0.0", (Probe("npu", "NpuReady"),)), bench.now))
    assert bench.reason(Plane.MODEL) == "Rejected: an ESP32 has no probe NpuReady"


@pytest.mark.parametrize("plane", list(Plane))
def test_device_falls_back_by_itself_when_it_is_told_to_fail_on_purpose(plane: Plane) -> None:
    bench = Bench()
    payload = {Plane.FIRMWARE: image("1.1.0"), Plane.MODEL: model(2), Plane.CONFIG: config(0.6)}[plane]
    rehearsal = (*OFFLINE_PROBES, Probe("rehearsal", "FailOnPurpose"))
    bench.install(order(1, plane, payload, "1.1.0", rehearsal), payload)
    assert (bench.running(plane), bench.state(plane)) == ("1.1.0", PlaneState.PENDING_CONFIRM)
    bench.settle()
    assert bench.now <= WINDOW.total_seconds()
    assert (bench.running(plane), bench.state(plane)) == ("1.0.0", PlaneState.ROLLED_BACK)
    assert bench.reason(plane) == ON_PURPOSE
    bench.check_whole()
    bench.wait(1)
    assert {result.name: result.passed for result in bench.app.health()} == {
        probe.name: True for probe in OFFLINE_PROBES
    }
    bench.install(order(2, plane, payload, "1.1.0"), payload)
    bench.settle()
    assert (bench.running(plane), bench.state(plane)) == ("1.1.0", PlaneState.CONFIRMED)


def test_device_falls_back_at_once_when_the_probe_that_fails_on_purpose_has_its_own_time() -> None:
    bench, rehearsal = Bench(), Probe("rehearsal", "FailOnPurpose", within=timedelta(seconds=2))
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0", (*OFFLINE_PROBES, rehearsal)), model(2))
    bench.wait(3)
    assert (bench.running(Plane.MODEL), bench.reason(Plane.MODEL)) == ("1.0.0", ON_PURPOSE)


def test_step_is_proved_again_when_the_device_runs_it_already() -> None:
    bench = Bench()
    bench.do(lambda: bench.app.order(order(1, Plane.MODEL, model(1), "1.0.0"), bench.now))
    assert bench.state(Plane.MODEL) is PlaneState.PENDING_CONFIRM
    bench.settle()
    assert bench.state(Plane.MODEL) is PlaneState.CONFIRMED


def test_download_goes_on_where_it_was_when_the_power_went() -> None:
    bench, payload = Bench(), image("1.1.0", size=20000)
    step = order(1, Plane.FIRMWARE, payload, "1.1.0")
    bench.do(lambda: bench.app.order(step, bench.now))
    slot = bench.app.board.banks[Plane.FIRMWARE].slots[1]
    slot.begin(step.content, len(payload)).write(payload[:10000])
    bench.power_on()
    assert bench.app.download == step
    assert bench.app.board.banks[Plane.FIRMWARE].slots[1].begin(step.content, len(payload)).wanted == 8192
    bench.fetch(payload)
    bench.settle()
    assert bench.running(Plane.FIRMWARE) == "1.1.0"


def test_device_selects_a_compatible_set_when_the_firmware_fell_back_below_the_model() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("2.0.0"), "2.0.0"), image("2.0.0"))
    bench.settle()
    bench.install(order(2, Plane.MODEL, model(2), "2.0.0", requires={"firmware": ">=2.0.0"}), model(2))
    bench.settle()
    assert bench.running(Plane.MODEL) == "2.0.0"
    bench.app.board.banks[Plane.FIRMWARE].selector.mark(ImageState.INVALID)
    bench.power_on()
    assert (bench.running(Plane.FIRMWARE), bench.running(Plane.MODEL)) == ("1.0.0", "1.0.0")
    bench.check_whole()


def test_order_without_probes_or_window_is_no_order() -> None:
    with pytest.raises(ValueError, match="at least one required probe"):
        order(1, Plane.MODEL, model(2), "2.0.0", probes=())
    assert timedelta() < WINDOW


def test_model_that_failed_its_trial_does_not_run_when_there_is_nothing_else() -> None:
    chip = bytearray(CHIP_BYTES)
    provision(Flash(chip), {Plane.FIRMWARE: FACTORY[Plane.FIRMWARE]})
    bench = Bench(bytes(chip))
    bad = model(2, wrong=True)
    bench.install(order(1, Plane.MODEL, bad, "2.0.0"), bad)
    assert bench.running(Plane.MODEL) == "2.0.0"
    bench.settle()
    assert (bench.state(Plane.MODEL), bench.running(Plane.MODEL)) == (PlaneState.ROLLED_BACK, "")
    bench.power_on()
    assert bench.running(Plane.MODEL) == ""


def test_model_that_was_never_on_trial_does_not_run_when_the_confirmed_one_rots() -> None:
    bench = Bench()
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0", requires={"firmware": ">=2.0.0"}), model(2))
    bench.flash.write(next(x for x in LAYOUT if x.label == "model_a").offset + 70, bytes(4))
    bench.power_on()
    assert bench.running(Plane.MODEL) == ""


def test_firmware_that_failed_its_trial_is_not_confirmed_by_being_the_only_one_that_starts() -> None:
    bench = Bench()
    bench.install(order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0"))
    bench.flash.write(next(x for x in LAYOUT if x.label == "ota_0").offset + 500, bytes(64))
    bench.power_on()
    assert str(bench.app.board.app) == "ota_1"
    assert bench.app.board.banks[Plane.FIRMWARE].selector.condemned(1)
    assert not bench.app.board.rollback_capable


def test_download_begins_anew_when_its_bytes_were_others() -> None:
    bench, payload = Bench(), image("1.1.0")
    bench.install(order(1, Plane.FIRMWARE, payload, "1.1.0"), b"!" + payload[1:])
    assert bench.reason(Plane.FIRMWARE).startswith("DigestMismatch")
    bench.install(order(2, Plane.FIRMWARE, payload, "1.1.0"), payload)
    assert bench.running(Plane.FIRMWARE) == "1.1.0"


def test_old_model_serves_again_when_the_new_one_fell_back() -> None:
    bench, bad = Bench(), model(2, wrong=True)
    bench.install(order(1, Plane.MODEL, bad, "2.0.0"), bad)
    bench.wait(3)
    assert bench.app.board.serving.accuracy == 0.0
    bench.settle()
    bench.wait(3)
    assert bench.app.board.serving.accuracy == 1.0


def test_return_of_one_plane_leaves_the_trial_of_another_to_its_end() -> None:
    bench = Bench()
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0"), model(2))
    back = order(2, Plane.CONFIG, config(), "1.0.0", step=StepType.RETURN)
    bench.do(lambda: bench.app.order(back, bench.now))
    assert bench.state(Plane.MODEL) is PlaneState.PENDING_CONFIRM
    bench.settle()
    bench.do(lambda: bench.app.order(back, bench.now))
    bench.settle()
    assert (bench.state(Plane.MODEL), bench.state(Plane.CONFIG)) == (PlaneState.CONFIRMED, PlaneState.CONFIRMED)
