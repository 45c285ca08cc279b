"""Stories of releases that fail, and of how they are taken back."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from backstay.core.devices import DeviceName
from backstay.core.plan import Count, RollbackPolicy, Scope, Success
from backstay.core.planes import ContentDigest, Plane
from backstay.core.reasons import Because, Reason
from backstay.core.signals import Result
from tests.laws.release_world import ACCURACY, TARGETS, plan_of
from tests.stories.going_forward import CANARY, EVERYONE, short
from tests.stories.story import Story

VERIFY = RollbackPolicy(verify=timedelta(seconds=20))


def contents(story: Story, *planes: Plane) -> frozenset[ContentDigest]:
    target = story.world.plan.target
    return frozenset(target[plane].content for plane in planes or target)


def a_camera_goes_dark(story: Story) -> None:
    short(
        story, rings=(replace(CANARY, max_failed=Count(1), size=Count(4), in_flight=Count(4), min_samples=4), EVERYONE)
    )
    third = story.members(0)[2]
    story.tell(
        "The model fails its probe on three of four canaries; the fourth confirmed it, and is then switched off."
    )
    story.decides()
    _obey_well(story, (third,))
    story.changes(third, reachable=False)
    story.world.failing_probes = contents(story)
    story.passes(60)
    story.tell(f"{third} is switched on again. It still runs the bad model.")
    story.changes(third, reachable=True)
    story.passes(20)


def _obey_well(story: Story, names: Iterable[DeviceName]) -> None:
    for name in names:
        story.world.begin(name)
        story.world.finish(name, well=True)
        story.world.see(name)


def too_few_confirm(story: Story) -> None:
    short(story, rings=(replace(EVERYONE, max_failed=Count(3), in_flight=Count(12)),), success=Success(Fraction(9, 10)))
    bad = story.members(0)[:2]
    story.decides()
    _obey_well(story, story.members(0)[2:])
    story.tell(f"The ring tolerates three failures, but nine in ten must confirm. {' and '.join(bad)} fail.")
    for name in bad:
        story.world.begin(name)
        story.world.finish(name, well=False)
        story.world.see(name)
    story.passes(60)


def accuracy_falls_while_the_canaries_soak(story: Story) -> None:
    short(story)
    story.passes(15)
    story.tell("The canaries confirmed the model, and it answers wrongly.")
    story.world.bad = contents(story)
    story.passes(60)
    story.tell("Ada, half asleep, asks to resume it.")
    story.asks("resume")
    story.passes(5)


def accuracy_falls_when_everybody_has_it(story: Story) -> None:
    short(story)
    story.passes(110)
    story.tell("Everybody has the model, and only now it goes wrong.")
    story.world.bad = contents(story)
    story.passes(90)


def the_first_suspect_is_not_the_culprit(story: Story) -> None:
    target = {**TARGETS["config"], **TARGETS["model"]}
    short(story, signals=(replace(ACCURACY, blames=(Plane.CONFIG, Plane.MODEL)),))
    story.world.plan = replace(story.world.plan, target=target)
    story.passes(20)
    story.tell("Accuracy falls. Config and model are both blamed; the config is the cheaper one to take back.")
    story.world.bad = contents(story, Plane.MODEL)
    story.passes(90)


def it_was_not_the_release(story: Story) -> None:
    short(story)
    story.passes(15)
    story.tell("Somebody has put the canaries into a dark room. Taking the model back does not help.")
    story.world.result = Result.FAIL
    story.passes(90)


def health_comes_back_by_itself(story: Story) -> None:
    short(story)
    story.passes(15)
    story.tell("Accuracy falls, and comes back everywhere before a single camera has gone back.")
    story.world.result = Result.FAIL
    story.passes(5)
    canaries = story.members(0)
    story.world.silent = set(canaries)
    story.passes(5)
    story.world.result = Result.PASS
    story.passes(5)
    story.world.silent = set()
    story.passes(60)


def a_device_cannot_go_back(story: Story) -> None:
    short(story)
    stubborn = story.members(0)[0]
    story.world.stubborn = {stubborn}
    story.passes(15)
    story.tell(f"Accuracy falls, and {stubborn} cannot go back: its other slot is broken.")
    story.world.bad = contents(story)
    story.passes(30)
    story.world.bad = frozenset()
    story.tell("The light is better now, so accuracy is good again.")
    story.passes(30)


def nobody_reports_during_the_verification(story: Story) -> None:
    short(story)
    story.passes(15)
    story.world.bad = contents(story)
    story.tell("Accuracy falls, the model goes back, and then nobody reports accuracy for a while.")
    story.passes(15)
    story.world.result = Result.NO_DATA
    story.passes(60)
    story.world.result = Result.PASS
    story.tell("They report again.")
    story.passes(20)


def nobody_can_say_whether_health_returned(story: Story) -> None:
    short(story, signals=(replace(ACCURACY, wait_limit=timedelta(minutes=1)),))
    story.passes(15)
    story.world.bad = contents(story)
    story.tell(
        "Accuracy falls and the model goes back. Prometheus goes away and stays away; the rule waits one minute."
    )
    story.passes(15)
    story.world.result = Result.PROVIDER_ERROR
    story.passes(120)


def a_person_decides_about_rollbacks(story: Story) -> None:
    short(story, rollback=replace(VERIFY, automatic=False))
    story.tell("The plan does not roll back by itself. The model fails its probe on a canary.")
    story.world.failing_probes = contents(story)
    story.passes(20)
    story.tell("Ada takes it back.")
    story.asks("rollback")
    story.passes(40)


def a_person_halts_on_a_signal_and_resumes(story: Story) -> None:
    short(story, rollback=replace(VERIFY, automatic=False))
    story.passes(15)
    story.tell("Accuracy falls, and the plan does not roll back by itself.")
    story.world.result = Result.FAIL
    story.passes(20)
    story.tell("It was the light. Ada resumes.")
    story.world.result = Result.PASS
    story.asks("resume")
    story.passes(40)


def a_person_resumes_near_the_end(story: Story) -> None:
    short(story, rollback=replace(VERIFY, automatic=False))
    story.passes(110)
    story.tell("Everybody has it, and accuracy falls.")
    story.world.result = Result.FAIL
    story.passes(20)
    story.tell("It was the light. Ada resumes.")
    story.world.result = Result.PASS
    story.asks("resume")
    story.passes(10)


def an_irreversible_firmware_fails(story: Story) -> None:
    firmware = {Plane.FIRMWARE: TARGETS["v1"][Plane.FIRMWARE]}
    short(story, irreversible=frozenset({Plane.FIRMWARE}))
    story.world.plan = replace(story.world.plan, target=firmware)
    story.tell("The plan says that this firmware cannot be taken back. It fails on a canary.")
    story.world.failing_probes = contents(story)
    story.passes(20)


def only_one_hardware_fails(story: Story) -> None:
    short(story, rings=(replace(EVERYONE, max_failed=Count(1), in_flight=Count(12)),))
    story.world.plan = replace(story.world.plan, rollback=replace(VERIFY, scope=Scope.SEGMENT))
    bad = story.members(0)[:3]
    for name, device in story.world.truth.items():
        story.changes(name, labels={**device.labels, "hardware": "rev-b" if name in bad else "rev-a"})
    story.tell("Three of the twelve cameras have hardware rev-b, and the model fails on just these.")
    story.decides()
    _obey_well(story, [name for name in story.members(0) if name not in bad])
    for name in bad[:2]:
        story.world.begin(name)
        story.world.finish(name, well=False)
        story.world.see(name)
    _obey_well(story, bad[2:])
    story.passes(60)


def a_confirmed_camera_falls_back_later(story: Story) -> None:
    short(story)
    story.world.plan = replace(story.world.plan, rollback=replace(VERIFY, scope=Scope.RING))
    story.passes(15)
    (canary, _) = story.members(0)
    device = story.world.truth[canary]
    status = device.status(Plane.MODEL)
    back = replace(status, running=status.fallback, version=status.fallback_version)
    story.changes(canary, planes={**device.planes, Plane.MODEL: back})
    story.tell(
        f"{canary} confirmed the model, and some time later it runs the old one again. What it runs is what counts."
    )
    story.passes(40)


def a_rollback_finishes_before_the_next_release(story: Story) -> None:
    short(story)
    story.passes(15)
    story.world.bad = contents(story)
    story.passes(10)
    story.tell("The model goes back. In the middle of that the plan asks for other versions.")
    story.world.plan = plan_of("v2", rings=story.world.plan.rings)
    story.passes(60)


def a_bad_release_goes_back_although_the_next_is_refused(story: Story) -> None:
    short(story)
    story.passes(15)
    story.tell("The plan already asks for the next model, and nobody has signed that one.")
    story.world.refusal = Because(Reason.UNRESOLVED_ARTIFACT, "model 1.1.0 carries no signature that counts")
    story.passes(20)
    story.tell("The model on the canaries turns out to be bad.")
    story.world.bad = contents(story)
    story.passes(60)


def a_person_takes_it_back_although_the_next_is_refused(story: Story) -> None:
    short(story)
    story.passes(110)
    story.tell("Everybody has the model. The plan asks for the next one, which does not exist.")
    story.world.refusal = Because(Reason.UNRESOLVED_ARTIFACT, "model 1.1.0: no such artifact")
    story.passes(10)
    story.tell("A customer calls: the cameras count double. Ada takes the model back.")
    story.asks("rollback")
    story.passes(40)


def the_registry_stays_away(story: Story) -> None:
    short(story)
    story.world.registry_away = True
    story.tell("The registry is away, and stays away.")
    story.passes(260, step=10)
    story.tell("The registry is back. Ada lets the canaries try again.")
    story.world.registry_away = False
    story.asks("retry")
    story.passes(30)


def a_person_accepts_what_failed(story: Story) -> None:
    short(story, rollback=replace(VERIFY, automatic=False))
    story.decides()
    canary = story.members(0)[0]
    story.world.begin(canary)
    story.world.finish(canary, well=False)
    story.world.see(canary)
    story.passes(10)
    story.tell(f"{canary} has a broken camera, which is nobody's fault. Ada resumes with that failure accepted.")
    story.asks("resume")
    story.passes(20)


def a_person_takes_a_good_release_back(story: Story) -> None:
    short(story, "v1")
    story.tell("The release succeeded everywhere.")
    story.passes(420)
    story.tell(
        "A customer does not want it. Ada takes it back, all of it; nothing is frozen, because nothing is proved."
    )
    story.asks("rollback")
    story.passes(60)


def a_person_takes_it_back_in_the_middle(story: Story) -> None:
    short(story)
    story.passes(5)
    story.tell("The canaries change. Ada has seen enough and takes the release back.")
    story.decides()
    story.asks("rollback")
    story.passes(40)
