"""The holds of a namespace: what is stopped, why, until when, and how to lift it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backstay.api import Hold
from backstay.api.hold import HoldScope
from backstay.ports.access import Kind
from backstay.ports.overview import Known
from backstay.web.commands import Command, command
from backstay.web.pages.page import Content, Fragment, NotThere, Sources
from backstay.web.rights import Reader

CONVICTION: Final = "backstay.dev/conviction"
MOST_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class HoldView:
    """One hold."""

    name: str
    problem: str
    scope: str
    lifting: Command
    versions: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    conviction: str = ""
    since: datetime | None = None
    until: datetime | None = None
    is_over: bool = False
    returns: bool = False


@dataclass(frozen=True, slots=True)
class HoldsPage:
    """All holds of a namespace."""

    namespace: str

    @property
    def calm_seconds(self) -> float:
        """A second: holds are few."""
        return 1.0

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now."""
        kinds = await reader.kinds(self.namespace)
        if Kind.HOLDS not in kinds or self.namespace not in sources.overview.namespaces():
            raise NotThere
        now = sources.clock.now()
        holds = [_view(self.namespace, known, now) for known in sources.overview.holds(self.namespace)]
        holds.sort(key=lambda hold: (hold.is_over, not hold.conviction, hold.name))
        standing = sum(not hold.is_over for hold in holds)
        return Content(
            title=f"Holds of {self.namespace}",
            template="holds.html",
            headline=f"{standing} holds stand in {self.namespace}",
            fragments={"holds": Fragment("hold_list.html", {"holds": tuple(holds), "namespace": self.namespace})},
            namespaces=(self.namespace,),
            namespace=self.namespace,
            kinds=kinds,
            section="holds",
        )


def _view(namespace: str, known: Known[Hold], now: datetime) -> HoldView:
    lifting = command("lift it", "lift", known.name, namespace=namespace)
    if (hold := known.model) is None:
        words = f"it cannot be read, so it stops everything: {known.problem}"
        return HoldView(known.name, words, "every device", lifting)
    spec = hold.spec
    return HoldView(
        name=known.name,
        problem="",
        scope="; ".join(_scope(spec.scope)),
        versions=tuple((held.plane.value, held.digest) for held in spec.versions),
        reason=spec.reason,
        conviction=hold.metadata.labels.get(CONVICTION, ""),
        since=hold.metadata.creation_timestamp,
        until=spec.until,
        is_over=spec.until is not None and spec.until <= now,
        returns=spec.in_flight.value == "Return",
        lifting=lifting,
    )


def _scope(scope: HoldScope | None) -> Iterator[str]:
    if scope is None:
        yield "every device"
        return
    if scope.groups:
        yield f"group {_some(scope.groups)}"
    if scope.devices:
        yield f"device {_some(scope.devices)}"
    if scope.selector is not None:
        document = scope.selector.to_document()
        labels = [f"{key}={value}" for key, value in sorted(document.get("matchLabels", {}).items())]
        labels += [_expression(one) for one in document.get("matchExpressions", ())]
        yield ", ".join(labels) or "every device"


def _expression(one: dict[str, object]) -> str:
    values = one.get("values") or ()
    listed = f" ({', '.join(map(str, values))})" if isinstance(values, list | tuple) and values else ""
    return f"{one['key']} {one['operator']}{listed}"


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
