"""What goes wrong in a simulated release, in a grammar for the command line.

    bad-PLANE[=SHARE]          so many devices fail their probes on the plan's version, and go back by themselves
    silent-PLANE[=SHARE]       so many devices confirm it, and only signals show that it is bad
    offline=SHARE[/DURATION]   so many devices cannot be reached from the beginning, for ever or for so long
    falls-silent=SHARE         so many devices are never heard of again once they have begun their first step
    registry-outage=DURATION@TIME     nothing can be downloaded, for so long, from that time on
    prometheus-outage=DURATION@TIME   no signal can be read
    operator-crash@TIME        the operator dies, and another one takes over once the lease has run out

PLANE is firmware, model or config; SHARE is `0.3` or `30%`; DURATION and TIME are as `1h30m`, TIME from the beginning.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from backstay.api.durations import parse_duration
from backstay.core.planes import Plane
from backstay.errors import Refused

_EVERYBODY: Final = Fraction(1)
_DURATION: Final = re.compile(r"(\d+(\.\d+)?(h|m|s|ms))+")
_FAULT: Final = re.compile(r"(?P<name>[a-z]+(-[a-z]+)*)(=(?P<value>[^@]*))?(@(?P<time>.*))?")


@dataclass(frozen=True, slots=True)
class Outage:
    """A neighbour that is away for some time."""

    at: timedelta
    lasts: timedelta

    @property
    def ends(self) -> timedelta:
        """When it is back."""
        return self.at + self.lasts


@dataclass(frozen=True, slots=True)
class Offline:
    """Devices that cannot be reached from the beginning; for ever where no duration is given."""

    share: Fraction
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """All that goes wrong in one simulated release."""

    bad: Mapping[Plane, Fraction] = field(default_factory=lambda: MappingProxyType({}))
    silent: Mapping[Plane, Fraction] = field(default_factory=lambda: MappingProxyType({}))
    offline: Offline | None = None
    falls_silent: Fraction = Fraction(0)
    registry: tuple[Outage, ...] = ()
    prometheus: tuple[Outage, ...] = ()
    crashes: tuple[timedelta, ...] = ()

    @property
    def planes(self) -> frozenset[Plane]:
        """The planes whose version is bad."""
        return frozenset({*self.bad, *self.silent})


NO_FAULTS: Final = Faults()


def parse_faults(texts: Iterable[str]) -> Faults:
    """Read every fault; one kind of a plane or of the devices may be given once, outages and crashes often.

    Raises:
        Refused: naming the text that is wrong, and how it must read.
    """
    found = NO_FAULTS
    for text in texts:
        found = _with(found, text.strip())
    return found


def _with(faults: Faults, text: str) -> Faults:
    parts = _FAULT.fullmatch(text)
    if parts is None:
        raise Refused(f"{text!r} is not a fault; {_forms()}")
    name, value, time = parts["name"], parts["value"], parts["time"]
    kind, _, plane = name.partition("-")
    if kind in {"bad", "silent"} and plane in set(Plane):
        _no(time, text, "@TIME", f"{name}[=SHARE]")
        return _with_version(faults, kind, Plane(plane), _EVERYBODY if value is None else _share(value, text), text)
    if (read := _READERS.get(name)) is None:
        raise Refused(f"{text!r}: there is no fault {name}; {_forms()}")
    return read(faults, value, time, text)


def _with_version(faults: Faults, kind: str, plane: Plane, share: Fraction, text: str) -> Faults:
    if plane in faults.planes:
        raise Refused(f"{text!r}: the {plane} is bad already; give one fault for each plane")
    if kind == "bad":
        return replace(faults, bad={**faults.bad, plane: share})
    return replace(faults, silent={**faults.silent, plane: share})


def _offline(faults: Faults, value: str | None, time: str | None, text: str) -> Faults:
    form = "offline=SHARE[/DURATION]"
    _no(time, text, "@TIME", form)
    if faults.offline is not None:
        raise Refused(f"{text!r}: offline is given twice")
    share, slash, lasts = _value(value, text, form).partition("/")
    return replace(faults, offline=Offline(_share(share, text), _duration(lasts, text) if slash else None))


def _falls_silent(faults: Faults, value: str | None, time: str | None, text: str) -> Faults:
    form = "falls-silent=SHARE"
    _no(time, text, "@TIME", form)
    if faults.falls_silent:
        raise Refused(f"{text!r}: falls-silent is given twice")
    return replace(faults, falls_silent=_share(_value(value, text, form), text))


def _registry(faults: Faults, value: str | None, time: str | None, text: str) -> Faults:
    return replace(faults, registry=(*faults.registry, _outage("registry-outage", value, time, text)))


def _prometheus(faults: Faults, value: str | None, time: str | None, text: str) -> Faults:
    return replace(faults, prometheus=(*faults.prometheus, _outage("prometheus-outage", value, time, text)))


def _crash(faults: Faults, value: str | None, time: str | None, text: str) -> Faults:
    _no(value, text, "=", "operator-crash@TIME")
    if time is None:
        raise Refused(f"{text!r} says no time; it must read operator-crash@TIME, such as operator-crash@30m")
    return replace(faults, crashes=(*faults.crashes, _duration(time, text)))


_READERS: Final[Mapping[str, Callable[[Faults, str | None, str | None, str], Faults]]] = MappingProxyType(
    {
        "offline": _offline,
        "falls-silent": _falls_silent,
        "registry-outage": _registry,
        "prometheus-outage": _prometheus,
        "operator-crash": _crash,
    }
)


def _outage(name: str, value: str | None, time: str | None, text: str) -> Outage:
    form = f"{name}=DURATION@TIME"
    lasts = _duration(_value(value, text, form), text)
    if time is None:
        raise Refused(f"{text!r} says no time; it must read {form}, such as {name}=10m@1h")
    return Outage(_duration(time, text), lasts)


def _value(value: str | None, text: str, form: str) -> str:
    if value is None:
        raise Refused(f"{text!r} says too little; it must read {form}")
    return value


def _no(part: str | None, text: str, what: str, form: str) -> None:
    if part is not None:
        raise Refused(f"{text!r}: {what} means nothing here; it must read {form}")


def _share(text: str, fault: str) -> Fraction:
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        share = Fraction(Decimal(number)) / (100 if percent else 1)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise Refused(f"{fault!r}: {text!r} is not a share, such as 0.3 or 30%") from error
    if not 0 < share <= 1:
        raise Refused(f"{fault!r}: a share is above 0 and at most 1, or 100%, and not {text}")
    return share


def _duration(text: str, fault: str) -> timedelta:
    if not _DURATION.fullmatch(text):
        raise Refused(f"{fault!r}: {text!r} is not a duration, such as 90s, 15m or 1h30m")
    return parse_duration(text)


def _forms() -> str:
    forms = (
        "bad-PLANE[=SHARE]",
        "silent-PLANE[=SHARE]",
        "offline=SHARE[/DURATION]",
        "falls-silent=SHARE",
        "registry-outage=DURATION@TIME",
        "prometheus-outage=DURATION@TIME",
        "operator-crash@TIME",
    )
    return f"write one of {', '.join(forms)}"
