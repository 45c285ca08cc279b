"""InferenceAlive and InferenceReady: the server takes requests; it serves the model, in the version that it should."""

from backstay.adapters.node.probes.open_inference import InferenceRefused, InferenceServer
from backstay.adapters.node.probes.probe import Finding, NodeProbe, amiss, fine
from backstay.adapters.node.probes.surroundings import Served
from backstay.errors import Unavailable


class InferenceProbe(NodeProbe):
    """A check of the inference server, and perhaps of one model there."""

    @property
    def server(self) -> InferenceServer:
        """The node's own."""
        return InferenceServer(self.surroundings.session, self.surroundings.inference_url)

    @property
    def served(self) -> Served | None:
        """The model to ask for: the probe's `model`, or else what the node should be serving now."""
        now = self.surroundings.served()
        if (name := self.probe.setting("model")) is None:
            return now
        return now if now is not None and now.model == name else Served(name)


class InferenceAlive(InferenceProbe):
    """The server can take requests; of its models this says nothing."""

    async def look(self) -> Finding:
        """Ask the server."""
        try:
            await self.server.live()
        except Unavailable as error:
            return amiss("Unreachable", str(error))
        except InferenceRefused as error:
            return amiss("NotAlive", str(error))
        return fine(f"{self.surroundings.inference_url} is live")


class InferenceReady(InferenceProbe):
    """The server and the model are ready, and the version is the one that the node should serve."""

    async def look(self) -> Finding:
        """Ask the server."""
        served = self.served
        try:
            await self.server.ready()
            if served is None:
                return fine(f"{self.surroundings.inference_url} is ready")
            return await self._model(served)
        except Unavailable as error:
            return amiss("Unreachable", str(error))
        except InferenceRefused as error:
            return amiss("NotReady", str(error))

    async def _model(self, served: Served) -> Finding:
        await self.server.model_ready(served.model)
        if served.version is None:
            return fine(f"model {served.model} is ready")
        versions = await self.server.versions(served.model)
        if served.version not in versions:
            found = ", ".join(versions) or "no version by name"
            detail = f"model {served.model} is served in {found}; {served.version} should be"
            return amiss("WrongVersion", detail)
        await self.server.model_ready(served.model, served.version)
        return fine(f"model {served.model} {served.version} is ready")
