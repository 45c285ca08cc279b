"""The journal of a node in the words of people: what happened, and where the node stands."""

from collections.abc import Iterator
from pathlib import Path

from backstay.agent.journal import Entry, Journal, Memory
from backstay.core.planes import Plane
from backstay.core.safe_mode import reasons_for_safe_mode


def lines(journal: Journal, safe_mode_file: Path) -> Iterator[str]:
    """All of it, the oldest first, and the present last; blocking.

    Raises:
        JournalUnusable
    """
    for told in journal.history():
        yield f"{told.get('at', '?'):<27}{told.get('plane', '?'):<10}{told.get('what', '?')}"
    memory = journal.read()
    if not memory.boot:
        yield "no agent has run here yet"
        return
    yield ""
    yield from _node(memory, safe_mode_file)
    for plane, entry in sorted(memory.planes.items()):
        yield _plane(plane, entry)
    for one in memory.frozen:
        yield f"frozen here: {one.plane} {one.version} {one.content[:19]}, {one.why}"
    for content, left in sorted(memory.left.items(), key=lambda found: found[1]):
        yield f"kept for a way back: {content[:19]}, left {left.isoformat(timespec='seconds')}"


def _node(memory: Memory, safe_mode_file: Path) -> Iterator[str]:
    file = str(safe_mode_file) if safe_mode_file.exists() else None
    why = reasons_for_safe_mode(ordered=memory.ordered_safe, file=file, starts=memory.starts)
    yield f"node: safe mode: {'; '.join(why)}" if why else "node: normal operation"
    if memory.starts.failed > 1:
        yield f"node: {memory.starts.failed} starts in a row, this one among them, have come to nothing so far"
    if memory.recovered:
        yield f"node: recovered as a person asked (recover {memory.recovered})"


def _plane(plane: Plane, entry: Entry) -> str:
    order, cause = entry.progress.order, entry.progress.cause
    step = f", step {order.number} ({order.type} {order.version})" if order else ""
    return f"{plane}: {entry.progress.state}{step}{f': {cause}' if cause else ''}"
