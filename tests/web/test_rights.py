"""Who may see what, and how soon a change of that counts."""

from backstay.ports.access import Kind, Person
from backstay.web.rights import REFUSAL_SECONDS, RIGHT_SECONDS, Reader, Rights
from tests.web.stage import Stage

PLANS = frozenset({Kind.PLANS})


def reader(stage: Stage, rights: dict[str | None, frozenset[Kind]]) -> Reader:
    stage.access.let_in("token", "ada", rights)
    return Reader(stage.access.people["token"], Rights(stage.access, stage.clock))


async def test_right_over_all_namespaces_is_asked_for_once() -> None:
    stage = Stage()
    found = reader(stage, {None: frozenset(Kind)})
    assert await found.namespaces(["a", "b", "c"]) == dict.fromkeys("abc", frozenset(Kind))
    assert sorted(stage.access.asked) == sorted(("ada", kind, None) for kind in Kind)


async def test_namespace_is_seen_by_whoever_may_list_anything_in_it() -> None:
    found = reader(Stage(), {"a": PLANS, "b": frozenset({Kind.HOLDS}), "c": frozenset({Kind.EVENTS})})
    assert list(await found.namespaces(["a", "b", "c", "d"])) == ["a", "b"]
    assert await found.kinds("c") == frozenset(), "Events alone do not tell that a namespace is there"


async def test_right_over_one_kind_everywhere_shows_every_namespace_and_of_each_what_one_may_list() -> None:
    found = reader(Stage(), {None: frozenset({Kind.DEVICES}), "b": PLANS})
    assert await found.namespaces(["a", "b"]) == {
        "a": frozenset({Kind.DEVICES}),
        "b": frozenset({Kind.DEVICES, Kind.PLANS}),
    }


async def test_right_that_is_taken_away_counts_no_longer_than_promised() -> None:
    stage = Stage()
    found = reader(stage, {"a": PLANS})
    assert await found.may_list(Kind.PLANS, "a")
    stage.access.rights["ada"] = {}
    stage.clock.pass_by(seconds=RIGHT_SECONDS + 1)
    assert not await found.may_list(Kind.PLANS, "a")


async def test_right_that_is_given_counts_soon_where_the_namespace_is_asked_for_by_name() -> None:
    stage = Stage()
    found = reader(stage, {})
    assert await found.namespaces(["a"]) == {}
    stage.access.rights["ada"] = {"a": PLANS}
    stage.clock.pass_by(seconds=RIGHT_SECONDS + 1)
    assert await found.namespaces(["a"]) == {}
    assert await found.kinds("a") == PLANS
    stage.clock.pass_by(seconds=REFUSAL_SECONDS + 1)
    assert await found.namespaces(["a"]) == {"a": PLANS}


async def test_rights_of_two_people_of_one_name_are_kept_apart() -> None:
    stage = Stage()
    stage.access.let_in("token", "ada", {"a": PLANS})
    rights = Rights(stage.access, stage.clock)
    assert await Reader(Person("ada", uid="1"), rights).may_list(Kind.PLANS, "a")
    stage.access.rights["ada"] = {}
    assert not await Reader(Person("ada", uid="2"), rights).may_list(Kind.PLANS, "a")
    assert not await Reader(Person("ada", uid="1", groups=("x",)), rights).may_list(Kind.PLANS, "a")
    assert not await Reader(Person("ada", uid="1", extra={"scopes": ("x",)}), rights).may_list(Kind.PLANS, "a")
