"""Conditions as Kubernetes has them: one list-map by type in every status."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from backstay.api.resource import Reported
from backstay.api.rules import list_map


class ConditionStatus(StrEnum):
    """Whether what a condition's type says holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Reported):
    """One thing that holds of an object, or not, or is not known, with the reason in one word and in a sentence."""

    type: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """What is said of the object, such as Ready, Reconciling, Stalled or Accepted."""
    status: ConditionStatus
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this was decided on; an older one is out of date."""
    last_transition_time: AwareDatetime
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Why, in one CamelCase word that programs can read."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, in a sentence for people, with what to do next."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=list_map("type"))]
"""The conditions of an object, at most one of each type."""
