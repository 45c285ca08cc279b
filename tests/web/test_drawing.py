"""What graphs look like, in numbers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from backstay.core.planes import Plane
from backstay.core.signals import Comparison, Direction, Signal
from backstay.web.drawing import HEIGHT, WIDTH, limit_of, picture, spoken
from backstay.web.graphs import Graph, Line, Window

SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEP = timedelta(seconds=10)
WINDOW = Window(SINCE, SINCE + timedelta(seconds=100), STEP)
AT_MOST = Signal("latency", "q", (Plane.MODEL,), maximum=Decimal("0.120"))
AT_LEAST = Signal("accuracy", "q", (Plane.MODEL,), minimum=Decimal("0.8"))


def line(*numbers: float | None) -> Line:
    return Line("ring eu", tuple((SINCE + STEP * i, n) for i, n in enumerate(numbers) if n is not None))


def test_nothing_is_drawn_when_there_is_no_number() -> None:
    assert picture(Graph(WINDOW, "q"), AT_MOST) is None


def test_line_goes_from_left_to_right_and_up_where_the_number_grows() -> None:
    drawn = picture(Graph(WINDOW, "q", (line(*(i / 10 for i in range(11))),)), AT_LEAST)
    assert drawn is not None
    (stroke,) = drawn.strokes
    points = [tuple(map(float, part.split())) for part in stroke.path.replace("M", "").split("L")]
    assert [x for x, _ in points] == [i * WIDTH / 10 for i in range(11)]
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert stroke.last == 1.0


def test_hole_is_left_where_prometheus_had_no_number() -> None:
    drawn = picture(Graph(WINDOW, "q", (line(0.1, 0.1, None, None, None, 0.1, 0.1),)), AT_MOST)
    assert drawn is not None
    assert drawn.strokes[0].path.count("M") == 2


@pytest.mark.parametrize("numbers", [(0.1,), (0.0, 0.0), (5.0, 5.0), (-3.0,)])
def test_threshold_and_line_lie_inside_however_far_apart_they_are(numbers: tuple[float, ...]) -> None:
    for signal in (AT_MOST, AT_LEAST):
        drawn = picture(Graph(WINDOW, "q", (line(*numbers),)), signal)
        assert drawn is not None
        assert 0 <= drawn.strokes[0].last_y <= HEIGHT
        assert 0 <= drawn.limits[0].y <= HEIGHT


def test_bad_side_is_above_a_maximum_and_below_a_minimum() -> None:
    for signal, top in ((AT_MOST, True), (AT_LEAST, False)):
        drawn = picture(Graph(WINDOW, "q", (line(0.5, 0.6),)), signal)
        assert drawn is not None
        (limit,) = drawn.limits
        assert (limit.bad_y == 0.0) is top
        assert limit.bad_y + limit.bad_height == pytest.approx(limit.y if top else HEIGHT)


def test_table_says_the_same_in_at_most_twelve_rows_the_latest_first() -> None:
    window = Window(SINCE, SINCE + STEP * 100, STEP)
    drawn = picture(Graph(window, "q", (line(*([0.25] * 101)),)), AT_MOST)
    assert drawn is not None
    assert 10 <= len(drawn.rows) <= 12
    assert drawn.rows[0].at == window.until
    assert drawn.rows[0].numbers == ("0.25",)


def test_watch_that_began_before_the_window_has_no_mark() -> None:
    for began, marked in ((SINCE - STEP, False), (SINCE + STEP * 5, True)):
        drawn = picture(Graph(WINDOW, "q", (line(0.1, 0.2),), began=began), AT_MOST)
        assert drawn is not None
        assert (drawn.began_x is not None) is marked


def test_limit_is_told_in_words() -> None:
    compared = Signal("a", "q", (Plane.MODEL,), comparison=Comparison(Direction.DECREASE, Decimal("0.05")))
    assert limit_of(AT_MOST) == "at most 0.120"
    assert limit_of(compared) == "less than 0.05 lower than the baseline, with 0.95 confidence"
    assert [spoken(n) for n in (None, 0.123456, 1234567.0)] == ["none", "0.1235", "1.235e+06"]
