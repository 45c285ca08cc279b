"""The architecture page says what the code says."""

import re
from pathlib import Path

from backstay.core.revision import TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"


def test_life_of_a_revision_is_drawn_as_the_table_has_it() -> None:
    _, _, diagram = PAGE.read_text(encoding="utf-8").partition("stateDiagram-v2")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)", diagram.partition("```")[0], re.MULTILINE))
    assert drawn == {(before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters}
