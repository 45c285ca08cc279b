"""Where an operator tells how long each part of its work takes, and what belongs to what."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Spans(Protocol):
    """Takes note of pieces of work; those that begin inside of one, also in tasks, are parts of it."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[object]:
        """The block is a piece of work; attributes that are empty are left out."""
        ...


class NoSpans:
    """Nobody asked."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[object]:
        """Do nothing about the block."""
        del name, attributes
        return nullcontext()
