"""What every resource shares: two kinds of model, the envelope, and how a document becomes one."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from backstay.errors import Refused

GROUP: Final = "backstay.dev"
VERSION: Final = "v1alpha1"

Document = dict[str, Any]
"""A resource as JSON: what the API server sends and what a person writes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a document."""

    location: tuple[int | str, ...]
    """Where, step by step; of a value that may be of several types, the last step names the type that was tried."""
    message: str
    is_unknown: bool = False
    """Whether there is no such field at all."""
    is_missing: bool = False
    """Whether the field would have to be there."""


class InvalidDocument(Refused):
    """A document is not what its kind demands; the message names each field."""

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class ApiModel(BaseModel):
    """Part of a resource: frozen, camelCase outside and snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Read the model from JSON, with field names exactly as the API server knows them.

        Raises:
            InvalidDocument: naming every wrong field by its path.
        """
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            faults = tuple(map(_fault, error.errors()))
            raise InvalidDocument(_in_words(cls, document, faults), faults) from error

    def to_document(self) -> Document:
        """Write the model as JSON; what is not set is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Written(ApiModel):
    """What a person writes: an unknown field is refused by name."""

    model_config = ConfigDict(extra="forbid")


class Reported(ApiModel):
    """What a program writes: fields of a newer version are ignored."""

    model_config = ConfigDict(extra="ignore")


class ObjectMeta(Reported):
    """The part of an object's metadata that Backstay reads."""

    name: str
    """Name of the object, unique in its namespace."""
    namespace: str = ""
    """The tenant that the object belongs to."""
    uid: str = ""
    """Identity of this object, which a later object of the same name does not share."""
    resource_version: str = ""
    """The version that was read; a write that carries it fails when somebody else wrote in between."""
    generation: int = 0
    """Counts the changes of the spec."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What selectors look at."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Notes that no selector looks at."""
    creation_timestamp: AwareDatetime | None = None
    """When the API server stored the object first."""
    deletion_timestamp: AwareDatetime | None = None
    """Set while the object is being deleted."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; the ones of priority 1 show with `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """How the API server serves a kind: its names, its columns and the fields it can select by."""

    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()


class Resource(Written):
    """An object of the group; every kind adds its own `spec`, and its `status` where it has one."""

    served: ClassVar[Served]

    api_version: Literal["backstay.dev/v1alpha1"] = "backstay.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta

    @classmethod
    def kind_name(cls) -> str:
        """The kind as it stands in a document."""
        return cls.__name__


def _in_words(model: type[ApiModel], document: Document, faults: tuple[Fault, ...]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    told = "; ".join(f"{field_path(fault.location)}: {fault.message}" for fault in faults)
    return f"{model.__name__} {name or '(no name)'} is not valid: {told}"


def _fault(error: ErrorDetails) -> Fault:
    unknown, missing = error["type"] == "extra_forbidden", error["type"] == "missing"
    message = "unknown field" if unknown else error["msg"].removeprefix("Value error, ")
    return Fault(error["loc"], message, is_unknown=unknown, is_missing=missing)


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a location as Kubernetes does: `spec.rings[1].size`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")
