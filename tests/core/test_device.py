"""One plane of a device: the ways through its state machine, one by one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.core.device import (
    LONGEST_DETAIL,
    Activated,
    Booted,
    Canceled,
    Cause,
    Downloaded,
    Event,
    Instruction,
    Order,
    Ordered,
    Probe,
    Probed,
    ProbeResult,
    Progress,
    Reason,
    Refused,
    Source,
    Switching,
    Ticked,
    advance,
    failed_probes,
    failing_probes,
)
from backstay.core.device_record import from_record, requirements, to_record
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane

OLD, NEW = (ContentDigest(f"sha256:{digit * 64}") for digit in "01")
ORDER = Order(
    number=7,
    plane=Plane.MODEL,
    type=StepType.INSTALL,
    content=NEW,
    version="7.2.0",
    probes=(Probe("camera", "InputPresent", (("input", "camera0"),)), Probe("replay", "SampleReplay")),
    window=timedelta(minutes=5),
    requires=requirements({"firmware": ">=2.2.0,<3.0.0"}),
)
REMOTE, DOWNLOADED, ACTIVATED = Ordered(ORDER, Source.REMOTE), Downloaded(NEW), Activated(NEW)
GOOD = Probed((ProbeResult("camera", passed=True), ProbeResult("replay", passed=True)))
ADVICE = Probe("heat", "ThermalHeadroom", (("advisory", "True"),), timedelta(seconds=10))
BAD = Probed((ProbeResult("camera", passed=False), ProbeResult("replay", passed=True)))
WATCHDOG = Cause(Reason.WATCHDOG)


def after(*events: Event, now: float = 100.0) -> Progress:
    progress = Progress()
    for event in events:
        progress = advance(progress, event, now).progress
    return progress


def booted(content: ContentDigest, *, held: bool = True, on_trial: bool = False, fell_back: bool = False) -> Booted:
    return Booted(content, held, on_trial, fell_back, WATCHDOG)


ON_TRIAL = after(REMOTE, DOWNLOADED, Switching(), ACTIVATED)


def test_order_is_downloaded_checked_switched_and_proved() -> None:
    progress, seen = Progress(), []
    for event in (REMOTE, DOWNLOADED, Switching(), ACTIVATED, GOOD):
        outcome = advance(progress, event, 100.0)
        progress = outcome.progress
        seen.append((str(progress.state), [x.name for x in outcome.instructions]))
    assert seen == [
        ("Downloading", ["DOWNLOAD"]),
        ("Verified", ["SWITCH"]),
        ("Installing", []),
        ("PendingConfirm", []),
        ("Confirmed", ["CONFIRM", "REPORT"]),
    ]


def test_order_needs_no_download_when_the_spare_slot_holds_it() -> None:
    outcome = advance(Progress(), Ordered(ORDER, Source.HELD), 0)
    assert (outcome.progress.state, outcome.instructions) == (PlaneState.VERIFIED, (Instruction.SWITCH,))


def test_order_is_proved_and_never_undone_when_it_runs_already() -> None:
    progress = after(Ordered(ORDER, Source.RUNNING), now=0)
    assert progress.state is PlaneState.PENDING_CONFIRM
    outcome = advance(progress, Ticked(), 300)
    assert (outcome.progress.state, outcome.instructions) == (PlaneState.FAILED, (Instruction.REPORT,))


def test_download_fails_when_the_digest_is_another() -> None:
    progress = after(REMOTE, Downloaded(OLD))
    assert (progress.state, str(progress.cause)) == (PlaneState.FAILED, f"DigestMismatch: the bytes are {OLD}")


def test_window_ends_in_a_fall_back_that_names_the_probes() -> None:
    progress = advance(ON_TRIAL, BAD, 399).progress
    assert progress.state is PlaneState.PENDING_CONFIRM
    outcome = advance(progress, Ticked(), 400)
    assert outcome.instructions == (Instruction.FALL_BACK, Instruction.REPORT)
    assert str(outcome.progress.cause) == "ProbeFailed: camera"


def test_window_ends_in_a_timeout_when_no_probe_has_spoken() -> None:
    assert str(advance(ON_TRIAL, Ticked(), 400).progress.cause) == "ConfirmTimeout"


def test_proofs_come_too_late_when_the_window_is_over() -> None:
    assert advance(ON_TRIAL, GOOD, 400).progress.state is PlaneState.ROLLED_BACK


def test_probe_that_fails_after_it_passed_counts_as_failing() -> None:
    progress = advance(ON_TRIAL, Probed((ProbeResult("camera", passed=True),)), 110).progress
    progress = advance(progress, BAD, 120).progress
    assert progress.state is PlaneState.PENDING_CONFIRM
    assert advance(progress, GOOD, 130).progress.state is PlaneState.CONFIRMED


def test_proofs_from_before_the_change_do_not_count() -> None:
    progress = after(REMOTE, GOOD, DOWNLOADED, GOOD, Switching(), GOOD, ACTIVATED)
    assert (progress.state, progress.results) == (PlaneState.PENDING_CONFIRM, ())


@pytest.mark.parametrize(
    ("before", "boot", "state"),
    [
        (after(REMOTE), booted(OLD, held=False), PlaneState.DOWNLOADING),
        (after(REMOTE), booted(OLD), PlaneState.VERIFIED),
        (after(REMOTE, DOWNLOADED), booted(OLD), PlaneState.VERIFIED),
        (after(REMOTE, DOWNLOADED, Switching()), booted(OLD), PlaneState.VERIFIED),
        (after(REMOTE, DOWNLOADED, Switching()), booted(OLD, held=False), PlaneState.DOWNLOADING),
        (after(REMOTE, DOWNLOADED, Switching()), booted(OLD, fell_back=True), PlaneState.ROLLED_BACK),
        (after(REMOTE, DOWNLOADED, Switching()), booted(NEW, on_trial=True), PlaneState.PENDING_CONFIRM),
        (ON_TRIAL, booted(OLD), PlaneState.ROLLED_BACK),
        (ON_TRIAL, booted(NEW), PlaneState.PENDING_CONFIRM),
    ],
)
def test_open_order_goes_on_as_the_bytes_say_when_the_device_boots(
    before: Progress, boot: Booted, state: PlaneState
) -> None:
    outcome = advance(from_record(to_record(before)), boot, 3.0)
    assert outcome.progress.state is state
    if state is PlaneState.ROLLED_BACK:
        assert outcome.progress.cause == WATCHDOG
    if state is PlaneState.PENDING_CONFIRM:
        assert outcome.progress.confirm_by == 303.0


def test_trial_without_an_order_is_undone_when_the_device_boots() -> None:
    done = advance(ON_TRIAL, Ticked(), 400).progress
    for progress in (Progress(), done):
        outcome = advance(progress, booted(NEW, on_trial=True), 0)
        assert (outcome.progress.state, outcome.instructions) == (progress.state, (Instruction.FALL_BACK,))
        assert outcome.progress.cause == progress.cause


@pytest.mark.parametrize(
    ("before", "state", "instructions"),
    [
        (after(REMOTE), PlaneState.FAILED, (Instruction.REPORT,)),
        (after(REMOTE, DOWNLOADED), PlaneState.FAILED, (Instruction.REPORT,)),
        (ON_TRIAL, PlaneState.ROLLED_BACK, (Instruction.FALL_BACK, Instruction.REPORT)),
        (after(Ordered(ORDER, Source.RUNNING)), PlaneState.FAILED, (Instruction.REPORT,)),
    ],
)
def test_cancel_ends_the_order(before: Progress, state: PlaneState, instructions: tuple[Instruction, ...]) -> None:
    outcome = advance(before, Canceled(), 101)
    assert (outcome.progress.state, outcome.instructions) == (state, instructions)
    assert outcome.progress.cause == Cause(Reason.CANCELED)


def test_cancel_changes_nothing_when_the_order_is_over() -> None:
    confirmed = advance(ON_TRIAL, GOOD, 101).progress
    assert advance(confirmed, Canceled(), 102).progress == confirmed


def test_order_is_not_begun_again_when_it_is_delivered_again() -> None:
    confirmed = advance(ON_TRIAL, GOOD, 101).progress
    again = Ordered(replace(ORDER, probes=ORDER.probes[:1]), Source.REMOTE)
    assert advance(confirmed, again, 102).progress == confirmed


def test_next_order_begins_when_the_last_is_over() -> None:
    failed = after(REMOTE, Refused(Cause(Reason.NO_SPACE)))
    progress = advance(failed, Ordered(replace(ORDER, number=8), Source.REMOTE), 0).progress
    assert (progress.state, progress.cause, progress.changed) == (PlaneState.DOWNLOADING, None, False)


def test_advisory_probe_neither_keeps_a_change_from_staying_nor_ends_its_window() -> None:
    with_advice = replace(ORDER, probes=(*ORDER.probes, ADVICE))
    progress = replace(ON_TRIAL, order=with_advice)
    failed = ProbeResult("heat", passed=False, advisory=True)
    late = advance(progress, Probed((failed,)), ON_TRIAL.confirm_by - 1).progress
    assert late.state is PlaneState.PENDING_CONFIRM, "its own time was over long ago"
    assert (
        advance(late, Probed((*GOOD.results, failed)), ON_TRIAL.confirm_by - 1).progress.state is PlaneState.CONFIRMED
    )
    failing = failing_probes(advance(late, Probed(BAD.results), ON_TRIAL.confirm_by - 1).progress)
    assert [result.name for result in failing] == ["camera"]


def test_next_order_waits_when_one_is_open() -> None:
    assert advance(ON_TRIAL, Ordered(replace(ORDER, number=8), Source.REMOTE), 0).progress == ON_TRIAL


@pytest.mark.parametrize("change", [{"probes": ()}, {"probes": (ADVICE,)}, {"window": timedelta()}])
def test_order_is_refused_when_only_starting_could_confirm_it(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="step 7 needs at least one required probe and a window"):
        replace(ORDER, **change)  # type: ignore[arg-type]


def test_record_keeps_what_survives_a_reboot() -> None:
    progress = advance(ON_TRIAL, Ticked(), 400).progress
    kept = from_record(to_record(progress))
    assert (kept.order, kept.state, kept.cause, kept.changed) == (ORDER, progress.state, progress.cause, True)
    assert from_record(to_record(Progress())) == Progress()


QUICK = replace(ORDER, probes=(replace(ORDER.probes[0], within=timedelta(seconds=30)), ORDER.probes[1]))
QUICK_ON_TRIAL = after(Ordered(QUICK, Source.REMOTE), DOWNLOADED, Switching(), ACTIVATED)
ONE_GOOD = Probed((ProbeResult("camera", passed=True),))


def test_change_is_undone_before_its_window_ends_when_a_probe_did_not_pass_in_its_own_time() -> None:
    waiting = advance(QUICK_ON_TRIAL, BAD, 129.9).progress
    assert waiting.state is PlaneState.PENDING_CONFIRM
    undone = advance(waiting, GOOD, 130.0).progress
    assert (undone.state, str(undone.cause)) == (PlaneState.ROLLED_BACK, "ProbeFailed: camera")
    assert advance(waiting, Ticked(), 130.0).progress == undone


def test_probe_that_passed_in_its_own_time_still_counts_when_another_takes_longer() -> None:
    seen = advance(QUICK_ON_TRIAL, ONE_GOOD, 110.0).progress
    assert advance(seen, Ticked(), 200.0).progress.state is PlaneState.PENDING_CONFIRM
    assert advance(seen, GOOD, 200.0).progress.state is PlaneState.CONFIRMED


def test_own_time_of_a_probe_is_remembered_through_a_reboot() -> None:
    assert from_record(to_record(QUICK_ON_TRIAL)).order == QUICK


def test_trial_takes_no_longer_when_the_switch_is_told_again() -> None:
    again = advance(advance(QUICK_ON_TRIAL, ONE_GOOD, 110.0).progress, ACTIVATED, 110.0)
    assert again.instructions == ()
    assert again.progress.confirm_by == QUICK_ON_TRIAL.confirm_by


def test_slot_that_holds_other_bytes_than_were_ordered_is_left_at_once() -> None:
    outcome = advance(after(REMOTE, DOWNLOADED, Switching()), Activated(OLD), 100)
    assert (outcome.progress.state, outcome.instructions) == (
        PlaneState.ROLLED_BACK,
        (Instruction.FALL_BACK, Instruction.REPORT),
    )
    assert str(outcome.progress.cause) == f"DigestMismatch: the bytes are {OLD}"


def test_order_that_is_taken_back_after_the_switch_is_undone_and_before_it_only_ended() -> None:
    on_trial = after(REMOTE, DOWNLOADED, Switching(), ACTIVATED)
    assert advance(on_trial, Canceled(), 101).instructions == (Instruction.FALL_BACK, Instruction.REPORT)
    assert advance(after(REMOTE, DOWNLOADED), Canceled(), 101).instructions == (Instruction.REPORT,)


def test_device_without_an_order_gives_up_only_what_is_on_trial() -> None:
    assert advance(Progress(), booted(OLD), 100).instructions == ()
    assert advance(Progress(), booted(OLD, on_trial=True), 100).instructions == (Instruction.FALL_BACK,)
    confirmed = advance(ON_TRIAL, GOOD, 101).progress
    assert advance(confirmed, booted(NEW), 102).instructions == ()


def test_proofs_of_an_earlier_trial_do_not_count_for_the_one_after_a_boot() -> None:
    half = advance(ON_TRIAL, Probed((ProbeResult("camera", passed=True),)), 110).progress
    again = advance(half, booted(NEW, on_trial=True), 120).progress
    assert (again.state, again.results, again.confirm_by) == (PlaneState.PENDING_CONFIRM, (), 420)


def test_result_is_kept_to_the_last_moment_of_the_window_and_not_at_its_end() -> None:
    assert advance(ON_TRIAL, BAD, 399.9).progress.results == BAD.results
    ended = advance(ON_TRIAL, BAD, 400).progress
    assert (ended.results, str(ended.cause)) == ((), "ConfirmTimeout")


def test_every_probe_that_failed_is_named() -> None:
    both = Probed((ProbeResult("camera", passed=False), ProbeResult("replay", passed=False)))
    assert str(advance(advance(ON_TRIAL, both, 110).progress, Ticked(), 400).progress.cause) == (
        "ProbeFailed: camera, replay"
    )


def failing(name: str, detail: str = "") -> ProbeResult:
    return ProbeResult(name, passed=False, detail=detail)


def test_cause_says_what_the_probes_found_after_the_names_of_all() -> None:
    camera, replay = failing("camera", "no frame\nin 5 s"), failing("replay", "3 of 20 disagree")
    assert str(failed_probes([camera])) == "ProbeFailed: camera: no frame in 5 s"
    assert str(failed_probes([camera, replay])) == (
        "ProbeFailed: camera, replay: camera: no frame in 5 s; replay: 3 of 20 disagree"
    )
    assert str(failed_probes([camera, failing("replay")])) == ("ProbeFailed: camera, replay: camera: no frame in 5 s")
    wordy = failed_probes([replace(camera, detail="x" * 300)])
    assert len(wordy.detail) == LONGEST_DETAIL
    assert wordy.detail.endswith("x\u2026")


def test_failure_is_told_by_what_the_probe_found_before_its_time_was_over() -> None:
    seen = Probed((failing("camera", "no frame"),))
    late = Probed((ProbeResult("camera", passed=True, detail="a frame"),))
    waiting = advance(QUICK_ON_TRIAL, seen, 110.0).progress
    assert str(advance(waiting, late, 130.0).progress.cause) == "ProbeFailed: camera: no frame"
    assert str(advance(QUICK_ON_TRIAL, late, 130.0).progress.cause) == "ProbeFailed: camera: it passed too late"


def test_probe_gives_its_settings_by_name() -> None:
    probe = Probe("camera", "InputPresent", (("input", "camera0"), ("fps", "15")))
    assert (probe.setting("input"), probe.setting("fps"), probe.setting("none")) == ("camera0", "15", None)


def test_record_keeps_why_a_step_failed_to_the_last_word() -> None:
    failed = after(REMOTE, Refused(Cause(Reason.NO_SPACE, "12 KiB are free")))
    kept = from_record(to_record(failed))
    assert str(kept.cause) == "NoSpace: 12 KiB are free"
    assert kept == failed
