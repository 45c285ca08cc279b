"""Write, or check, the picture of a revision's life in the architecture page: drawn from the table that decides.

python scripts/state_diagram.py [--check]
"""

from collections import defaultdict
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Final

from pages import keep_drawn

from backstay.core.revision import TRANSITIONS, Phase

PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "architecture.md"
BEGIN, END = "<!-- state diagram: begin -->", "<!-- state diagram: end -->"
BOX: Final = "Forward"

Arrow = tuple[Phase, Phase, str]


def drawn() -> str:
    """A mermaid state diagram of the table, with its words on the arrows."""
    arrows = {(source, target, words) for source, after in TRANSITIONS.items() for target, words in after.items()}
    box = alike(arrows)
    leaving = {
        (target, words) for source, target, words in arrows if all((one, target, words) in arrows for one in box)
    }
    entering = {(source, words) for source, _, words in arrows if all((source, one, words) in arrows for one in box)}
    back = dict(entering)
    single = [arrow for arrow in arrows if not _is_shared(arrow, box, leaving, entering)]
    inside = [arrow for arrow in single if arrow[0] in box and arrow[1] in box]
    lines = [
        "    [*] --> Pending",
        f'    state "going forward" as {BOX} {{',
        *(f"    {line}" for line in _lines(inside)),
        "    }",
        *_lines(arrow for arrow in single if arrow not in inside),
        # Two arrows between the box and one phase would be drawn over each other.
        *(f"    {BOX} --> {phase}: {words}{_and_back(back.get(phase))}" for phase, words in sorted(leaving)),
        *(f"    {phase} --> {BOX}: {words}" for phase, words in sorted(entering) if phase not in dict(leaving)),
    ]
    return "\n".join([BEGIN, "```mermaid", "stateDiagram-v2", *lines, "```", END])


def alike(arrows: Iterable[Arrow]) -> frozenset[Phase]:
    """The most phases that lead to the same for the same reason: one box holds them, and one arrow stands for all."""
    sources: defaultdict[tuple[Phase, str], set[Phase]] = defaultdict(set)
    for source, target, words in arrows:
        sources[target, words].add(source)
    most = max(sources.values(), key=len)
    return frozenset(most)


def _is_shared(
    arrow: Arrow, box: frozenset[Phase], leaving: Container[tuple[Phase, str]], entering: Container[tuple[Phase, str]]
) -> bool:
    source, target, words = arrow
    return (source in box and (target, words) in leaving) or (target in box and (source, words) in entering)


def _and_back(words: str | None) -> str:
    return f" (and back: {words})" if words else ""


def _lines(arrows: Iterable[Arrow]) -> list[str]:
    order = list(Phase)
    placed = sorted(arrows, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1])))
    return [f"    {source} --> {target}: {words}" for source, target, words in placed]


def main() -> int:
    """Replace the picture in the page, or say that it is out of date."""
    return keep_drawn(PAGE, BEGIN, END, drawn(), what="state diagram", script="scripts/state_diagram.py")


if __name__ == "__main__":
    raise SystemExit(main())
