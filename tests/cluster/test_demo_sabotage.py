"""The demo's checker notices: a small demo is played, and each act is sabotaged as soon as it has passed."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

from demo.acts import ACTS, Act
from demo.checker.evidence import Evidence
from demo.checker.judge import judge
from demo.fleet import cameras
from demo.narrator import Narrator
from demo.sabotage import ON_EVIDENCE, ON_SYSTEMS, OnSystems
from demo.stage import Stage, set_up
from demo.story import check, clear, play_act

DEVICES = 24
KEPT = Path(__file__).parents[2] / "build" / "sabotage"


@pytest.mark.timeout(480)
async def test_checker_fails_naming_the_claim_when_an_act_is_sabotaged() -> None:
    narrator = Narrator(Console(force_terminal=False, width=120))
    await clear(KEPT)
    async with set_up(KEPT, cameras(DEVICES), narrator.say, keep=False) as stage:
        await check(stage, "--look", "0")
        for act in ACTS:
            outcome = await play_act(stage, narrator, act)
            assert outcome.held, outcome.facts["findings"]
            claims = {finding["claim"] for finding in outcome.facts["findings"]}
            assert claims == _sabotaged(act.number), "each claim is sabotaged, and there is no other"
            await _sabotage(stage, act)
            await check(stage, "--look", str(act.number))


async def _sabotage(stage: Stage, act: Act) -> None:
    evidence = Evidence.load(KEPT / "evidence" / f"act-{act.number}.json")
    for one in (each for each in ON_EVIDENCE if each.act == act.number):
        findings = {finding.claim: finding.held for finding in judge(one.altered(evidence))}
        assert findings[one.breaks] is False, f"{one} went unnoticed"
    for each in (each for each in ON_SYSTEMS if each.act == act.number):
        assert each.breaks in await _broken(stage, evidence, each), f"{each} went unnoticed"


async def _broken(stage: Stage, evidence: Evidence, sabotage: OnSystems) -> list[str]:
    async with sabotage.done(stage, evidence):
        facts = await check(stage, "--act", str(sabotage.act), "--patience", "0")
    assert not facts["passed"]
    return [finding["claim"] for finding in facts["findings"] if not finding["held"]]


def _sabotaged(number: int) -> set[str]:
    every: Iterable[tuple[int, str]] = ((one.act, one.breaks) for one in (*ON_EVIDENCE, *ON_SYSTEMS))
    return {breaks for act, breaks in every if act == number}
