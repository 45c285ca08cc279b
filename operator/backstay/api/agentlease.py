"""AgentLease: the sign of life of a node's agent."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from backstay.api.resource import Column, Reported, Resource, Served


class AgentLeaseSpec(Reported):
    """What the agent renews. Nobody compares its time with another clock: what counts is that it changes."""

    renew_time: AwareDatetime | None = None
    """When the agent renewed it last, by the node's clock. Absent: never."""
    lease_duration_seconds: Annotated[int, Field(ge=1, le=86400)] = 120
    """How long the agent may be silent before it counts as away."""


class AgentLease(Resource):
    """The sign of life of a node's agent, under the name of its EdgeDevice, so that no device's status is a heartbeat.

    It is a kind of its own because NodeRestriction lets a node write no Lease but its kubelet's.
    """

    served: ClassVar[Served] = Served(
        plural="agentleases",
        short_names=(),
        columns=(
            Column("Renewed", ".spec.renewTime", "date", description="How long ago the agent said that it lives."),
            Column("Patience", ".spec.leaseDurationSeconds", "integer", description="Seconds that it may be silent."),
        ),
    )

    kind: Literal["AgentLease"] = "AgentLease"
    spec: AgentLeaseSpec
