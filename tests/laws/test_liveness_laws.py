"""Promise 13, the other half: nothing blocks a release for ever without saying what it waits for."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from backstay.core.reasons import Reason
from backstay.core.revision import ENDS
from backstay.core.signals import Result
from tests.laws.release_rules import ReleaseRules, examples

WAITS_FOR_A_PERSON: Final = frozenset(
    {
        Reason.NO_PATH,
        Reason.NO_WAY_BACK,
        Reason.FROZEN,
        Reason.CONFLICT,
        Reason.EMPTY_RING,
        Reason.WAITING_FOR_APPROVAL,
        Reason.BLOCKED,
        Reason.BUDGET_SPENT,
        Reason.CANNOT_FALL_BACK,
        Reason.HELD,
    }
)
"""Whatever of these is named, a person can find it in a condition; everything else has to end by itself."""


class LivenessLaws(ReleaseRules):
    """After any history: people stop, everything works, time passes. Then it is over, or says what it waits for."""

    def teardown(self) -> None:
        world = self.world
        if not world.truth:
            return
        for name, device in world.truth.items():
            world.write(replace(device, reachable=True, failing=(), revoked=False))
            world.silent.discard(name)
        world.stubborn.clear()
        world.liars.clear()
        world.unbreakable.clear()
        world.bad = world.failing_probes = frozenset()
        world.registry_away, world.result = False, Result.PASS
        world.holds = tuple(hold for hold in world.holds if hold.versions and not hold.names_devices)
        world.groups, world.asked, world.refusal = {}, None, None
        world.plan = replace(
            world.plan, paused=False, rings=tuple(replace(ring, windows=()) for ring in world.plan.rings)
        )
        for _ in range(12):
            world.run(600, step=20)
            world.now += timedelta(hours=20)
        assert world.state is not None
        assert world.decision is not None
        named = {because.reason for because in world.decision.because}
        assert world.state.phase in ENDS or named & WAITS_FOR_A_PERSON, (world.state.phase, world.decision.because)


TestLivenessLaws = LivenessLaws.TestCase
TestLivenessLaws.settings = examples(30)
