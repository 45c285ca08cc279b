"""What the page of a plan says."""

import re

from backstay.web.pages.plan import PlanPage
from tests.web.conftest import Site, visiting
from tests.web.stage import Stage


async def text_of(site: Site, path: str, who: str = "admin") -> str:
    async with visiting(site, who) as visitor:
        status, text = await visitor.sees(path)
    assert status == 200
    return text


def row_of(text: str, name: str) -> str:
    (found,) = [row for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL) if re.search(rf"</svg>{name}</span>", row)]
    return re.sub(r"<[^>]+>", " ", found)


async def test_rings_are_told_in_numbers_and_words(site: Site) -> None:
    text = await text_of(site, "/acme/plans/vision")
    assert 'aria-label="ring eu: 8 confirmed, 8 changing, 1 failed, 1 offline of 18"' in text
    assert "current" in row_of(text, "eu")
    assert "passed" in row_of(text, "canary")
    assert "begins when a person approves" in row_of(text, "everyone")


async def test_page_says_why_in_the_words_of_the_command_line(site: Site) -> None:
    text = await text_of(site, "/acme/plans/doors")
    assert "ring rest waits for approval" in text
    assert "look at the rings so far, and approve with the command above" in text
    assert "plan doors: revision" in text
    assert "backstay approve doors -n acme" in text


async def test_culprit_stands_with_its_evidence_and_its_hold(site: Site) -> None:
    text = await text_of(site, "/borealis/plans/lights")
    assert "Convicted" in text
    assert "0.4967 is below the minimum of 0.80" in text
    assert 'href="/borealis/holds#hold-frozen-model-' in text
    assert "backstay lift frozen-model-" in text
    assert "Fail" in row_of(text, "canary")


async def test_graph_has_its_threshold_and_its_words(site: Site) -> None:
    text = await text_of(site, "/borealis/plans/lights")
    assert text.count('class="limit-line"') == 2
    assert re.search(r'aria-label="accuracy from 0\.4\d+ to 0\.9\d+; it wants at least 0\.80', text)
    assert "namespace=&#34;borealis&#34;" in text


async def test_halted_plan_offers_to_go_on_first(site: Site) -> None:
    text = await text_of(site, "/acme/plans/gates")
    commands = re.findall(r'<code class="line">(backstay \w+)', text)
    assert commands[0] == "backstay resume"
    assert "backstay pause" not in commands


async def test_history_tells_how_earlier_revisions_ended(site: Site) -> None:
    text = await text_of(site, "/borealis/plans/lights")
    assert "Earlier revisions" in text
    assert "Succeeded" in text


def test_plan_is_read_no_more_often_than_it_is_written() -> None:
    assert PlanPage("acme", "vision").calm_seconds >= 1.0


async def test_plan_that_cannot_be_read_is_shown_with_its_problem(scene: Stage, site: Site) -> None:
    raw = scene.store.plans.get(("acme", "gates"))
    assert raw is not None
    broken = {**raw.raw, "metadata": {**raw.raw["metadata"], "name": "broken"}, "spec": {"surprise": 1}}
    scene.store.plans.put(broken)
    try:
        assert "unknown field" in await text_of(site, "/acme/plans/broken")
        assert "Unreadable" in await text_of(site, "/acme")
    finally:
        scene.store.plans.remove("acme", "broken")
