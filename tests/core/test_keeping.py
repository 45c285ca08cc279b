"""What is kept beside what runs and its fallback, and for how long."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.keeping import LEAST, Spare, left_since, retained
from backstay.core.planes import ContentDigest, Plane

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WEEKS = timedelta(weeks=2)
CONTENTS = [ContentDigest(f"sha256:{digit * 64}") for digit in "abcd"]

spares = st.lists(
    st.builds(
        Spare,
        st.just(Plane.MODEL),
        st.sampled_from(CONTENTS),
        st.sampled_from([timedelta(0), WEEKS]),
        st.booleans(),
    ),
    unique_by=lambda one: one.content,
)
times = st.integers(0, 150 * 24).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


def test_content_is_kept_for_as_long_as_it_is_retained_and_an_hour_anyway() -> None:
    short, long = Spare(Plane.MODEL, CONTENTS[0]), Spare(Plane.MODEL, CONTENTS[1], WEEKS)
    left = left_since({}, (short, long), NOW)
    assert retained((short, long), left, NOW + LEAST - timedelta(seconds=1)) == (short, long)
    assert retained((short, long), left, NOW + LEAST) == (long,)
    assert retained((short, long), left, NOW + WEEKS - timedelta(seconds=1)) == (long,)
    assert retained((short, long), left, NOW + WEEKS) == ()


def test_content_that_failed_here_is_not_kept() -> None:
    failed = Spare(Plane.MODEL, CONTENTS[0], WEEKS, has_failed=True)
    assert retained((failed,), left_since({}, (failed,), NOW), NOW) == ()


def test_content_that_ran_again_is_left_anew() -> None:
    spare = Spare(Plane.MODEL, CONTENTS[0], WEEKS)
    left = left_since({}, (spare,), NOW)
    while_it_ran = left_since(left, (), NOW + WEEKS)
    assert left_since(while_it_ran, (spare,), NOW + 2 * WEEKS) == {spare.content: NOW + 2 * WEEKS}


def test_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    spare = Spare(Plane.MODEL, CONTENTS[0], WEEKS)
    ahead = left_since({}, (spare,), NOW + timedelta(days=3650))
    assert left_since(ahead, (spare,), NOW) == {spare.content: NOW}


@given(spares, st.lists(times, min_size=1, max_size=6))
def test_the_one_that_was_left_longest_ago_goes_first_at_every_time(spare: list[Spare], at: list[datetime]) -> None:
    left: dict[ContentDigest, datetime] = {}
    before: tuple[Spare, ...] | None = None
    for now in sorted(at):
        left = dict(left_since(left, spare, now))
        kept = retained(spare, left, now)
        assert set(left) == {one.content for one in spare}
        assert [left[one.content] for one in kept] == sorted(left[one.content] for one in kept)
        assert not any(one.has_failed for one in kept)
        assert before is None or set(kept) <= set(before), "what went does not come back"
        before = kept
