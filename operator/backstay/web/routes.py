"""Which page an address is."""

import re
from typing import Final

from yarl import URL

from backstay.web.pages.device import DevicePage
from backstay.web.pages.devices import DevicesPage
from backstay.web.pages.holds import HoldsPage
from backstay.web.pages.overview import OverviewPage
from backstay.web.pages.page import NotThere, Page
from backstay.web.pages.plan import PlanPage

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def address_in(text: str) -> URL:
    """The address that a request would have for this, as its target.

    Raises:
        NotThere: it does not begin with a slash, so no request would.

    Source: RFC 9112, section 3.2.1
    """
    if not text.startswith("/"):
        raise NotThere
    path, _, query = text.partition("#")[0].partition("?")
    try:
        return URL.build(path=path, query_string=query, encoded=True)
    except ValueError as error:
        raise NotThere from error


def page_at(address: URL) -> Page:
    """The page of an address.

    Raises:
        NotThere: no page has that address.
        BadFilter: its query cannot be read.
    """
    path = address.path
    parts = path.strip("/").split("/") if path.strip("/") else []
    if parts and not _LABEL.fullmatch(parts[0]):
        raise NotThere
    match parts:
        case []:
            return OverviewPage()
        case [namespace]:
            return OverviewPage(namespace)
        case [namespace, "devices"]:
            return DevicesPage.from_query(namespace, tuple(address.query.items()))
        case [namespace, "holds"]:
            return HoldsPage(namespace)
        case [namespace, "plans", name] if _NAME.fullmatch(name):
            return PlanPage(namespace, name)
        case [namespace, "devices", name] if _NAME.fullmatch(name):
            return DevicePage(namespace, name)
        case _:
            raise NotThere
