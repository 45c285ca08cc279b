"""HTML out of templates that escape everything: devices choose their names and reasons, and some are hostile."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from backstay.ports.access import Kind
from backstay.web.drawing import spoken
from backstay.web.pages.page import Content, Fragment

THEMES: Final = ("auto", "light", "dark")
_SHORT: Final = 12
_UNRULY: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the browser keeps until it is another one."""

    name: str
    body: bytes
    type: str

    @property
    def address(self) -> str:
        """Where it is; the name changes with what is in it."""
        return f"/-/static/{sha256(self.body).hexdigest()[:16]}/{self.name}"


def _asset(name: str, content_type: str) -> Asset:
    return Asset(name, files("backstay.web").joinpath("static", name).read_bytes(), content_type)


ASSETS: Final = (
    _asset("page.css", "text/css; charset=utf-8"),
    _asset("page.js", "text/javascript; charset=utf-8"),
    _asset("icon.svg", "image/svg+xml"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a page."""

    theme: str
    path: str
    """The page's own address, to come back to."""
    person: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A fragment, written out."""

    name: str
    html: Markup
    mark: str
    """Differs whenever the HTML does."""


class Renderer:
    """Writes pages; the templates are compiled once."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FunctionLoader(_source),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_tamed,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "when": when,
            "digest": _digest,
            "number": spoken,
        }
        self._environment.globals["assets"] = {asset.name: asset.address for asset in ASSETS}
        self._environment.globals["Kind"] = Kind

    def piece(self, name: str, fragment: Fragment) -> Piece:
        """A fragment by itself."""
        html = self._environment.get_template(fragment.template).render(fragment.values)
        return Piece(name, Markup(html), sha256(html.encode()).hexdigest()[:16])  # noqa: S704 - written by a template

    def pieces(self, content: Content) -> Mapping[str, Piece]:
        """Every fragment of a page."""
        return {name: self.piece(name, fragment) for name, fragment in content.fragments.items()}

    def page(self, content: Content, frame: Frame) -> str:
        """A whole page."""
        template = self._environment.get_template(content.template)
        return template.render(content=content, frame=frame, pieces=self.pieces(content))

    def notice(self, title: str, words: str, frame: Frame) -> str:
        """A page that says one thing, such as that there is nothing here."""
        return self._environment.get_template("notice.html").render(title=title, words=words, frame=frame)

    def sign_in(self, frame: Frame, problem: str = "") -> str:
        """The form that asks for a token."""
        return self._environment.get_template("sign_in.html").render(frame=frame, problem=problem)


def _tamed(value: object) -> object:
    """A text in which nothing turns the text around it over, or hides: such characters are shown by their numbers.

    Source: https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
    """
    if not isinstance(value, str) or isinstance(value, Markup) or not _UNRULY.search(value):
        return value
    return _UNRULY.sub(lambda found: f"\\u{ord(found.group()):04x}", value)


def when(at: datetime | None) -> Markup:
    """A time, exact for programs and people; the browser adds how long ago it is."""
    if at is None:
        return Markup("<span>never</span>")
    at = at.astimezone(UTC)
    text = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), text)


def _digest(digest: str | None) -> str:
    return (digest or "").removeprefix("sha256:")[:_SHORT]


def _source(name: str) -> str | None:
    found = files("backstay.web").joinpath("templates", name)
    return found.read_text("utf-8") if found.is_file() else None
