"""What a model's release has besides its weights: golden samples, and its name at the node's inference server."""

import json
from pathlib import Path

from backstay.adapters.node.generations import SAMPLES_FILE
from backstay.adapters.node.probes.samples import GoldenSamples
from backstay.adapters.node.probes.surroundings import Served
from backstay.core.device import Cause, Reason
from backstay.core.needs import ServedAs
from backstay.ports.installer import Beside
from backstay.ports.registry import ArtifactDescription


def bad_samples(_payload: Path, _artifact: ArtifactDescription, beside: Beside) -> Cause | None:
    """Why the golden samples that came with a model cannot be replayed; they are read before anything is switched."""
    if beside.samples is None:
        return None
    try:
        GoldenSamples.load(beside.samples)
    except (OSError, ValueError) as error:
        return Cause(Reason.REJECTED, f"golden samples: {error}")
    return None


def served(models: Path) -> Served | None:
    """What the inference server should be serving by the release in use; None where its artifact did not say.

    The samples are those of that very release, also if another one is switched to while they are read.
    """
    try:
        release = (models / "current" / "current").resolve(strict=True)
        name = json.loads((release / "release.json").read_bytes()).get("served")
        known = ServedAs.parse(name)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    samples = release / SAMPLES_FILE
    return Served(known.model, known.version, samples if samples.exists() else None)
