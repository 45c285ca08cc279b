"""The architecture page says what the code says."""

import re
from pathlib import Path

from backstay.core.revision import TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"


def drawn(diagram: str) -> set[tuple[str, str, str]]:
    """The arrows of a picture, those of its box once for each phase in it."""
    box = re.search(r"as (\w+) \{(.*?)\}", diagram, re.DOTALL)
    assert box is not None
    members = set(re.findall(r"\w+(?= -->)|(?<=--> )\w+", box[2]))
    found = set()
    for before, after, words, back in re.findall(
        r"^ +(\w+) --> (\w+): (.*?)(?: \(and back: (.*)\))?$", diagram, re.MULTILINE
    ):
        sources, targets = (members if name == box[1] else {name} for name in (before, after))
        found |= {(source, target, words) for source in sources for target in targets}
        found |= {(target, source, back) for source in sources for target in targets if back}
    return found


def test_life_of_a_revision_is_drawn_as_the_table_has_it() -> None:
    _, _, diagram = PAGE.read_text(encoding="utf-8").partition("stateDiagram-v2")
    assert drawn(diagram.partition("```")[0]) == {
        (before.value, after.value, words) for before, afters in TRANSITIONS.items() for after, words in afters.items()
    }
