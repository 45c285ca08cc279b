"""The site is built without a warning, fails on what is dead or astray, and asks no other host for anything.

Other hosts are not asked here, so of links that lead away only the form is checked, and that `reference/sources.md`
has them with the day on which somebody looked.
"""

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
MKDOCS = Path(sys.executable).with_name("mkdocs")
LINK = re.compile(r"(?<!!)\]\(([^)\s]+)\)")
AWAY = re.compile(r"https?://[^\s)>\"'`|]+")
EXAMPLE = re.compile(r"\.example\b|^127\.0\.0\.1|^localhost|^backstay\.dev$")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|^ {4}[^\n]*$", re.MULTILINE | re.DOTALL)
WRITTEN = sorted((ROOT / "docs").rglob("*.md"))
FRONT = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
SOURCES = ROOT / "docs" / "reference" / "sources.md"


def build(checkout: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = (MKDOCS, "build", "--strict", "--site-dir", site, "--config-file", checkout / "mkdocs.yml")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=90)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    done = build(ROOT, site)
    assert done.returncode == 0, done.stderr
    return site


class Requests(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        asked = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}.get(tag)
        self.found += [value for name, value in attrs if name == asked and value]


def test_pages_ask_no_other_host_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(WRITTEN)
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        away = [found for found in requests.found if urlsplit(found).netloc]
        assert away == [], page.relative_to(site)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style.relative_to(site)


def test_page_outside_docs_is_shown_on_the_site(site: Path) -> None:
    shown = (site / "repository/manifests/argocd/applicationset.yaml/index.html").read_text(encoding="utf-8")
    assert "RollingSync" in shown
    assert "applicationset.yaml" in (site / "how-to/run-a-million-devices/index.html").read_text(encoding="utf-8")


def test_site_is_not_built_when_a_page_or_anchor_is_missing_or_a_page_is_astray(tmp_path: Path) -> None:
    copy = checkout(tmp_path)
    dead = "[a](how-to/no-such-page.md) [b](how-to/ask-and-hold.md#no-such-place)"
    (copy / "docs" / "index.md").write_text(f"# Backstay\n\n{dead}\n", encoding="utf-8")
    (copy / "docs" / "how-to" / "astray.md").write_text("# Astray\n", encoding="utf-8")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert [words for words in ("no-such-page.md", "no-such-place", "astray.md") if words not in done.stderr] == []


def test_site_is_not_built_when_it_names_a_file_that_is_not_in_the_checkout(tmp_path: Path) -> None:
    copy = checkout(tmp_path)
    (copy / "docs" / "index.md").write_text("# Backstay\n\n[a](../manifests/no-such-file.yaml)\n", encoding="utf-8")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert "no-such-file.yaml" in done.stderr


def checkout(directory: Path) -> Path:
    """A copy of what the site is made from."""
    copy = directory / "checkout"
    for name in ("docs", "manifests", "scripts", "tests", "demo", "helm", "image", "crds"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("mkdocs.yml", "CHANGELOG.md", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    return copy


# What the site does not build


def near_links() -> list[tuple[Path, str]]:
    found = [(page, link) for page in FRONT for link in LINK.findall(page.read_text(encoding="utf-8"))]
    return [(page, link) for page, link in found if not urlsplit(link).scheme]


@pytest.mark.parametrize(("page", "link"), near_links())
def test_link_of_the_front_page_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path
    assert target.exists(), f"{page.name} links to {link}"
    if anchor:
        headings = re.findall(r"^#+ +(.+?)\s*$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_path_in_the_readme_is_there() -> None:
    named = re.findall(r"`((?:docs|manifests|crds|demo|tests)/[\w./-]+)`", (ROOT / "README.md").read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def away_links() -> dict[str, Path]:
    """Each address that a page leads to, and one such page. What stands in a block of code leads nowhere."""
    found = {}
    for page in (*WRITTEN, *FRONT):
        text = CODE.sub("", page.read_text(encoding="utf-8"))
        found |= {link.rstrip(".,;"): page for link in AWAY.findall(text)}
    return {link: page for link, page in found.items() if not EXAMPLE.search(urlsplit(link).netloc)}


@pytest.mark.parametrize(("link", "page"), sorted(away_links().items()))
def test_link_that_leads_away_is_whole_and_among_the_sources(link: str, page: Path) -> None:
    parts = urlsplit(link)
    assert parts.scheme == "https", page
    assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), page
    rows = [row for row in SOURCES.read_text(encoding="utf-8").splitlines() if f"<{link}>" in row]
    assert len(rows) == 1, (
        f"{page.name} leads to {link}: put it into {SOURCES.name}, with the day on which you looked at it"
    )
    looked_at = re.search(r"\| (\d{4}-\d{2}-\d{2}) \|$", rows[0])
    assert looked_at is not None
    assert date.fromisoformat(looked_at[1]) > date(2025, 1, 1)


def test_sources_are_numbered_as_the_comparison_numbers_them() -> None:
    numbers = [int(found) for found in re.findall(r"^\| (\d+) \|", SOURCES.read_text(encoding="utf-8"), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    page = (ROOT / "docs" / "explanation" / "comparison.md").read_text(encoding="utf-8")
    assert sorted({int(found) for found in re.findall(r"\[(\d+)\]", page)}) == numbers
