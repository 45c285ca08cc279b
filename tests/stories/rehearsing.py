"""Stories of rings that prove that going back works, or do not."""

from dataclasses import replace

from backstay.core.holds import Hold
from backstay.core.plan import Rehearsal
from backstay.core.planes import Plane
from backstay.core.rehearsing import MAY_BREAK
from tests.stories.going_forward import CANARY, EVERYONE, short
from tests.stories.story import Story

BOTH = Rehearsal(devices=1, break_one=True)


def may_break(story: Story, ring: int = 0) -> None:
    for name in story.members(ring):
        labels = {**story.world.truth[name].labels, MAY_BREAK: "true"}
        story.changes(name, labels=labels)


def the_canaries_go_back_and_forward_again(story: Story) -> None:
    short(story, "v1", rings=(replace(CANARY, rehearsal=Rehearsal(devices=2)), EVERYONE))
    story.tell("Before the ring canary passes, both canaries go back to 0.9.0 and forward again.")
    story.passes(130)


def one_device_is_broken_on_purpose(story: Story) -> None:
    short(story, rings=(replace(EVERYONE, rehearsal=BOTH),))
    may_break(story)
    story.tell("In the last ring one camera goes back and forward, and one is told to fail a probe.")
    story.passes(110)


def a_device_confirms_although_it_was_told_to_fail(story: Story) -> None:
    short(story, rings=(replace(CANARY, rehearsal=BOTH), EVERYONE))
    may_break(story)
    story.world.unbreakable = set(story.members(0))
    story.tell("The canaries' probes are not wired to anything: they confirm whatever they are told.")
    story.passes(70)
    story.tell("The agent is mended. Ada resumes, and recovery is rehearsed again.")
    story.world.unbreakable = set()
    story.asks("resume")
    story.passes(10)


def nobody_may_be_broken(story: Story) -> None:
    short(story, rings=(replace(CANARY, rehearsal=BOTH), EVERYONE))
    story.tell("The ring is to break a camera on purpose, and no camera has opted in.")
    story.passes(60)


def a_bystander_fails_during_a_rehearsal(story: Story) -> None:
    short(story, rings=(replace(EVERYONE, rehearsal=Rehearsal(devices=1)),))
    story.passes(50)
    story.decides()
    bystander = story.members(0)[5]
    device = story.world.truth[bystander]
    status = device.status(Plane.MODEL)
    back = replace(status, running=status.fallback, version=status.fallback_version)
    story.changes(bystander, planes={**device.planes, Plane.MODEL: back})
    story.tell(f"While one camera rehearses, {bystander}, which does not, falls back by itself.")
    story.passes(60)


def a_hold_comes_in_the_middle_of_a_rehearsal(story: Story) -> None:
    short(story, rings=(replace(CANARY, rehearsal=Rehearsal(devices=1)), EVERYONE))
    story.passes(40)
    story.tell("One canary is on its way back when Ada stops the model. It arrives, and goes no further.")
    model = story.world.plan.target[Plane.MODEL]
    story.world.holds = (Hold("look-first", versions=frozenset({(Plane.MODEL, model.content)}), reason="let me look"),)
    story.passes(60)
