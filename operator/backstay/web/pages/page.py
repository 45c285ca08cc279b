"""What every page is: it reads for one reader, and comes in fragments that can be sent again by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from backstay.errors import NotFound
from backstay.ports.access import Kind
from backstay.ports.clock import Clock
from backstay.ports.overview import Overview
from backstay.web.graphs import Graphs
from backstay.web.rights import Reader
from backstay.web.told import Told


class NotThere(NotFound):
    """There is no such page, or none for this reader: the two must not be told apart."""

    def __init__(self) -> None:
        super().__init__("there is nothing here, or nothing that you may see")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pages read."""

    overview: Overview
    told: Told
    graphs: Graphs
    clock: Clock


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a page that is sent again when it has changed."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """A page as one reader sees it."""

    title: str
    template: str
    headline: str
    """What is said aloud when it changes: where things stand, without counters."""
    fragments: Mapping[str, Fragment]
    namespaces: tuple[str, ...]
    """A change in any of these may change the page."""
    namespace: str = ""
    kinds: frozenset[Kind] = frozenset()
    """What the reader may list in the page's namespace."""
    section: str = ""
    """Which part of the namespace this is: plans, devices or holds."""
    name: str = ""
    """The object that the page is about."""


class Page(Protocol):
    """One address."""

    @property
    def calm_seconds(self) -> float:
        """How long a stream of this page waits at least before it is read again."""
        ...

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now.

        Raises:
            NotThere: what it is about does not exist, or not for this reader.
            Unavailable: the API server does not say what the reader may see.
        """
        ...
