"""What a plan's versions are, by the word of the registry: asked in the background, remembered, asked again.

A plan is refused here when it asks for what cannot be found, is not what the plan says it is, is not
signed by whom it should be, or needs what this version does not do yet. Nothing of it starts then.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, assert_never

from backstay.api import ReleasePlan
from backstay.api.releaseplan import PlaneVersion
from backstay.api.support import unsupported
from backstay.core.planes import Plane, Release
from backstay.core.reasons import Because, Reason
from backstay.errors import BackstayError
from backstay.ports.clock import Clock
from backstay.ports.registry import ArtifactDescription, Registry
from backstay.ports.verify import NotConfigured, Unverified, Verdict, Verified, Verifier

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class Refusal(StrEnum):
    """The reasons of `Accepted=False`."""

    NOT_YET_SUPPORTED = "NotYetSupported"
    INVALID = "Invalid"
    ARTIFACT_UNRESOLVED = "ArtifactUnresolved"
    ARTIFACT_MISMATCH = "ArtifactMismatch"
    NOT_VERIFIED = "NotVerified"
    NO_DEVICES = "NoDevices"
    RULE_MISSING = "RuleMissing"
    GROUP_MISSING = "GroupMissing"


@dataclass(frozen=True, slots=True)
class Refused:
    """The plan's versions may not start."""

    reason: Refusal
    message: str
    retry_after_seconds: float | None = None

    @property
    def because(self) -> Because:
        """The refusal as a decision takes it."""
        known = Reason.UNRESOLVED_ARTIFACT if self.reason is Refusal.ARTIFACT_UNRESOLVED else Reason.BLOCKED
        return Because(known, self.message)


@dataclass(frozen=True, slots=True)
class Resolving:
    """The registry has not answered yet; the plan is woken when it has."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What every plane's artifact declares, and whether anybody vouches for them."""

    releases: Mapping[Plane, Release]
    signatures: Mapping[Plane, Verdict]


Resolution = Refused | Resolving | Resolved
_Found = tuple[ArtifactDescription, Verdict]


@dataclass(slots=True)
class _Attempt:
    """What is known of one artifact for one class."""

    task: asyncio.Task[None] | None = None
    found: _Found | None = None
    error: BackstayError | None = None
    not_before: float = 0.0
    delay: float = FIRST_RETRY_SECONDS
    woken: set[Callable[[], None]] = field(default_factory=set)

    @property
    def settled(self) -> bool:
        """Whether nothing that is done in the registry can change the answer; a signature can come later."""
        return self.found is not None and not isinstance(self.found[1], Unverified)

    def postpone(self, now: float) -> None:
        """Ask again later, and each time later than the last."""
        self.not_before = now + self.delay
        self.delay = min(self.delay * 2, LONGEST_RETRY_SECONDS)

    def wait_seconds(self, now: float) -> float:
        """How long until the registry may be asked again."""
        return max(0.0, self.not_before - now)


class Lookup(Protocol):
    """Knows what artifacts declare, or finds it out."""

    def look_up(
        self,
        versions: Mapping[Plane, PlaneVersion],
        device_class: str,
        declared: Callable[[str], Release | None],
        wake: Callable[[], None],
    ) -> Resolution:
        """Say what is known now, without waiting."""
        ...


class Resolver:
    """Resolves artifacts for every plan of this operator; each is read once."""

    def __init__(self, registry: Registry, verifier: Verifier, clock: Clock, tasks: asyncio.TaskGroup) -> None:
        self._registry = registry
        self._verifier = verifier
        self._clock = clock
        self._tasks = tasks
        self._attempts: dict[tuple[str, str], _Attempt] = {}

    def look_up(
        self,
        versions: Mapping[Plane, PlaneVersion],
        device_class: str,
        declared: Callable[[str], Release | None],
        wake: Callable[[], None],
    ) -> Resolution:
        """Say what is known now, without waiting; what is not known is asked for, and `wake` called when it is.

        What an earlier revision already resolved needs no registry: `declared` gives it.
        """
        releases: dict[Plane, Release] = {}
        signatures: dict[Plane, Verdict] = {}
        waits: dict[Plane, float] = {}
        for plane, version in versions.items():
            found = self._attempt(version.artifact, device_class, wake)
            if found.found is not None:
                artifact, signatures[plane] = found.found
                waits[plane] = found.wait_seconds(self._clock.monotonic())
                if problem := _mismatch(plane, version, artifact, device_class):
                    return Refused(Refusal.ARTIFACT_MISMATCH, problem)
                releases[plane] = artifact.release()
            elif (release := declared(version.artifact)) is not None and release.version == version.version:
                releases[plane] = release
            elif found.error is not None:
                wait = found.wait_seconds(self._clock.monotonic())
                return Refused(Refusal.ARTIFACT_UNRESOLVED, f"{plane} {version.version}: {found.error}", wait)
            else:
                return Resolving()
        return _signed(releases, signatures, waits)

    def _attempt(self, reference: str, device_class: str, wake: Callable[[], None]) -> _Attempt:
        attempt = self._attempts.setdefault((reference, device_class), _Attempt())
        if not attempt.settled:
            attempt.woken.add(wake)
            is_due = self._clock.monotonic() >= attempt.not_before
            if is_due and (attempt.task is None or attempt.task.done()):
                attempt.task = self._tasks.create_task(self._ask(attempt, reference, device_class))
        return attempt

    async def _ask(self, attempt: _Attempt, reference: str, device_class: str) -> None:
        try:
            artifact = await self._registry.resolve(reference, device_class)
            attempt.found = (artifact, await self._verifier.verify(artifact))
            attempt.error = None
            if not attempt.settled:
                attempt.postpone(self._clock.monotonic())
        except BackstayError as error:
            log.warning("%s cannot be resolved: %s", reference, error)
            attempt.error = error
            attempt.postpone(self._clock.monotonic())
        woken, attempt.woken = attempt.woken, set()
        for wake in woken:
            wake()


def refused_by_itself(plan: ReleasePlan) -> Refused | None:
    """What the plan alone shows to be impossible."""
    if beyond := unsupported(plan):
        return Refused(Refusal.NOT_YET_SUPPORTED, "; ".join(map(str, beyond)))
    return None


def _mismatch(plane: Plane, version: PlaneVersion, artifact: ArtifactDescription, device_class: str) -> str:
    """How the artifact differs from what the plan says it is, in words; empty where it does not."""
    where = f"spec.versions.{plane}: {version.artifact}"
    if artifact.plane is not plane:
        return f"{where} is a {artifact.plane}, not a {plane}"
    if artifact.version != version.version:
        return f"{where} is version {artifact.version}, and the plan says {version.version}"
    if artifact.device_class != device_class:
        return f"{where} is for {artifact.device_class}, and the plan's devices are {device_class}"
    return ""


def _signed(
    releases: Mapping[Plane, Release], signatures: Mapping[Plane, Verdict], waits: Mapping[Plane, float]
) -> Resolution:
    for plane, verdict in signatures.items():
        match verdict:
            case Unverified(reason, detail):
                told = f"{plane} {releases[plane].version}: {reason}: {detail}"
                return Refused(Refusal.NOT_VERIFIED, told, waits[plane])
            case Verified() | NotConfigured():
                continue
            case _:
                assert_never(verdict)
    return Resolved(releases, signatures)
