"""No how-to guide has a block of shell that no test runs."""

from pathlib import Path

import pytest

from tests.guides import blocks

ROOT = Path(__file__).parents[2]
GUIDES = [page for folder in ("how-to", "tutorial") for page in sorted((ROOT / "docs" / folder).glob("*.md"))]
TESTS = {
    path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)
}
# `make demo` is run as it stands in CI, and what the page shows of it is read by eye.
BY_EYE = {"demo.md"}


@pytest.mark.parametrize("guide", [page for page in GUIDES if page.name not in BY_EYE], ids=lambda page: page.stem)
def test_guide_with_commands_is_read_by_a_test(guide: Path) -> None:
    if blocks(guide.read_text(encoding="utf-8"), "sh"):
        assert [path.name for path, text in TESTS.items() if f'"{guide.name}"' in text and "blocks(" in text] != []
