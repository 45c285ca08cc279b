"""The devices of a namespace, a page at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from backstay.core.devices import Device
from backstay.core.planes import Plane
from backstay.core.standing import Standing, standing_of
from backstay.errors import Refused
from backstay.ports.access import Kind
from backstay.ports.overview import Overview, Wanted
from backstay.web.bars import TONES
from backstay.web.pages.fleet import fleet_table
from backstay.web.pages.page import Content, Fragment, NotThere, Sources
from backstay.web.rights import Reader

ROWS: Final = 50
LONGEST_TEXT: Final = 1_024
FIELDS: Final = ("name", "group", "labels", "state", "plane", "version", "after", "order")


class BadFilter(Refused):
    """The address asks for devices in words that mean nothing."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device."""

    device: Device
    standing: Standing
    tone: str
    planes: tuple[tuple[Plane, str, str], ...]
    """Plane, version, and what is going on where it is not at rest."""
    words: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class DevicesPage:
    """Devices by a filter, from one name on."""

    namespace: str
    asked: Mapping[str, str]
    """The filter as it was written, without what was left empty."""
    wanted: Wanted
    after: str = ""
    backwards: bool = False

    @classmethod
    def from_query(cls, namespace: str, query: Sequence[tuple[str, str]]) -> "DevicesPage":
        """Read the filter of an address.

        Raises:
            BadFilter: naming the field that cannot be read.
        """
        asked = {key: value.strip() for key, value in query if value.strip()}
        times = Counter(key for key, _ in query)
        for key, value in asked.items():
            if times[key] > 1:
                raise BadFilter(f"{key!r} is given {times[key]} times; give it once")
            if key not in FIELDS:
                raise BadFilter(f"devices cannot be asked for by {key!r}, only by {', '.join(FIELDS)}")
            if len(value) > LONGEST_TEXT:
                raise BadFilter(f"{key} is longer than {LONGEST_TEXT} characters")
        order = asked.get("order", "name")
        if order not in {"name", "-name"}:
            raise BadFilter(f"order {order!r} is neither name nor -name")
        wanted = Wanted(
            begins=asked.get("name", ""),
            group=asked.get("group", ""),
            labels=_labels(asked.get("labels", "")),
            standing=_standing(asked.get("state", "")),
            plane=_plane(asked.get("plane", "")),
            version=asked.get("version", ""),
        )
        return cls(namespace, asked, wanted, asked.get("after", ""), order == "-name")

    @property
    def calm_seconds(self) -> float:
        """Two seconds; longer where a filter may look at the whole fleet to fill one page."""
        wanted = self.wanted
        looks_at_many = wanted.group or wanted.labels or wanted.standing or wanted.version
        return 10.0 if looks_at_many else 2.0

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now."""
        kinds = await reader.kinds(self.namespace)
        overview = sources.overview
        if Kind.DEVICES not in kinds or self.namespace not in overview.namespaces():
            raise NotThere
        found = await overview.devices(
            self.namespace, self.wanted, after=self.after, limit=ROWS, backwards=self.backwards
        )
        values = {
            "namespace": self.namespace,
            "rows": tuple(map(_row, found.devices)),
            "next": self._address(after=found.following) if found.following else "",
            "first": self._address(after="") if self.after else "",
            "turned": self._address(after="", order="name" if self.backwards else "-name"),
            "backwards": self.backwards,
            "total": self._total(overview),
        }
        return Content(
            title=f"Devices of {self.namespace}",
            template="devices.html",
            headline="",
            fragments={
                "chips": Fragment("chips.html", self._chips(overview)),
                "filter": Fragment("filter.html", self._filter(overview, kinds)),
                "list": Fragment("device_list.html", values),
            },
            namespaces=(self.namespace,),
            namespace=self.namespace,
            kinds=kinds,
            section="devices",
        )

    def _chips(self, overview: Overview) -> dict[str, object]:
        table = fleet_table([overview.census(self.namespace)])
        links = {standing: self._address(after="", state=standing.value) for standing in Standing}
        return {
            "fleet": table,
            "links": links,
            "all": self._address(after="", state=""),
            "chosen": self.wanted.standing,
        }

    def _filter(self, overview: Overview, kinds: frozenset[Kind]) -> dict[str, object]:
        versions = sorted({(what.plane, what.version) for what, _ in overview.census(self.namespace).by_running})
        groups = [known.name for known in overview.groups(self.namespace)] if Kind.GROUPS in kinds else []
        return {
            "namespace": self.namespace,
            "asked": self.asked,
            "groups": groups,
            "planes": tuple(Plane),
            "versions": sorted({version for _, version in versions if version}),
            "standings": tuple(Standing),
            "cleared": f"/{self.namespace}/devices" if self.asked else "",
        }

    def _total(self, overview: Overview) -> int | None:
        """How many there are altogether, where that is counted already."""
        wanted, census = self.wanted, overview.census(self.namespace)
        if wanted.begins or wanted.group or wanted.labels:
            return None
        if not wanted.version:
            return census.devices if wanted.standing is None else census.by_standing[wanted.standing]
        if wanted.plane is None:
            return None
        return sum(
            count
            for (what, standing), count in census.by_running.items()
            if (what.plane, what.version) == (wanted.plane, wanted.version) and wanted.standing in {None, standing}
        )

    def _address(self, **changed: str) -> str:
        query = {key: value for key, value in ({**self.asked, **changed}).items() if value}
        return f"/{self.namespace}/devices" + (f"?{urlencode(query)}" if query else "")


def _row(device: Device) -> DeviceRow:
    standing = standing_of(device)
    planes = tuple((plane, device.status(plane).version, device.status(plane).state.value) for plane in Plane)
    since = max((status.since for status in device.planes.values() if status.since), default=None)
    return DeviceRow(device, standing, TONES[standing], planes, _words(device, standing), since)


def _words(device: Device, standing: Standing) -> str:
    """What stands behind a device's standing."""
    step = device.step
    if standing is Standing.UNHEALTHY:
        return f"fails {', '.join(device.failing)}"
    if standing is Standing.FAILED and step is not None:
        status = device.status(step.plane)
        return f"{step.plane}: {status.reason or status.state.value}"
    if standing is Standing.CHANGING and step is not None:
        doing = device.status(step.plane).state.value if device.begun else "not begun yet"
        return f"{step.type.lower()}s its {step.plane}: {doing}"
    if device.safe:
        return "safe mode"
    return "revoked, or asks for more than this version can keep" if device.revoked else ""


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise BadFilter(f"labels: {part!r} is not KEY=VALUE; several are separated by commas")
        found[key.strip()] = value.strip()
    return found


def _standing(text: str) -> Standing | None:
    try:
        return Standing(text) if text else None
    except ValueError as error:
        raise BadFilter(f"state {text!r} is none of {', '.join(Standing)}") from error


def _plane(text: str) -> Plane | None:
    try:
        return Plane(text) if text else None
    except ValueError as error:
        raise BadFilter(f"plane {text!r} is none of {', '.join(Plane)}") from error
