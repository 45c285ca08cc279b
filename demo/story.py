"""The acts in order, each judged by the checker as soon as it has ended."""

import asyncio
import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from backstay.errors import BackstayError, Refused
from backstay.sandbox import detached
from backstay.sandbox.build import kubernetes_binaries
from backstay.sandbox.state import State
from demo.acts import Act, Hands, acts_on
from demo.fleet import NAMESPACE, SIZE, cameras
from demo.narrator import Narrator
from demo.processes import carried_out, end_earlier
from demo.report import Json, Outcome, ten_lines, write_report
from demo.resources import PERSON
from demo.stage import REPOSITORY, Stage, set_up

DIRECTORY: Final = REPOSITORY / "build" / "demo"
JUDGED: Final = (0, 3)
"""The checker's exit statuses when it could look: everything held, or not."""


class CheckerFailed(BackstayError):
    """The checker could not look, so nothing was proved."""


async def tell_story(console: Console, directory: Path = DIRECTORY, *, keep: bool = False, size: int = SIZE) -> bool:
    """Play all acts and return whether all that was told is true; the report is left either way.

    Raises:
        BackstayError: a part did not come up, or an act got stuck.
    """
    narrator, began = Narrator(console), time.monotonic()
    refuse_a_second(directory)
    await clear(directory)
    narrator.headline("Backstay", f"{size} simulated cameras, three customers, two regions; all else is real.")
    async with set_up(directory, cameras(size), narrator.say, keep=keep) as stage:
        outcomes = await _play(stage, narrator)
        seconds = time.monotonic() - began
        write_report(directory / "report.json", outcomes, size, seconds)
        _end(narrator, outcomes, size, seconds, directory, acts=len(acts_on(stage)))
        if keep:
            _look_around(narrator, stage)
    return all(outcome.held for outcome in outcomes)


def refuse_a_second(directory: Path) -> None:
    """Leave a demo alone that is being told in another terminal.

    Raises:
        Refused: there is one.
    """
    state = State.load(directory / "sandbox")
    if state is not None and state.owner is not None and state.owner.alive():
        raise Refused(f"another demo runs in {directory} (process {state.owner.pid}); wait for its end, or end it")


async def clear(directory: Path) -> None:
    """End what an earlier demo left running, and take its files away."""
    await end_earlier(directory)
    await detached.finish(directory / "sandbox")
    for name in ("boxes", "evidence", "flash", "git", "manifests"):
        await asyncio.to_thread(shutil.rmtree, directory / name, ignore_errors=True)
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)


async def _play(stage: Stage, narrator: Narrator) -> list[Outcome]:
    """Play until the end, or until an act does not hold: what follows would build on it."""
    outcomes: list[Outcome] = []
    await check(stage, "--look", "0")
    for act in acts_on(stage):
        outcomes.append(await play_act(stage, narrator, act))
        if not outcomes[-1].held:
            break
    return outcomes


async def play_act(stage: Stage, narrator: Narrator, act: Act) -> Outcome:
    """Play one act, and let the checker judge it."""
    narrator.headline(f"{act.number}. {act.title}", act.opening)

    async def look(name: str) -> None:
        await check(stage, "--look", name)

    narrator.turn_to(await stage.scene(act.plan))
    with narrator.watching():
        await act.play(Hands(stage, narrator, look, act.plan))
    facts = await check(stage, "--act", str(act.number))
    for finding in facts["findings"]:
        narrator.finding(finding["claim"], finding["facts"], held=finding["held"])
    if facts["passed"]:
        narrator.say(act.closing, "green")
    return Outcome(act.title, facts)


async def check(stage: Stage, *arguments: str) -> Json:
    """Run the checker as a process of its own, and return what it found.

    Raises:
        CheckerFailed: it could not look.
    """
    command = (sys.executable, "-m", "demo.checker", "--context", str(stage.context), *arguments)
    done = await carried_out(*command, cwd=REPOSITORY)
    if done.status not in JUDGED:
        raise CheckerFailed(f"`{shlex.join(command)}` ended with {done.status}: {done.complaint.strip()}")
    facts: Json = json.loads(done.told) if done.told else {}
    return facts


def _end(narrator: Narrator, outcomes: list[Outcome], size: int, seconds: float, directory: Path, *, acts: int) -> None:
    failed = [outcome for outcome in outcomes if not outcome.held]
    if failed or len(outcomes) < acts:
        narrator.headline("Not proved", "The checker does not confirm what was told.")
        for outcome in failed:
            claims = [finding["claim"] for finding in outcome.facts["findings"] if not finding["held"]]
            narrator.say(f"{outcome.title}: {'; '.join(claims)}", "bold red")
    else:
        narrator.headline("What was proved", "")
        for line in ten_lines(outcomes, size, seconds):
            narrator.line(line)
    narrator.say(f"the facts of each act: {_short(directory / 'report.json')}", "dim")


def _look_around(narrator: Narrator, stage: Stage) -> None:
    narrator.headline("Everything stays up", "Look around, and end it when you have seen enough.")
    kubectl = kubernetes_binaries()
    for line in (
        f"export KUBECONFIG={shlex.quote(_short(stage.sandbox.kubeconfig))} PATH={shlex.quote(str(kubectl))}:$PATH",
        f"kubectl get --namespace {NAMESPACE} releaseplans,devicegroups,healthrules,edgedevices,holds",
        f"kubectl describe --namespace {NAMESPACE} releaseplan vision",
        f"kubectl get --namespace {NAMESPACE} events",
        f"Prometheus {stage.sandbox.prometheus_url}   Alertmanager {stage.sandbox.alertmanager_url}",
        f"logs {_short(stage.processes.logs)}   flash files {_short(stage.directory / 'flash')}",
        *_page(stage),
        f"to end it: {_short(Path(sys.executable))} -m demo end",
    ):
        narrator.line(line)


def _page(stage: Stage) -> list[str]:
    """How to look at the page, where the operator is a Pod by now."""
    if stage.platform is None:
        return []
    token = f"kubectl create token {PERSON} --namespace {NAMESPACE}"
    return [f"the page {stage.platform.page}, to be signed in to with a token: {token}"]


def _short(path: Path) -> str:
    """A path as it is typed from the checkout."""
    return str(path).removeprefix(f"{Path.cwd()}/")
