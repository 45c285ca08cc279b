"""All that there is to say of some manifests."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from backstay.api.resource import Resource
from backstay.lint.advice import advise
from backstay.lint.finding import Finding, Severity
from backstay.lint.source import Written, documents
from backstay.lint.together import look_together
from backstay.lint.validity import Checked, kind_of


@dataclass(frozen=True, slots=True)
class Report:
    """What was found; more can be noted with its objects afterwards."""

    unreadable: tuple[Finding, ...]
    """What is none of our objects, and would have to be."""
    objects: tuple[Checked, ...]
    others: int
    """How many documents are of other kinds, which nothing was looked at of."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the files."""
        return tuple(sorted((*self.unreadable, *(found for one in self.objects for found in one.findings))))

    def count(self, severity: Severity) -> int:
        """How many findings there are of a severity."""
        return sum(found.severity is severity for found in self.findings)


def check(texts: Iterable[tuple[str, str]], now: datetime) -> Report:
    """Read manifests, each by its file's name and text, and say what is wrong with them, alone and together."""
    findings, objects, others = list[Finding](), list[Checked](), 0
    for file, text in texts:
        for found in documents(file, text):
            kind = kind_of(found) if isinstance(found, Written) else found
            if kind is None:
                others += 1
            elif isinstance(found, Written) and not isinstance(kind, Finding):
                objects.append(_checked(found, kind, now))
            elif isinstance(kind, Finding):
                findings.append(kind)
    look_together(tuple(objects))
    return Report(tuple(findings), tuple(objects), others)


def _checked(written: Written, kind: type[Resource], now: datetime) -> Checked:
    one = Checked(written, kind)
    advise(one, now)
    return one
