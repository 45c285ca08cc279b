"""Every story against its file, in the order in which it is told and in random ones.

The files are `tests/golden/stories/*.txt`. Where one differs and the difference is right, delete it and run this again
with `BACKSTAY_WRITE_STORIES=1`, and read what was written as you would read prose.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from backstay.core.reasons import Reason
from backstay.core.revision import TRANSITIONS
from tests.laws.release_world import world_of
from tests.stories import going_back, going_forward, refusing, rehearsing, waiting
from tests.stories.story import Story

GOLDEN = Path(__file__).parents[1] / "golden" / "stories"
MODULES: tuple[ModuleType, ...] = (going_forward, waiting, refusing, going_back, rehearsing)
Told = Callable[[Story], None]
STORIES: dict[str, Told] = {
    name: told
    for module in MODULES
    for name, told in vars(module).items()
    if callable(told)
    and getattr(told, "__module__", None) == module.__name__
    and "_" in name
    and told.__code__.co_argcount == 1
}


def told(name: str, shuffle: random.Random | None = None) -> Story:
    story = Story(name.replace("_", " ").capitalize(), world_of(), shuffle)
    STORIES[name](story)
    return story


@pytest.mark.parametrize("name", sorted(STORIES))
def test_story_is_told_as_it_stands_in_its_file(name: str) -> None:
    text, path = told(name).text(), GOLDEN / f"{name}.txt"
    if not path.exists() and os.environ.get("BACKSTAY_WRITE_STORIES"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(STORIES))
def test_story_ends_alike_when_devices_act_in_another_order(name: str, seed: int) -> None:
    assert told(name, random.Random(seed)).ending() == told(name).ending()


def test_every_story_reaches_what_no_other_does() -> None:
    points = {name: told(name).points for name in STORIES}
    for name, own in points.items():
        others = set().union(*(found for other, found in points.items() if other != name))
        assert own - others, f"{name} tells nothing that another story does not"


def test_stories_together_reach_every_reason_and_every_transition() -> None:
    points = set().union(*(told(name).points for name in STORIES))
    reasons = {point.rpartition(": ")[2] for point in points}
    assert reasons >= {str(reason) for reason in Reason}
    moves = {point.partition(": ")[0] for point in points}
    assert moves >= {f"{before} to {after}" for before, row in TRANSITIONS.items() for after in row}


def test_every_file_belongs_to_a_story() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(STORIES)
