"""Exposure over time as a picture."""

from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

from backstay.simulate.rollout.chart import HEIGHT, sampled, svg_chart, terminal_chart
from backstay.simulate.rollout.record import Exposure
from tests.simulate.rollout.releases import played

HOUR = timedelta(hours=1)


def test_column_shows_the_most_that_ran_in_its_time() -> None:
    exposure = (Exposure(timedelta(0), 0, 0), Exposure(HOUR * 0.4, 8, 3), Exposure(HOUR * 0.45, 2, 0))
    assert sampled(exposure, HOUR, 4) == [(0, 0), (8, 3), (2, 0), (2, 0)]


def test_terminal_chart_has_a_band_for_bad_versions_only_where_there_were_any(tmp_path: Path) -> None:
    good, bad = played(tmp_path), played(tmp_path, "silent-model")
    assert len(terminal_chart(good, 40)) == HEIGHT + 2
    assert len(terminal_chart(bad, 40)) == HEIGHT + 2 + 1 + HEIGHT // 2
    assert max(map(len, terminal_chart(bad, 40))) <= 49


def test_svg_is_well_formed_and_names_what_it_shows(tmp_path: Path) -> None:
    tree = ElementTree.fromstring(svg_chart(played(tmp_path, "silent-model"), "vision & co"))
    texts = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "vision & co" in texts
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
