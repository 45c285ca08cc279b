"""What Alertmanager sends to a webhook: one notification with its alerts, each read by itself.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (payload version 4)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backstay.errors import Refused

VERSION: Final = "4"
LONGEST_NAME: Final = 200


class AlertStatus(StrEnum):
    """Whether an alert goes on."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(BaseModel):
    """One alert; fields that a newer Alertmanager adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: AlertStatus
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Alertmanager's own name of this set of labels: the same alert has it for ever."""
    generator_url: Annotated[str, Field(alias="generatorURL")] = ""
    """Where the alert comes from, for a person."""

    @property
    def name(self) -> str:
        """Its `alertname`, fit for one line of a log."""
        return one_line(self.labels.get("alertname", "without a name"))[:LONGEST_NAME]


@dataclass(frozen=True, slots=True)
class UnreadableAlert:
    """An alert that is not as Alertmanager sends them."""

    index: int
    why: str


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["4"]
    alerts: list[Any]


class MalformedNotification(Refused):
    """The body is no notification at all."""


def read_notification(body: bytes) -> Iterator[Alert | UnreadableAlert]:
    """The alerts of a notification; one that cannot be read costs none of the others.

    Raises:
        MalformedNotification: there are none to be read.
    """
    try:
        envelope = _Envelope.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedNotification(f"the body is not JSON: {error}") from error
    except ValidationError as error:
        raise MalformedNotification(
            f"the body is no notification of Alertmanager, version {VERSION}: {_words(error)}"
        ) from error
    return (_alert(index, found) for index, found in enumerate(envelope.alerts))


def one_line(text: str) -> str:
    """What came from outside, without what could pass for another line of the log."""
    return "".join(character if character.isprintable() else " " for character in text)


def _alert(index: int, found: object) -> Alert | UnreadableAlert:
    try:
        return Alert.model_validate(found)
    except ValidationError as error:
        return UnreadableAlert(index, _words(error))


def _words(error: ValidationError) -> str:
    """Which field is wrong and how; never its content, which may be anything."""
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()[:3])
