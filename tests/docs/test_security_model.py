"""What the security page rests on is there: each test and each file that it names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = (
    "explanation/security-model.md",
    "explanation/three-planes.md",
    "how-to/upgrade-backstay.md",
    "reference/sources.md",
)
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in NAMED}


def test_tests_that_the_pages_name_exist() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^\s*(?:async )?def (test_\w+)", written, re.MULTILINE))
    for name, page in PAGES.items():
        assert set(re.findall(r"`(test_\w+)`", page)) <= known, name
    assert len(re.findall(r"`test_\w+`", PAGES["explanation/security-model.md"])) > 15


def test_files_that_the_pages_name_exist() -> None:
    for name, page in PAGES.items():
        paths = re.findall(r"`((?:tests|manifests|crds|operator)/[\w./-]+)`", page)
        assert [path for path in paths if not (ROOT / path).exists()] == [], name
