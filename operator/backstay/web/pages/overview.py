"""The first page: what needs a person, what goes on by itself, what is quiet, and what the fleet runs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backstay.api import ReleasePlan
from backstay.api.releaseplan_status import RingStatus
from backstay.core.reasons import Reason
from backstay.core.why import NEXT
from backstay.ports.access import Kind
from backstay.ports.overview import Known, Overview
from backstay.web.bars import Bar, ring_bar
from backstay.web.commands import Command, of_plan
from backstay.web.pages.fleet import FleetTable, fleet_table
from backstay.web.pages.page import Content, Fragment, NotThere, Sources
from backstay.web.rights import Reader
from backstay.web.urgency import Rank, Stand, stand_of

MOST_NAMESPACES: Final = 100
MOST_PLANS: Final = 50
"""Of each sort; whoever has more in need of a person needs more than a longer page."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan."""

    namespace: str
    name: str
    stand: Stand
    ring: str
    bar: Bar
    versions: tuple[tuple[str, str], ...]
    since: datetime | None
    following: str
    """What a person does next."""
    command: Command | None


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """One namespace."""

    name: str
    plans: int | None
    holds: int | None
    fleet: FleetTable | None


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """Everything that a reader may see, or one namespace of it."""

    namespace: str | None = None

    @property
    def calm_seconds(self) -> float:
        """A second: what is read is counted already."""
        return 1.0

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now."""
        overview = sources.overview
        kinds = await self._kinds(reader, overview)
        seen = tuple(kinds)
        plans = [
            (stand_of(known), name, known)
            for name in seen
            if Kind.PLANS in kinds[name]
            for known in overview.plans(name)
        ]
        plans.sort(key=lambda plan: (plan[0].rank, plan[1], plan[2].name))
        counted = [name for name in seen if Kind.DEVICES in kinds[name]]
        waiting = [plan for plan in plans if plan[0].rank.needs_a_person]
        running = [plan for plan in plans if plan[0].rank.is_running]
        quiet = [plan for plan in plans if plan[0].rank is Rank.QUIET]
        shared = {"namespace": self.namespace, "sees_plans": any(Kind.PLANS in found for found in kinds.values())}
        fragments = {
            "waiting": Fragment("waiting.html", {**shared, **_listed(waiting)}),
            "running": Fragment("running.html", {**shared, **_listed(running)}),
            "quiet": Fragment("quiet.html", {**shared, **_listed(quiet)}),
            "fleet": Fragment(
                "fleet.html",
                {
                    "namespace": self.namespace,
                    "fleet": fleet_table(map(overview.census, counted)) if counted else None,
                },
            ),
        }
        if self.namespace is None:
            listed = [_namespace(overview, name, kinds[name]) for name in seen[:MOST_NAMESPACES]]
            fragments["namespaces"] = Fragment(
                "namespaces.html", {"rows": listed, "others": len(seen[MOST_NAMESPACES:])}
            )
        return Content(
            title=_title(waiting, self.namespace),
            template="overview.html",
            headline=_headline(waiting, running),
            fragments=fragments,
            namespaces=seen,
            namespace=self.namespace or "",
            kinds=kinds.get(self.namespace or "", frozenset()),
            section="plans" if self.namespace else "",
        )

    async def _kinds(self, reader: Reader, overview: Overview) -> dict[str, frozenset[Kind]]:
        """The namespaces that the page is about, and what its reader may list in each."""
        if self.namespace is None:
            return await reader.namespaces(overview.namespaces())
        kinds = await reader.kinds(self.namespace)
        if not kinds or self.namespace not in overview.namespaces():
            raise NotThere
        return {self.namespace: kinds}


_Placed = tuple[Stand, str, Known[ReleasePlan]]


def _listed(plans: list[_Placed]) -> dict[str, object]:
    return {"rows": [_row(*plan) for plan in plans[:MOST_PLANS]], "all": len(plans)}


def _row(stand: Stand, namespace: str, known: Known[ReleasePlan]) -> PlanRow:
    plan = known.model
    if plan is None:
        return PlanRow(namespace, known.name, stand, "", ring_bar(RingStatus(name="none")), (), None, "", None)
    status = plan.status
    versions = tuple((plane.value, wanted.version) for plane, wanted in plan.spec.versions.by_plane().items())
    whole = RingStatus(
        name="all",
        target=sum(ring.target for ring in status.rings),
        confirmed=sum(ring.confirmed for ring in status.rings),
        in_flight=sum(ring.in_flight for ring in status.rings),
        failed=sum(ring.failed for ring in status.rings),
        offline=sum(ring.offline for ring in status.rings),
    )
    offered = of_plan(plan, stand)
    return PlanRow(
        namespace,
        known.name,
        stand,
        status.ring,
        ring_bar(whole),
        versions,
        status.phase_since,
        next_of(stand.reason),
        offered[0] if stand.rank.needs_a_person and len(offered) > 1 else None,
    )


def next_of(reason: str) -> str:
    """What a person does about a reason, as `backstay why` says it."""
    try:
        return NEXT.get(Reason(reason), "")
    except ValueError:
        return ""


def _namespace(overview: Overview, name: str, kinds: frozenset[Kind]) -> NamespaceRow:
    return NamespaceRow(
        name,
        len(overview.plans(name)) if Kind.PLANS in kinds else None,
        len(overview.holds(name)) if Kind.HOLDS in kinds else None,
        fleet_table([overview.census(name)]) if Kind.DEVICES in kinds else None,
    )


def _title(waiting: list[_Placed], namespace: str | None) -> str:
    place = namespace or "Overview"
    return f"({len(waiting)}) {place}" if waiting else place


def _headline(waiting: list[_Placed], running: list[_Placed]) -> str:
    first = f", first {waiting[0][2].name}: {waiting[0][0].phase}" if waiting else ""
    need = "1 plan needs a person" if len(waiting) == 1 else f"{len(waiting) or 'no'} plans need a person"
    return f"{need}{first}; {len(running)} rolling out"
