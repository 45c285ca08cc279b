"""InputPresent: a camera gives a whole frame."""

import re
from pathlib import Path
from typing import ClassVar, Final

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.probes.v4l2 import CannotCapture, InUse, capture_frame
from backstay.adapters.node.probes.words import amount
from backstay.core.device import Probe

FRAME_SECONDS: Final = 3.0
_CAMERA: Final = re.compile(r"camera(\d+)")


class InputPresent(FileProbe):
    """The video device of `input` gives a frame, or gives its frames to another program now.

    `camera0` is /dev/video0 where the agent's own configuration names no other; any other name is one below /dev, such
    as `v4l/by-path/platform-rkisp-vir0-video-index0`.
    """

    timeout_seconds: ClassVar[float] = 20.0

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._input = self.setting("input")
        device = surroundings.inputs.get(self._input) or _CAMERA.sub(r"video\1", self._input)
        if ".." in Path(device).parts:
            raise ValueError(f"input of InputPresent: {device} leads out of /dev")
        self._device = f"/dev/{device}"

    def examine(self) -> Finding:
        """Take a frame."""
        path = self.surroundings.at(self._device)
        if not path.exists():
            return amiss("NoDevice", f"{self._input}: there is no {self._device}; look at its cable and at dmesg")
        try:
            frame = capture_frame(path, FRAME_SECONDS, self.surroundings.ioctl)
        except InUse:
            return fine(f"{self._input}: {self._device} streams to another program")
        except CannotCapture as refusal:
            return amiss("NoFrame", f"{self._input}: {self._device}: {refusal}")
        except TimeoutError:
            return amiss("NoFrame", f"{self._input}: {self._device} gave no frame within {FRAME_SECONDS:g} s")
        detail = f"a frame of {amount(frame.size_bytes)} from {frame.card} (driver {frame.driver})"
        return fine(f"{self._input}: {detail}")
