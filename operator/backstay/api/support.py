"""Which fields this version acts on. What a person sets beyond them is refused by path, never passed over in silence.

Every field of every spec stands in the table; a test walks the schemas and fails for one that does not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Final

from backstay.api import AgentLease, DeviceGroup, EdgeDevice, HealthRule, Hold, ReleasePlan, Resource
from backstay.api.probes import ProbeKind
from backstay.core.devices import Mode


@dataclass(frozen=True, slots=True)
class Acted:
    """The field is acted on."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The field is acted on with all that is in it."""


@dataclass(frozen=True, slots=True)
class Only:
    """Some values of the field are acted on."""

    values: frozenset[str | bool]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """The field is not acted on yet."""

    why: str


Support = Acted | Whole | Only | Later


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A field that is set to what this version does not do."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def unsupported(resource: Resource) -> tuple[Unsupported, ...]:
    """The fields of a resource that ask for what this version does not do, in the order of the document."""
    document = resource.to_document()["spec"]
    found = _findings(document, "spec", "spec", FIELDS[type(resource)])
    if isinstance(resource, EdgeDevice) and not document.get("node"):
        return (*found, *_beyond_a_gateway(document))
    return tuple(found)


def _beyond_a_gateway(spec: Mapping[str, object]) -> Iterator[Unsupported]:
    """What only a node does, asked of a device behind a gateway."""
    if spec.get("mode") == Mode.SAFE:
        yield Unsupported(
            "spec.mode", "Safe is for nodes: a device behind a gateway goes into safe mode by itself alone"
        )


def _findings(value: object, pattern: str, path: str, table: Mapping[str, Support]) -> Iterator[Unsupported]:
    match table.get(pattern):
        case Whole():
            return
        case Later(why) if value not in ([], {}):
            yield Unsupported(path, why)
        case Only(values, why) if isinstance(value, str | bool) and value not in values:
            yield Unsupported(path, f"{_shown(value)} {why}")
        case _:
            yield from _inside(value, pattern, path, table)


def _inside(value: object, pattern: str, path: str, table: Mapping[str, Support]) -> Iterator[Unsupported]:
    if isinstance(value, dict):
        parts = ((f"{pattern}.{key}", f"{path}.{key}", part) for key, part in value.items())
    elif isinstance(value, list):
        parts = ((f"{pattern}[]", f"{path}[{index}]", part) for index, part in enumerate(value))
    else:
        return
    yield from chain.from_iterable(_findings(part, inner, place, table) for inner, place, part in parts)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_ALONE: Final = "it is not supported yet; leave it out"
_WAIT_OR_HALT: Final = Only(frozenset({"Wait", "Halt"}))
_PLANES: Final = Only(frozenset({"firmware", "model", "config"}))
_PLANE_VERSION: Final[Mapping[str, Support]] = {
    "version": Acted(),
    "artifact": Acted(),
    "requires.firmware": Acted(),
    "requires.model": Acted(),
    "requires.config": Acted(),
    "irreversible": Acted(),
}
_PROBE_KINDS: Final = frozenset(kind.value for kind in ProbeKind if kind is not ProbeKind.FAIL_ON_PURPOSE)
_PROBE_FIELDS: Final = (
    *(
        "name",
        "within",
        "advisory",
        "consecutive",
        "input",
        "model",
        "minAgreement",
        "maxLatency",
        "min",
        "path",
        "margin",
    ),
    *("unit", "process", "pidFile", "pod", "minUptime", "driver", "minDriver", "minRuntime"),
)


def _under(prefix: str, table: Mapping[str, Support]) -> dict[str, Support]:
    return {f"{prefix}.{path}": support for path, support in table.items()}


_RELEASE_PLAN: Final[Mapping[str, Support]] = {
    "spec.groups[]": Acted(),
    **_under("spec.versions.firmware", _PLANE_VERSION),
    **_under("spec.versions.model", _PLANE_VERSION),
    **_under("spec.versions.config", _PLANE_VERSION),
    "spec.pullSecretRef": Later("registries that ask for credentials are not supported yet; leave it out"),
    "spec.success.confirmed": Acted(),
    "spec.success.of": Only(frozenset({"Started", "Target"})),
    "spec.success.minConfirmed": Acted(),
    "spec.success.offlineGrace": Acted(),
    "spec.rings[].name": Acted(),
    "spec.rings[].select": Whole(),
    "spec.rings[].size": Acted(),
    "spec.rings[].min": Acted(),
    "spec.rings[].spreadBy[]": Acted(),
    "spec.rings[].soak": Acted(),
    "spec.rings[].inFlight": Acted(),
    "spec.rings[].maxFailed": Acted(),
    "spec.rings[].minSamples": Acted(),
    "spec.rings[].rehearsal": Whole(),
    "spec.rings[].approval": Only(frozenset({"Automatic", "Manual"})),
    "spec.rings[].window": Whole(),
    "spec.health[]": Acted(),
    **_under("spec.deadlines", dict.fromkeys(("firmware", "model", "config"), Acted())),
    **_under("spec.confirmWindow", dict.fromkeys(("firmware", "model", "config"), Acted())),
    "spec.retries.attempts": Acted(),
    "spec.retries.backoff": Acted(),
    "spec.rollback.automatic": Acted(),
    "spec.rollback.order[]": _PLANES,
    "spec.rollback.scope": Only(frozenset({"Plan", "Ring", "Segment"})),
    "spec.rollback.verify": Acted(),
    "spec.stabilityWindow": Acted(),
    "spec.retain": Acted(),
    "spec.paused": Acted(),
}

_DEVICE_GROUP: Final[Mapping[str, Support]] = {
    "spec.selector": Whole(),
    "spec.maxUnavailable": Acted(),
    "spec.window": Whole(),
    "spec.enrol.names": Acted(),
    "spec.enrol.labels": Whole(),
    "spec.paused": Acted(),
}

_HEALTH_RULE: Final[Mapping[str, Support]] = {
    "spec.interval": Acted(),
    "spec.signals[].name": Acted(),
    "spec.signals[].blames[]": _PLANES,
    "spec.signals[].query": Acted(),
    "spec.signals[].min": Acted(),
    "spec.signals[].max": Acted(),
    "spec.signals[].compare.with": Only(frozenset({"Baseline"})),
    "spec.signals[].compare.direction": Only(frozenset({"Increase", "Decrease"})),
    "spec.signals[].compare.effect": Acted(),
    "spec.signals[].compare.confidence": Acted(),
    "spec.signals[].failureLimit": Acted(),
    "spec.signals[].totalFailureLimit": Acted(),
    "spec.signals[].initialDelay": Acted(),
    "spec.signals[].onNoData": Only(frozenset({"Wait", "Halt", "Fail"})),
    "spec.signals[].onProviderError": _WAIT_OR_HALT,
    "spec.signals[].onInconclusive": _WAIT_OR_HALT,
    "spec.signals[].waitLimit": Acted(),
    "spec.signals[].dryRun": Acted(),
    "spec.minReporting": Acted(),
    **_under("spec.probes[]", dict.fromkeys(_PROBE_FIELDS, Acted())),
    "spec.probes[].kind": Only(_PROBE_KINDS),
    "spec.probes[].trip": Only(frozenset({"Passive", "Hot", "Critical"})),
    "spec.probes[].blames[]": _PLANES,
}

_EDGE_DEVICE: Final[Mapping[str, Support]] = {
    "spec.class": Only(frozenset({"esp32", "rk3566"}), "devices are not supported yet"),
    "spec.gateway": Acted(),
    "spec.node": Acted(),
    "spec.mode": Only(frozenset({"Normal", "Safe"})),
    "spec.recover": Acted(),
    "spec.pins": Later(_ALONE),
    "spec.tokenGeneration": Acted(),
    "spec.revoked": Acted(),
    "spec.enrolled": Acted(),
    "spec.desired": Whole(),
}

_HOLD: Final[Mapping[str, Support]] = {
    "spec.scope.selector": Whole(),
    "spec.scope.groups[]": Acted(),
    "spec.scope.devices[]": Acted(),
    "spec.versions[].plane": _PLANES,
    "spec.versions[].digest": Acted(),
    "spec.inFlight": Only(frozenset({"Finish", "Return"})),
    "spec.reason": Acted(),
    "spec.until": Acted(),
}

_AGENT_LEASE: Final[Mapping[str, Support]] = {
    "spec.renewTime": Acted(),
    "spec.leaseDurationSeconds": Acted(),
}

FIELDS: Final[Mapping[type[Resource], Mapping[str, Support]]] = MappingProxyType(
    {
        ReleasePlan: _RELEASE_PLAN,
        DeviceGroup: _DEVICE_GROUP,
        HealthRule: _HEALTH_RULE,
        EdgeDevice: _EDGE_DEVICE,
        Hold: _HOLD,
        AgentLease: _AGENT_LEASE,
    }
)
"""What this version does with each field; `[]` stands for every item of a list."""
