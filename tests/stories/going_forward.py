"""Stories of releases that go forward, and of people who let them."""

from dataclasses import replace

from backstay.core.plan import Count, Ring, Share
from backstay.core.signals import Result
from tests.laws.release_world import SOAK, TARGETS, plan_of
from tests.stories.story import Story

CANARY = Ring("canary", size=Count(2), minimum=2, soak=SOAK, in_flight=Count(2))
EVERYONE = Ring("everyone", soak=SOAK, in_flight=Count(5))
TWO_RINGS = (CANARY, EVERYONE)


def short(story: Story, target: str = "model", **changes: object) -> None:
    """A plan of two rings, for one plane where nothing else is said."""
    story.world.plan = plan_of(target, **{"rings": TWO_RINGS, **changes})


def one_release_follows_another(story: Story) -> None:
    story.tell("Twelve cameras run 0.9.0. The plan asks for 1.0.0 in every plane.")
    story.passes(360)
    story.tell("A commit changes the plan: the model and what needs it go to 2.0.0.")
    story.world.plan = plan_of("v2")
    story.passes(360)


def a_ring_waits_for_a_person(story: Story) -> None:
    short(story, rings=(CANARY, replace(EVERYONE, needs_approval=True)))
    story.tell("The ring everyone starts only when a person approves it.")
    story.passes(120)
    story.tell("Ada looks at the canaries, and approves.")
    story.asks("approve", "everyone")
    story.passes(60)


def the_first_ring_needs_approval(story: Story) -> None:
    short(story, rings=(replace(CANARY, needs_approval=True), EVERYONE))
    story.tell("Nothing at all may start before a person approves.")
    story.passes(20)
    story.asks("approve", "canary")
    story.tell("Ada approves.")
    story.passes(30)


def somebody_approves_too_early(story: Story) -> None:
    short(story, rings=(CANARY, replace(EVERYONE, needs_approval=True)))
    story.tell("The ring everyone will need approval. Ada approves it while the canaries still change.")
    story.decides()
    story.asks("approve", "everyone")
    story.passes(80)


def somebody_asks_for_nonsense(story: Story) -> None:
    short(story)
    story.tell("Ada writes a request that no one can read, while the canaries soak.")
    story.passes(20)
    story.world.asked = "approve the canaries, please"
    story.passes(10)


def somebody_asks_about_an_old_revision(story: Story) -> None:
    short(story)
    story.tell("The release has reached everyone. Ada asks to take another revision back than the one that runs.")
    story.passes(120)
    story.world.asked = "rollback@0123456789-7/everyone/1"
    story.passes(10)


def a_small_fleet_gets_it_all_at_once(story: Story) -> None:
    everybody = Ring("all", in_flight=Share(1), soak=SOAK)
    short(story, rings=(everybody,))
    story.tell("A plan without rings: one ring takes everybody at once. Prometheus goes away near the end.")
    story.passes(50)
    story.world.result = Result.PROVIDER_ERROR
    story.passes(20)
    story.world.result = Result.PASS
    story.tell("Prometheus is back.")
    story.passes(200)


def a_newer_release_overtakes_one_in_flight(story: Story) -> None:
    short(story)
    story.tell("While the canaries change to model 1.0.0, the plan asks for 2.0.0 in every plane.")
    story.decides()
    story.world.plan = replace(story.world.plan, target=TARGETS["v2"])
    story.passes(60)


def the_versions_are_tried_again_when_the_hold_is_gone(story: Story) -> None:
    short(story)
    story.tell("The model fails on the canaries, goes back and is frozen.")
    story.world.failing_probes = frozenset(release.content for release in story.world.plan.target.values())
    story.passes(60)
    story.tell("The cameras were dirty, the model was good. Ada deletes the hold and asks to try again.")
    story.world.failing_probes, story.world.holds = frozenset(), ()
    story.asks("retry")
    story.passes(250)


def late_devices_fail_after_success(story: Story) -> None:
    late = max(story.world.truth)
    short(story)
    story.changes(late, reachable=False)
    story.tell(f"{late} is switched off through the whole rollout.")
    story.passes(260)
    story.tell(f"{late} comes back, and the model fails on it.")
    story.changes(late, reachable=True)
    story.world.failing_probes = frozenset(release.content for release in story.world.plan.target.values())
    story.passes(30)
