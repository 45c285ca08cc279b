"""AgentConnected: the API server has answered the agent since the change."""

from typing import ClassVar

from backstay.adapters.node.probes.probe import Finding, NodeProbe, amiss, fine


class AgentConnected(NodeProbe):
    """A node that cannot be reached after a change could not be told to go back."""

    excusable: ClassVar[bool] = False

    async def look(self) -> Finding:
        """Ask the agent itself."""
        if self.surroundings.connected():
            return fine("the API server has answered since the change")
        return amiss("NotConnected", "the API server has not answered since the change; look at the node's network")
