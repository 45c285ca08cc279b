"""FailOnPurpose: always fails, for a node that rehearses falling back."""

from typing import ClassVar

from backstay.adapters.node.probes.probe import Finding, NodeProbe, amiss


class FailOnPurpose(NodeProbe):
    """Says nothing of how the node is."""

    excusable: ClassVar[bool] = False

    async def look(self) -> Finding:
        """Fail."""
        return amiss("OnPurpose", "failed on purpose, to rehearse falling back")
