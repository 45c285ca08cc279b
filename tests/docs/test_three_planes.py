"""The example of the page on planes is the search itself, and says what it shows."""

import doctest
from pathlib import Path

from tests.guides import blocks

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "three-planes.md"


def test_example_of_the_page_says_what_the_search_finds() -> None:
    example = "".join(blocks(PAGE.read_text(encoding="utf-8"), "python"))
    test = doctest.DocTestParser().get_doctest(example, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    outcome = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert outcome.attempted > 8
    assert outcome.failed == 0, "".join(told)
