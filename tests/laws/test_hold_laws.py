"""Promise 9 over `may_start()`: what bridge and agent ask, with their own view of the holds."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay.core.devices import DeviceName, StepType
from backstay.core.holds import STALE_VIEW, Action, Denial, Hold, MayNotStart, MayStart, may_start
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector
from tests.laws.release_rules import examples

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
names = st.sampled_from([DeviceName(name) for name in ("cam-1", "cam-2", "cam-3")])
regions = st.sampled_from(["eu", "us"])
groups = st.frozensets(st.sampled_from(["warehouse", "street"]))
contents = st.sampled_from([ContentDigest("sha256:a"), ContentDigest("sha256:b")])
planes = st.sampled_from(list(Plane))
ages = st.integers(0, 200).map(lambda seconds: timedelta(seconds=seconds))
selectors = st.one_of(
    st.just(EVERYTHING),
    regions.map(lambda region: Selector.labels(region=region)),
    st.builds(MatchExpression, st.just("region"), st.sampled_from(list(Operator)), st.frozensets(regions)).map(
        lambda expression: Selector((expression,))
    ),
)
holds = st.builds(
    Hold,
    name=st.sampled_from(["h1", "h2", "h3"]),
    selector=selectors,
    groups=groups,
    devices=st.frozensets(names, max_size=2),
    versions=st.frozensets(st.tuples(planes, contents), max_size=2),
    until=st.one_of(st.none(), st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds))),
)
actions = st.builds(
    Action,
    device=names,
    labels=regions.map(lambda region: {"region": region}),
    groups=groups,
    plane=planes,
    type=st.sampled_from(list(StepType)),
    content=contents,
    expires=st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    begun=st.booleans(),
)


def covers(hold: Hold, action: Action) -> bool:
    """The scope of a hold, spelled out a second time."""
    in_force = hold.until is None or hold.until > NOW
    named = not hold.devices or action.device in hold.devices
    grouped = not hold.groups or any(group in action.groups for group in hold.groups)
    labelled = all(expression.matches(action.labels) for expression in hold.selector.expressions)
    versioned = not hold.versions or (action.plane, action.content) in hold.versions
    return in_force and named and grouped and labelled and versioned


@given(actions, st.lists(holds, max_size=3), ages)
@examples(1000)
def test_action_starts_exactly_when_nothing_forbids_it(action: Action, held: list[Hold], age: timedelta) -> None:
    answer = may_start(action, held, age, NOW)
    if action.begun:
        assert answer == MayStart()
        return
    expected = set()
    if action.expires <= NOW:
        expected.add(Denial.EXPIRED)
    elif action.type is StepType.INSTALL:
        if age > STALE_VIEW:
            expected.add(Denial.STALE_VIEW)
        elif any(covers(hold, action) for hold in held):
            expected.add(Denial.HELD)
    assert ({answer.why} if isinstance(answer, MayNotStart) else set()) == expected


@given(actions, st.lists(holds, max_size=3), ages)
def test_return_is_never_stopped_by_a_hold_or_an_old_view(action: Action, held: list[Hold], age: timedelta) -> None:
    if action.type is StepType.RETURN and action.expires > NOW:
        assert may_start(action, held, age, NOW) == MayStart()


@given(actions, st.lists(holds, max_size=3), ages, st.randoms())
def test_answer_does_not_depend_on_the_order_of_holds(action, held, age, random) -> None:
    shuffled = list(held)
    random.shuffle(shuffled)
    first, second = may_start(action, held, age, NOW), may_start(action, shuffled, age, NOW)
    assert type(first) is type(second)


class GatewayUnderHolds(RuleBasedStateMachine):
    """A gateway whose view follows the API server within a second while it is connected, and ages when it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.connected_since: datetime | None = NOW
        self.created: dict[str, tuple[Hold, datetime]] = {}
        self.view: dict[str, Hold] = {}
        self.read_at = NOW
        self.started: list[tuple[datetime, datetime | None, list[datetime]]] = []

    @rule(hold=holds)
    def person_holds(self, hold: Hold) -> None:
        self.created[hold.name] = (hold, self.now)

    @rule(name=st.sampled_from(["h1", "h2", "h3"]))
    def person_lifts(self, name: str) -> None:
        self.created.pop(name, None)

    @rule(connected=st.booleans())
    def network_changes(self, connected: bool) -> None:
        if not connected or self.connected_since is None:
            self.connected_since = self.now if connected else None

    @rule(milliseconds=st.sampled_from([100, 400, 900, 5_000, 61_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.now += timedelta(milliseconds=milliseconds)
        if self.connected_since is not None:
            read = self.now - timedelta(milliseconds=min(milliseconds, 900))
            self.view = {name: hold for name, (hold, at) in self.created.items() if at <= read}
            self.read_at = read

    @rule(action=actions)
    def device_asks(self, action: Action) -> None:
        answer = may_start(action, self.view.values(), self.now - self.read_at, self.now)
        if isinstance(answer, MayStart) and not action.begun and action.type is StepType.INSTALL:
            in_scope = [
                at
                for hold, at in self.created.values()
                if hold.is_in_force(self.now)
                and hold.covers_device(action.device, action.labels, action.groups)
                and hold.covers_version(action.plane, action.content)
            ]
            self.started.append((self.now, self.connected_since, in_scope))
            assert self.now - self.read_at <= STALE_VIEW

    @invariant()
    def nothing_in_scope_starts_a_second_after_a_hold_while_connected(self) -> None:
        second = timedelta(seconds=1)
        for at, connected_since, holds_since in self.started:
            if connected_since is not None and at - connected_since > second:
                assert all(at - since <= second for since in holds_since)


TestGatewayUnderHolds = GatewayUnderHolds.TestCase
TestGatewayUnderHolds.settings = examples(100, 30)
