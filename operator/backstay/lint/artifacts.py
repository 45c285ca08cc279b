"""What the registry says of the artifacts that plans name: whether they are there, are what is said, and are signed."""

from collections.abc import Iterable
from dataclasses import dataclass

from backstay.api import ReleasePlan
from backstay.api.conversion import tightened
from backstay.api.releaseplan import PlaneVersion
from backstay.core.planes import Plane, Release
from backstay.errors import BackstayError, Unavailable
from backstay.lint.together import contradictions
from backstay.lint.validity import Checked
from backstay.ports.registry import ArtifactDescription, Registry
from backstay.ports.verify import Unverified, Verifier


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask, and for which device classes."""

    registry: Registry
    verifier: Verifier
    classes: tuple[str, ...]


async def look_at_artifacts(objects: Iterable[Checked], asked: Asked) -> None:
    """Note with each plan what is wrong with its artifacts; a registry that does not answer is a warning."""
    for one in objects:
        if isinstance(one.resource, ReleasePlan):
            await _look_at_plan(one, one.resource, asked)


async def _look_at_plan(one: Checked, plan: ReleasePlan, asked: Asked) -> None:
    releases: dict[Plane, Release] = {}
    for plane, version in plan.spec.versions.by_plane().items():
        found = await _described(one, plane, version, asked)
        if found is None or not _is_what_is_said(one, plane, version, found):
            continue
        verdict = await asked.verifier.verify(found)
        if isinstance(verdict, Unverified):
            one.error(("spec", "versions", plane, "artifact"), f"NotVerified: {verdict.reason}: {verdict.detail}")
        releases[plane] = tightened(found.release(), version)
    for plane, why in contradictions(releases):
        one.error(("spec", "versions", plane), f"the artifacts contradict each other: {why}")


async def _described(one: Checked, plane: Plane, version: PlaneVersion, asked: Asked) -> ArtifactDescription | None:
    """What the registry says of an artifact, for the first class that it is for."""
    problem: BackstayError | None = None
    for device_class in asked.classes:
        try:
            return await asked.registry.resolve(version.artifact, device_class)
        except BackstayError as error:
            problem = error
    path = ("spec", "versions", plane, "artifact")
    if isinstance(problem, Unavailable):
        one.warn(path, f"the registry could not be asked: {problem}")
    else:
        one.error(path, f"ArtifactUnresolved: {problem}")
    return None


def _is_what_is_said(one: Checked, plane: Plane, version: PlaneVersion, found: ArtifactDescription) -> bool:
    path = ("spec", "versions", plane)
    if found.plane is not plane:
        one.error((*path, "artifact"), f"ArtifactMismatch: it is a {found.plane}, not a {plane}")
        return False
    if found.version != version.version:
        one.error((*path, "version"), f"ArtifactMismatch: the artifact is version {found.version}")
        return False
    return True
