"""Whether the API server would store a document, and the operator would act on it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from backstay.adapters.promql import QueryRefused, resolve
from backstay.api import GROUP, KINDS, VERSION, HealthRule, InvalidDocument, Resource
from backstay.api.resource import Fault, field_path
from backstay.api.support import unsupported
from backstay.lint.finding import Finding, Place, Severity
from backstay.lint.schema import broken_rules, fields_at, repetitions, schema_of, type_faults, with_defaults
from backstay.lint.source import Path, Written

BY_NAME: Final = {kind.kind_name(): kind for kind in KINDS}
API_VERSION: Final = f"{GROUP}/{VERSION}"

_METADATA: Final = (
    *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid"),
    *("resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("managedFields", "selfLink"),
)
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_STEP: Final = re.compile(r"\w+")
_SOME_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Checked:
    """One document, what is wrong with it, and the object that it is where nothing is."""

    def __init__(self, written: Written, kind: type[Resource]) -> None:
        self.written = written
        self.kind = kind
        self.findings: list[Finding] = []
        self.resource: Resource | None = None
        metadata = written.content.get("metadata")
        self._metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        self._check()

    @property
    def namespace(self) -> str:
        """Empty where whoever applies it decides."""
        return str(self._metadata.get("namespace") or "")

    @property
    def name(self) -> str:
        """The object's name, or how the made-up one begins."""
        return str(self._metadata.get("name") or self._metadata.get("generateName") or "")

    @property
    def subject(self) -> str:
        """The object, for people."""
        return f"{self.kind.kind_name()} {f'{self.namespace}/' if self.namespace else ''}{self.name or '(no name)'}"

    def error(self, path: Path, message: str) -> None:
        """Note what is refused."""
        self._note(Severity.ERROR, path, message, self.written.place(path))

    def warn(self, path: Path, message: str) -> None:
        """Note what is probably not meant."""
        self._note(Severity.WARNING, path, message, self.written.place(path))

    def _note(self, severity: Severity, path: Path, message: str, place: Place) -> None:
        self.findings.append(Finding(place, severity, field_path(path), message, self.subject))

    def _check(self) -> None:
        resource, faults = self._read()
        bad: set[Path] = set()
        paths = [self._path_of(fault) for fault in faults]
        for fault, path in zip(faults, paths, strict=True):
            # What is wrong inside of a list also makes the models call the list empty.
            if self._is_new(path, fault) and not any(_lies_in(other, path) for other in paths):
                self._say(fault, path)
            bad.update(_upwards(path))
        for path, message in self._by_schema(bad):
            self.error(path, message)
        self._check_metadata()
        if resource is not None and not self.findings:
            self._check_support(resource)
            self.resource = resource

    def _read(self) -> tuple[Resource | None, tuple[Fault, ...]]:
        named = {"name": self._metadata["generateName"]} if "generateName" in self._metadata else {}
        content = self.written.content
        if self._metadata:
            content = content | {"metadata": named | self._metadata}
        try:
            return self.kind.from_document(content), ()
        except InvalidDocument as refusal:
            return None, refusal.faults

    def _path_of(self, fault: Fault) -> Path:
        """The path without what only the models know, such as the type that was tried."""
        there = self.written.written(fault.location)
        return fault.location if fault.is_missing else there

    def _is_new(self, path: Path, fault: Fault) -> bool:
        # A value that fits none of two types is wrong once.
        return fault.is_unknown or not any(found.path == field_path(path) for found in self.findings)

    def _say(self, fault: Fault, path: Path) -> None:
        if not fault.is_unknown:
            self.error(path, "is required" if fault.is_missing else _in_our_words(fault.message))
            return
        known = fields_at(schema_of(self.kind), path[:-1])
        message = f"unknown field{_meant(str(path[-1]), known)}"
        self._note(Severity.ERROR, path, message, self.written.key(path))

    def _by_schema(self, bad: set[Path]) -> Iterator[tuple[Path, str]]:
        schema = schema_of(self.kind)
        content = {key: part for key, part in self.written.content.items() if key in {"spec", "status"}}
        for path, message in (*type_faults(schema, content), *repetitions(schema, content)):
            if path not in bad:
                yield path, message
                bad.update(_upwards(path))
        yield from broken_rules(schema, with_defaults(schema, content), bad)

    def _check_metadata(self) -> None:
        for key in self._metadata.keys() - set(_METADATA):
            path = ("metadata", key)
            message = f"unknown field{_meant(key, _METADATA)}"
            self._note(Severity.ERROR, path, message, self.written.key(path))
        name = self._metadata.get("name")
        if isinstance(name, str) and not _OBJECT_NAME.fullmatch(name):
            self.error(("metadata", "name"), f"{name!r} is no object's name: lower-case letters, digits, '-' and '.'")
        labels = self._metadata.get("labels")
        for key, value in labels.items() if isinstance(labels, dict) else ():
            if not (isinstance(value, str) and _LABEL_VALUE.fullmatch(value)):
                self.error(("metadata", "labels", key), f"{value!r} is no label's value: at most 63 letters, digits, …")

    def _check_support(self, resource: Resource) -> None:
        for beyond in unsupported(resource):
            path = tuple(int(step) if step.isdigit() else step for step in _STEP.findall(beyond.path))
            self.error(path, f"NotYetSupported: {beyond.why}")
        if isinstance(resource, HealthRule):
            for index, signal in enumerate(resource.spec.signals):
                try:
                    resolve(signal.query, namespace="n", plan="p", revision="r", ring="r", since=_SOME_TIME)
                except QueryRefused as refusal:
                    self.error(("spec", "signals", index, "query"), str(refusal))


def kind_of(written: Written) -> type[Resource] | Finding | None:
    """Which of our kinds a document is; None where it is somebody else's."""
    version, kind = str(written.content.get("apiVersion", "")), str(written.content.get("kind", ""))
    group = version.partition("/")[0]
    if group == GROUP:
        if version != API_VERSION:
            message = f"there is no {version}; write {API_VERSION}"
            return Finding(written.place(("apiVersion",)), Severity.ERROR, "apiVersion", message)
        if kind not in BY_NAME:
            message = f"there is no kind {kind or '(none)'} in {API_VERSION}{_meant(kind, BY_NAME)}"
            return Finding(written.place(("kind",)), Severity.ERROR, "kind", message)
        return BY_NAME[kind]
    if kind in BY_NAME and get_close_matches(group, [GROUP]):
        message = f"the {kind} of {version} is none of ours; did you mean {API_VERSION}?"
        return Finding(written.place(("apiVersion",)), Severity.WARNING, "apiVersion", message)
    return None


def _lies_in(path: Path, around: Path) -> bool:
    return len(path) > len(around) and path[: len(around)] == around


def _upwards(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(len(path) + 1))


def _in_our_words(message: str) -> str:
    """Without what the models' library calls a value, a list and an object."""
    found = re.sub(r"^(Input|Tuple|String|Dictionary|List|Value) should ", "must ", message)
    return re.sub(r"a valid dictionary( or instance of \w+)?", "an object", found).replace("a valid tuple", "a list")


def _meant(word: str, known: "tuple[str, ...] | dict[str, type[Resource]]") -> str:
    """What was probably meant, also where it is only written otherwise."""
    folded = {name.replace("_", "").lower(): name for name in known}
    close = get_close_matches(word.replace("_", "").lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]}?" if close else ""
