"""What a person may ask of a plan once, beside its spec: approve, retry, rollback, resume.

A request is the annotation `backstay.dev/request: <verb>@<revision>/<ring>/<nonce>`. Each is answered once, whatever
becomes of it, so that a Git-driven tool that writes it again changes nothing. The ring is the one that `approve` is
about; with the other verbs, which are about the whole revision, it is whatever the person saw, or a dash.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backstay.core.devices import RevisionName

_FORM: Final = re.compile(r"([a-z]+)@([a-f0-9]{8,16}-[0-9]{1,10})/([a-z0-9-]{1,63})/([A-Za-z0-9._:-]{1,128})")
LONGEST: Final = 512


class Verb(StrEnum):
    """What is asked for."""

    APPROVE = "approve"
    """Let a ring start that waits for approval."""
    RETRY = "retry"
    """Order the failed devices again; of a revision that has gone back, start its versions anew."""
    ROLLBACK = "rollback"
    """Take the revision back, all of it, whatever its signals say."""
    RESUME = "resume"
    """Go on where the rollout halted, with the failures so far accepted."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its text is how it is acknowledged."""

    text: str
    verb: Verb
    revision: RevisionName
    ring: str
    nonce: str
    by: str = ""
    """Who asked, as far as the cluster says."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A request that is not of the form, and how it must be."""

    text: str
    why: str


def parse_request(text: str, by: str = "") -> Request | Unreadable:
    """Read the annotation; what cannot be read is acknowledged too, so that a person sees why nothing happens."""
    form = "it must read <verb>@<revision>/<ring>/<nonce>, such as approve@0ff0650b3c-3/canary/1"
    if not (found := _FORM.fullmatch(text)):
        return Unreadable(text[:LONGEST], f"{text[:80]!r} is not a request; {form}")
    if found[1] not in set(Verb):
        verbs = ", ".join(Verb)
        return Unreadable(text[:LONGEST], f"{found[1]!r} is not one of {verbs}; {form}")
    return Request(text, Verb(found[1]), RevisionName(found[2]), found[3], found[4], by)
