"""The eight acts: what a person does, what must come of it, and the words before and after."""

import signal
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import installation, resources
from demo.browser import photograph, pictures, signed_in
from demo.fleet import NAMESPACE
from demo.git import PLAN_FILE
from demo.narrator import Narrator
from demo.scene import Scene
from demo.stage import REPOSITORY, Platform, Stage, StoryStuck

HELD_CUSTOMER: Final = "borealis"
LONG_SECONDS: Final = 150.0
SHORT_SECONDS: Final = 60.0
API_SERVER: Final = "kube-apiserver"

Look = Callable[[str], Awaitable[None]]
"""Let the checker look in the middle of an act, under a name."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What an act has to work with."""

    stage: Stage
    narrator: Narrator
    look: Look
    plan: str = resources.PLAN
    """The one that the act is about."""

    async def apply(self, name: str, *objects: resources.Json) -> None:
        """Apply, and tell the command."""
        self.narrator.command(await self.stage.apply(name, *objects))

    async def until(self, what: str, holds: Callable[[Scene], bool], seconds: float) -> Scene:
        """Look on until it holds, telling what happens meanwhile."""
        return await self.stage.until(what, holds, self.narrator.see, seconds, self.plan)


@dataclass(frozen=True, slots=True)
class Act:
    """One act."""

    number: int
    title: str
    opening: str
    """What is about to happen."""
    play: Callable[[Hands], Awaitable[None]]
    closing: str
    """What was shown."""
    plan: str = resources.PLAN
    """The one that it is about."""
    takes_nodes: bool = False
    """It cannot be played where this machine can have no Linux nodes."""


async def first_release(hands: Hands) -> None:
    """Firmware, model and config 1.0.0 for a fleet that left the factory with 0.9.0."""
    made = hands.stage.artifacts
    await hands.apply("group-and-health", resources.group(), resources.health_rule())
    await hands.apply("act-1-plan", resources.plan(made.firmware_first, made.model_first, made.config_first))
    await hands.until("the first release", _in_phase("Succeeded"), LONG_SECONDS)


async def better_model(hands: Hands) -> None:
    """The same plan with another model."""
    made = hands.stage.artifacts
    versions = (made.firmware_first, made.model_better, made.config_first)
    await hands.apply("act-2-plan", resources.plan(*versions, rehearses=True))
    await hands.until("the better model", _in_phase("Succeeded"), LONG_SECONDS)


async def wrong_model(hands: Hands) -> None:
    """A model whose zero points were written with the wrong sign."""
    made = hands.stage.artifacts
    await hands.apply("act-3-plan", resources.plan(made.firmware_first, made.model_misquantised, made.config_first))
    await hands.until("the return of the wrong model", _in_phase("RolledBack"), SHORT_SECONDS)


async def hanging_firmware(hands: Hands) -> None:
    """A firmware that never confirms, beside the model that is known to be good."""
    made = hands.stage.artifacts
    await hands.apply("act-4-plan", resources.plan(made.firmware_hanging, made.model_better, made.config_first))
    await hands.until("the return of the hanging firmware", _in_phase("RolledBack"), SHORT_SECONDS)


async def impossible_config(hands: Hands) -> None:
    """A config that asks for a model which nobody has."""
    made = hands.stage.artifacts
    needy = made.config_needing_unknown_model
    await hands.apply("act-5-plan", resources.plan(made.firmware_first, made.model_better, needy))
    await hands.until(
        "the refusal", lambda scene: scene.is_answered and "model >=9.0.0" in scene.stalled, SHORT_SECONDS
    )


async def stopped_customer(hands: Hands) -> None:
    """A good config; in the middle of it one customer's devices are held, and later let go."""
    made = hands.stage.artifacts
    await hands.apply("act-6-plan", resources.plan(made.firmware_first, made.model_better, made.config_next))
    await hands.until("the soak of ring tenth", _soaking("tenth"), LONG_SECONDS)
    await hands.apply("act-6-hold", resources.hold(HELD_CUSTOMER))
    hands.narrator.say(f"from now on nothing new starts on the cameras of {HELD_CUSTOMER}; all others go on")
    scene = await hands.until("the release to the others", _in_phase("Succeeded"), LONG_SECONDS)
    confirmed = sum(ring.confirmed for ring in scene.rings)
    waiting = sum(ring.target for ring in scene.rings) - confirmed
    hands.narrator.say(f"{confirmed} cameras have the config; {waiting} of {HELD_CUSTOMER} wait, untouched")
    await hands.look("6-between")
    command = ("delete", f"hold.backstay.dev/{resources.HOLD}", f"--namespace={NAMESPACE}")
    hands.narrator.command(await hands.stage.kubectl(*command))
    await hands.until("the rest", _everyone_confirmed, SHORT_SECONDS)
    hands.narrator.say("the hold is lifted, and they have followed")


async def server_away(hands: Hands) -> None:
    """Two Linux nodes get a wrong model, and the API server is stopped while they have it on trial."""
    stage, wrong = hands.stage, hands.stage.artifacts.box_model_misquantised
    objects = (resources.box_group(), resources.box_health_rule(), resources.box_plan(stage.artifacts.box_model))
    await hands.apply("act-7-boxes", *objects)
    await hands.until("the first model of the boxes", _in_phase("Succeeded"), SHORT_SECONDS)
    await hands.apply("act-7-plan", resources.box_plan(wrong))
    await hands.until("the wrong model on its way", _in_phase("Rolling"), SHORT_SECONDS)
    await stage.boxes_tell(f"{wrong.version}: PendingConfirm", SHORT_SECONDS)
    stage.sandbox.send(API_SERVER, signal.SIGSTOP)
    try:
        hands.narrator.say(
            f"both boxes have model {wrong.version} on trial; now the API server is stopped, and answers nobody"
        )
        # It is written down before it is done.
        await stage.boxes_tell(f"{wrong.version}: RolledBack", SHORT_SECONDS)
        await stage.boxes_use(stage.artifacts.box_model.version, SHORT_SECONDS)
        for box in stage.boxes:
            hands.narrator.say(f"{box.name} has gone back by itself: {box.told(f'{wrong.version}: RolledBack')}")
        await hands.look("7-between")
    finally:
        stage.sandbox.send(API_SERVER, signal.SIGCONT)
    hands.narrator.say("the API server goes on, and hears of it")
    await hands.until("the return of the boxes", _in_phase("RolledBack"), SHORT_SECONDS)


async def installed(hands: Hands) -> None:
    """The operator becomes a Pod that helm installed; a plan comes out of Git, and a person watches it on the page."""
    platform = hands.stage.platform
    if platform is None:
        raise StoryStuck("there is no image to install, because this machine cannot have Linux nodes")
    await _install(hands, platform)
    shown = pictures(hands.stage.directory)
    plan = f"/{NAMESPACE}/plans/{resources.PLAN}"
    async with signed_in(platform.page, plan, await hands.stage.token()) as page:
        hands.narrator.say(f"{resources.PERSON} has signed in: {platform.page}{plan}")
        await _release_from_git(hands, platform)
        await hands.until("a part of ring eu", _is_part_filled("eu"), LONG_SECONDS)
        await photograph(page, shown["rolling"])
        await hands.until("the release from Git", _in_phase("Succeeded"), LONG_SECONDS)
        await page.get_by_role("heading", name="Succeeded").wait_for()
        await photograph(page, shown["succeeded"])
    kept = ", ".join(str(file.relative_to(REPOSITORY)) for file in shown.values())
    hands.narrator.say(f"what the browser showed is kept: {kept}")


async def _install(hands: Hands, platform: Platform) -> None:
    """Put a Pod in the place of the process."""
    stage, narrator = hands.stage, hands.narrator
    await stage.processes.stop("operator")
    narrator.say("the operator, a process of this machine so far, has ended")
    await stage.sandbox.add_workloads()
    narrator.command(await installation.give_page_a_certificate(stage.sandbox))
    values = installation.values(platform.image, stage.boxes[0].node, stage.sandbox)
    narrator.command(await installation.install(stage.sandbox, values, stage.directory))
    narrator.say(f"Pod {await installation.leading_pod(stage.sandbox)} leads")
    narrator.command(await stage.open_page(platform))


async def _release_from_git(hands: Hands, platform: Platform) -> None:
    """Commit another config, and apply what was committed."""
    made, narrator, git = hands.stage.artifacts, hands.narrator, platform.git
    so_far = resources.plan(made.firmware_first, made.model_better, made.config_next)
    await git.begin(resources.documents(so_far))
    later = resources.plan(made.firmware_first, made.model_better, made.config_later)
    await to_thread(git.edit, resources.documents(later))
    for line in await git.changed():
        narrator.line(f"        {line}")
    for command in await git.commit(f"Release config {made.config_later.version}"):
        narrator.command(command)
    commit = await git.pull()
    narrator.command("git pull --ff-only")
    narrator.command(await hands.stage.apply_directory(git.deployed / Path(PLAN_FILE).parent))
    narrator.say(f"commit {commit} is what is applied")


def _in_phase(phase: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.is_answered and scene.phase == phase


def _everyone_confirmed(scene: Scene) -> bool:
    return bool(scene.rings) and all(ring.confirmed == ring.target for ring in scene.rings)


def _is_part_filled(ring: str) -> Callable[[Scene], bool]:
    return lambda scene: (
        scene.is_answered
        and (scene.ring, scene.phase) == (ring, "Rolling")
        and any(one.name == ring and one.confirmed > 0 for one in scene.rings)
    )


def _soaking(ring: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.is_answered and (scene.ring, scene.phase) == (ring, "Soaking")


ACTS: Final = (
    Act(
        1,
        "Everything new, ring by ring",
        "Firmware, model and config 1.0.0 are released to cameras that left the factory with 0.9.0: first to our own "
        "laboratory, then to three canaries, a tenth, the region eu, and everyone.",
        first_release,
        "Every camera took firmware, then model, then config, and each ring waited until the one before was healthy.",
    ),
    Act(
        2,
        "A better model, alone",
        "The data scientists have a better model. It goes out alone: no firmware restarts, no config changes, and each "
        "ring is promoted by the accuracy that its cameras measure. Before the first customer's camera changes, the "
        "laboratory proves that going back works: one camera goes back and forward again, and one is told to fail.",
        better_model,
        "Recovery was rehearsed first. Only the model changed; nothing restarted; accuracy rose, and it was accuracy "
        "that opened each ring.",
    ),
    Act(
        3,
        "A model quantised wrongly",
        "The next model was exported with the zero points' sign reversed. It loads, it answers, every probe on the "
        "camera passes; the laboratory's test card shows ones, which it still reads. The canaries see the world.",
        wrong_model,
        "All stayed online and confirmed; accuracy fell, the canary gate failed on it, and the model alone went back, "
        "frozen by digest. Nobody beyond the canaries was touched.",
    ),
    Act(
        4,
        "Firmware that hangs",
        "Firmware 2.0.0 hangs before it confirms. No server can reach such a camera: its watchdog and its bootloader "
        "have to bring it back.",
        hanging_firmware,
        "The cameras fell back by themselves; the plan went RollingBack, ended RolledBack, and froze the firmware.",
    ),
    Act(
        5,
        "A config that nobody can run",
        "Config 2.0.0 requires a model of at least 9.0.0, and there is none. It should not even begin.",
        impossible_config,
        "It was refused before anything shipped, with the requirement named.",
    ),
    Act(
        6,
        "One customer says stop",
        "Config 1.1.0 is good. But in the middle of its rollout a person stops the cameras of one customer.",
        stopped_customer,
        "Nothing new started on the held cameras while the others got the config; once the hold was lifted, the rest "
        "caught up through their rings.",
    ),
    Act(
        7,
        "A wrong model, and nobody to ask",
        "Two boxes stand at an assembly line: Linux nodes, each with a kubelet of its own and a Pod that serves a "
        "digit model by the Open Inference Protocol. Model 3.1.0 has its zero points reversed again, but it came with "
        "golden samples. While the boxes try it, the API server is stopped.",
        server_away,
        "Each box replayed the samples, found the model wrong, and went back in its window with nobody to ask; the "
        "operator learned of it afterwards, rolled the plan back and froze the model.",
        resources.BOX_PLAN,
        takes_nodes=True,
    ),
    Act(
        8,
        "Installed by helm, fed from Git, watched in a browser",
        "So far the operator was a process of this machine. A platform team installs it otherwise: as a Pod, by helm, "
        "over what was applied by hand before. Config 1.2.0 then comes as a commit, and somebody watches it arrive.",
        installed,
        "A Pod from the team's registry gave every order, what was applied is what was committed, and the page showed "
        "what the API server has.",
        takes_nodes=True,
    ),
)


def acts_on(stage: Stage) -> tuple[Act, ...]:
    """The acts that this machine can play: the last two take Linux nodes."""
    return ACTS if stage.boxes else tuple(act for act in ACTS if not act.takes_nodes)
