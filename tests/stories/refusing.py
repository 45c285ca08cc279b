"""Stories of releases that are refused before anything ships."""

from dataclasses import replace

from backstay.core.observed import Rival
from backstay.core.plan import Count, Ring
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.selectors import Selector
from tests.laws.release_world import release
from tests.stories.going_forward import EVERYONE, short
from tests.stories.story import Story


def a_requirement_is_met_by_nobody(story: Story) -> None:
    short(story)
    needy = release(Plane.CONFIG, "3.0.0", model=">=9.0.0")
    story.world.plan = replace(story.world.plan, target={Plane.CONFIG: needy})
    story.tell("A config requires a model that no camera has.")
    story.passes(10)


def there_would_be_no_way_back(story: Story) -> None:
    misfit = release(Plane.CONFIG, "0.5.0", model=">=0.95.0")
    short(story, "config")
    for name, device in story.world.truth.items():
        status = replace(device.status(Plane.CONFIG), running=misfit.content, version=misfit.version)
        story.changes(name, planes={**device.planes, Plane.CONFIG: status})
    story.world.known = {**story.world.known, misfit.content: misfit}
    story.tell("The cameras run a config that does not fit their model. Another one would mend it, for good or bad.")
    story.passes(10)


def two_plans_want_one_plane(story: Story) -> None:
    short(story)
    story.world.rivals = (Rival("parking", frozenset({Plane.MODEL}), frozenset({"eu"}), goes_first=True),)
    story.tell("The older plan parking manages the model of the cameras in eu.")
    story.passes(10)


def a_ring_takes_nobody(story: Story) -> None:
    short(story, rings=(Ring("moon", selector=Selector.labels(region="moon"), size=Count(1)), EVERYONE))
    story.tell("The first ring takes the cameras of a region in which there are none.")
    story.passes(10)


def the_registry_does_not_know_the_artifact(story: Story) -> None:
    short(story)
    story.world.refusal = Because(
        Reason.UNRESOLVED_ARTIFACT, "model 1.0.0: registry.example/vision/model@sha256:… does not exist"
    )
    story.tell("The plan names an artifact that the registry does not have.")
    story.passes(10)
    story.tell("It is pushed.")
    story.world.refusal = None
    story.passes(5)
