"""The objects of one kind as they were last seen, parsed once: tens to hundreds of them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from backstay.adapters.kube.informer import is_newer
from backstay.api.resource import InvalidDocument, Resource

M = TypeVar("M", bound=Resource)
Json = dict[str, Any]
Key = tuple[str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen(Generic[M]):
    """An object: as the server sent it, and as a model, unless it is not valid."""

    raw: Json
    model: M | None
    problem: str = ""

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        return str(self.raw["metadata"]["resourceVersion"])

    @property
    def status(self) -> Json:
        """Its status as the server has it."""
        found: Json = self.raw.get("status") or {}
        return found


class Shelf(Generic[M]):
    """Keeps the newest version of each object, from whatever source it comes: watch, sweep, or our own write."""

    def __init__(self, model: type[M], changed: Callable[[str, str], None]) -> None:
        self._model = model
        self._changed = changed
        self._seen: dict[Key, Seen[M]] = {}
        self._names: defaultdict[str, set[str]] = defaultdict(set)

    def get(self, key: Key) -> Seen[M] | None:
        """The object of that namespace and name."""
        return self._seen.get(key)

    def all(self) -> tuple[tuple[Key, Seen[M]], ...]:
        """Every object by namespace and name."""
        return tuple(self._seen.items())

    def of_namespace(self, namespace: str) -> Iterator[tuple[str, Seen[M]]]:
        """The objects of a namespace, by name."""
        return iter([(name, self._seen[namespace, name]) for name in sorted(self._names.get(namespace, ()))])

    def namespaces(self) -> frozenset[str]:
        """The namespaces that have objects."""
        return frozenset(self._names)

    def put(self, raw: Json) -> None:
        """Take in an object, unless a newer version of it is here already."""
        metadata = raw["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        known = self._seen.get(key)
        if known is not None and not is_newer(metadata["resourceVersion"], known.version):
            return
        self._seen[key] = self._parsed(raw)
        self._names[key[0]].add(key[1])
        self._changed(*key)

    def remove(self, namespace: str, name: str) -> None:
        """Forget an object."""
        if self._seen.pop((namespace, name), None) is not None:
            self._names[namespace].discard(name)
            if not self._names[namespace]:
                del self._names[namespace]
            self._changed(namespace, name)

    def sweep(self, items: Iterable[Json], version: str) -> None:
        """Compare with a complete list: what is missing there and not newer than it was deleted unnoticed."""
        listed = {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in items}
        for key, seen in tuple(self._seen.items()):
            if key not in listed and not is_newer(seen.version, version):
                self.remove(*key)
        for item in listed.values():
            self.put(item)

    def _parsed(self, raw: Json) -> Seen[M]:
        try:
            return Seen(raw, self._model.from_document(raw))
        except InvalidDocument as error:
            log.warning("%s", error)
            return Seen(raw, None, str(error))
