"""A hook of the site: what pages link to outside docs/ is shown on it too, so that links work there as in the checkout.

A file becomes a page that shows it, a directory a page that lists it. Nothing is fetched.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
SHOWN = "repository"
CHANGELOG = Path("CHANGELOG.md")
LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)([^)\s#]+)")
LANGUAGES = {".yaml": "yaml", ".py": "python", ".json": "json", ".lua": "lua", ".sh": "sh", ".toml": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for everything outside docs/ that some page links to, and the changelog."""
    wanted = {path for file in files.documentation_pages() for path in _outside(file)} - {CHANGELOG}
    changelog = (ROOT / CHANGELOG).read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, _shown(CHANGELOG), content=changelog))
    for directory in [path for path in wanted if (ROOT / path).is_dir()]:
        wanted |= {path.relative_to(ROOT) for path in (ROOT / directory).rglob("*") if path.is_file()}
    for path in sorted(wanted):
        page = File.generated(config, _shown(path), content=_page_of(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links to the checkout to the pages that show it."""
    here = PurePosixPath(page.file.src_uri).parent

    def led(found: re.Match[str]) -> str:
        path = _target(page.file, found[1])
        return found[1] if path is None else os.path.relpath(_shown(path), here)

    return markdown if str(here).startswith(SHOWN) else LINK.sub(led, markdown)


def _outside(file: File) -> Iterator[Path]:
    """What this page links to outside docs/."""
    for link in LINK.findall(file.content_string):
        path = _target(file, link)
        if path is not None:
            yield path


def _target(file: File, link: str) -> Path | None:
    """The linked path in the checkout; none where it lies in docs/, which MkDocs looks after."""
    found = Path(os.path.normpath(ROOT / "docs" / PurePosixPath(file.src_uri).parent / link))
    if found.is_relative_to(ROOT / "docs"):
        return None
    if not found.is_relative_to(ROOT) or not found.exists():
        raise PluginError(f"{file.src_uri} links to {link}, and there is no such file in the checkout")
    return found.relative_to(ROOT)


def _shown(path: Path) -> str:
    """The page of a file: the changelog has its place in the navigation."""
    return "changelog.md" if path == CHANGELOG else f"{SHOWN}/{path.as_posix()}.md"


def _page_of(path: Path) -> str:
    # Search is for what was written to be read.
    head = f"---\ntitle: {path.as_posix()}\nsearch: {{exclude: true}}\n---\n\n# `{path.as_posix()}`\n\n"
    found = ROOT / path
    if found.is_dir():
        inside = sorted(one.relative_to(found).as_posix() for one in found.rglob("*") if one.is_file())
        return head + "\n".join(f"- [{name}]({path.name}/{name}.md)" for name in inside) + "\n"
    text = found.read_text(encoding="utf-8")
    return f"{head}````{LANGUAGES.get(path.suffix, 'text')}\n{text}````\n"
