"""Stories of releases that wait: for people, hours, devices, groups, and for health that cannot be read."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from backstay.core.holds import Hold, InFlight
from backstay.core.observed import GroupRules
from backstay.core.plan import Count, Success
from backstay.core.signals import Result, WhenUnclear
from backstay.core.windows import Window
from tests.laws.release_world import ACCURACY, device_of
from tests.stories.going_forward import CANARY, EVERYONE, short
from tests.stories.story import Story

BERLIN = ZoneInfo("Europe/Berlin")


def a_person_pauses_in_the_middle(story: Story) -> None:
    short(story, rings=(EVERYONE,))
    story.decides()
    story.tell("Five cameras have begun. Ada pauses the plan: they finish, and no other starts.")
    story.world.plan = replace(story.world.plan, paused=True)
    story.passes(20)
    story.tell("She lets it go on.")
    story.world.plan = replace(story.world.plan, paused=False)
    story.passes(10)


def a_person_pauses_while_a_ring_soaks(story: Story) -> None:
    short(story)
    story.passes(20)
    story.tell("Ada pauses the plan while the canaries soak.")
    story.world.plan = replace(story.world.plan, paused=True)
    story.passes(60)


def a_person_pauses_before_the_end(story: Story) -> None:
    short(story)
    story.passes(110)
    story.tell("Everyone has it. Ada pauses the plan before the stability window is over.")
    story.world.plan = replace(story.world.plan, paused=True)
    story.passes(180)


def the_window_opens_in_the_night_when_summer_time_begins(story: Story) -> None:
    night = Window(frozenset({6}), time(2, 30), time(5, 0), BERLIN)
    short(story, rings=(replace(CANARY, windows=(night,)), EVERYONE))
    story.world.now = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    story.tell(
        "Changes may start on Sundays from 02:30 to 05:00 in Berlin. Tonight the clock jumps from 02:00 to 03:00."
    )
    story.passes(7200, step=1200)
    story.tell("It is 03:00 in Berlin.")
    story.passes(20)


def a_group_has_no_room(story: Story) -> None:
    story.world.groups = {"eu": GroupRules(max_unavailable=Count(1)), "us": GroupRules(max_unavailable=Count(1))}
    short(story, rings=(EVERYONE,))
    story.tell("One camera of each region may be unavailable, and the only ring would take five at a time.")
    story.passes(20)


def a_canary_is_switched_off(story: Story) -> None:
    short(story, success=Success(offline_grace=timedelta(seconds=60)))
    off = story.members(0)[0]
    story.changes(off, reachable=False)
    story.tell(f"{off} is a canary, and switched off. It is waited for as long as its grace lasts, a minute here.")
    story.passes(90)
    story.tell(f"{off} is switched on again.")
    story.changes(off, reachable=True)
    story.passes(20)


def a_hold_comes_before_anybody_has_begun(story: Story) -> None:
    short(story)
    story.decides()
    story.tell("The canaries have their orders and have not begun. A hold comes, on everything.")
    story.world.holds = (Hold("stop", reason="incident 8"),)
    story.decides()


def a_hold_calls_a_device_back(story: Story) -> None:
    short(story)
    story.passes(110)
    joins = device_of("cam-new", "eu")
    story.world.truth[joins.name] = joins
    story.world.see(joins.name)
    story.tell("A camera joins while the fleet is watched, and begins to download what the others have.")
    story.decides()
    story.world.begin(joins.name)
    story.world.see(joins.name)
    story.tell("A hold comes on it that also calls back what is under way.")
    hold = Hold("stop", devices=frozenset({joins.name}), reason="incident 9", in_flight=InFlight.RETURN)
    story.world.holds = (hold,)
    story.decides()
    story.passes(20)


def silent_devices_hold_the_whole_budget(story: Story) -> None:
    short(story, rings=(replace(EVERYONE, max_failed=Count(6), in_flight=Count(2)),))
    story.world.silent = set(story.members(0)[:2])
    story.tell("Two cameras may change at the same time, six may fail; the first two fall silent and never answer.")
    story.passes(400, step=20)


def some_devices_cannot_fall_back(story: Story) -> None:
    short(story, "v1", rings=(EVERYONE,))
    for name in story.members(0)[:4]:
        story.changes(name, rollback_capable=False)
    story.tell("The bootloader of four cameras cannot go back by itself. They get no firmware.")
    story.passes(60)


def a_version_is_frozen(story: Story) -> None:
    short(story)
    (model,) = story.world.plan.target.values()
    hold = Hold("frozen-model", versions=frozenset({(model.plane, model.content)}), reason="accuracy fell")
    story.world.holds = (hold,)
    story.tell("The plan asks for a model that a hold freezes.")
    story.passes(10)


def nobody_reports(story: Story) -> None:
    short(story)
    story.passes(20)
    story.tell("Nobody reports accuracy any more. That is never a pass.")
    story.world.result = Result.NO_DATA
    story.passes(60)


def nobody_reports_and_the_rule_stops_at_once(story: Story) -> None:
    short(story, signals=(replace(ACCURACY, on_no_data=WhenUnclear.HALT),))
    story.passes(20)
    story.tell("The rule says that no data stops the rollout for a person.")
    story.world.result = Result.NO_DATA
    story.passes(20)


def prometheus_stays_away_too_long(story: Story) -> None:
    short(story, signals=(replace(ACCURACY, wait_limit=timedelta(minutes=2)),))
    story.passes(20)
    story.tell("Prometheus goes away, and the rule waits for two minutes at most.")
    story.world.result = Result.PROVIDER_ERROR
    story.passes(150)


def a_comparison_says_nothing(story: Story) -> None:
    short(story)
    story.passes(20)
    story.tell("The comparison with the baseline can tell nothing either way.")
    story.world.result = Result.INCONCLUSIVE
    story.passes(60)


def a_device_joins_in_the_middle(story: Story) -> None:
    short(story)
    story.passes(60)
    joins = device_of("cam-new", "eu")
    story.world.truth[joins.name] = replace(joins, reachable=False)
    story.world.see(joins.name)
    story.world.holds = (Hold("new", devices=frozenset({joins.name}), reason="it is not mounted yet"),)
    story.tell(
        "A camera joins, held and switched off, while the last ring changes. It neither blocks nor fails its ring."
    )
    story.passes(40)
    story.tell("It is switched on, still held, while the fleet is watched. Then Ada asks to try again what failed.")
    story.changes(joins.name, reachable=True)
    story.asks("retry")
    story.passes(10)
