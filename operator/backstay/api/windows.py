"""The hours in which new work may start."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from backstay.api.resource import Written
from backstay.api.rules import SET, rule, rules
from backstay.api.scalars import TimeOfDay, TimeZone


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "Mon"
    TUESDAY = "Tue"
    WEDNESDAY = "Wed"
    THURSDAY = "Thu"
    FRIDAY = "Fri"
    SATURDAY = "Sat"
    SUNDAY = "Sun"


class Window(Written):
    """Hours of the week in which a change may start on a device.

    A change under way when the window closes finishes, and rolling back never waits for a window.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(rule("self.start != self.end", "start and end must differ", at=".end"))
    )

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7, json_schema_extra=SET)]
    """The days on which the window opens, as Mon, Tue, Wed, Thu, Fri, Sat, Sun."""
    start: TimeOfDay
    """When the window opens, as 09:00, in `timeZone`."""
    end: TimeOfDay
    """When the window closes. An end before the start is on the following day."""
    time_zone: TimeZone
    """Time zone of the IANA database, such as Europe/Berlin; it decides about summer time too."""
