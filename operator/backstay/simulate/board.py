"""What runs on the device: the app that was booted, the model and config beside it, and what is seen of them."""

from collections.abc import Mapping
from itertools import product
from typing import Final

from backstay.core.planes import Plane, Release, VersionSet, unmet_requirements
from backstay.simulate.bank import Bank
from backstay.simulate.bootloader import App
from backstay.simulate.flash import Flash
from backstay.simulate.image import Behaviour
from backstay.simulate.inference import load_model
from backstay.simulate.partitions import Partition
from backstay.simulate.probes import Evidence
from backstay.simulate.serving import Config, Digits, Serving

AT_ONCE: Final = (Plane.MODEL, Plane.CONFIG)
"""The planes that change without a restart."""


class Board:
    """The running set, found in the bytes of the flash at each boot."""

    def __init__(self, flash: Flash, table: Mapping[str, Partition], app: App, digits: Digits, seed: int) -> None:
        self.app = app
        self._digits, self._seed = digits, seed
        self._failing: frozenset[str] = frozenset()
        self.banks = {plane: Bank(flash, table, plane) for plane in Plane}
        self.banks[Plane.FIRMWARE].run(app.slot)
        for plane in AT_ONCE:
            self.banks[plane].selector.reset()
        self.select()
        self.serve()

    @property
    def firmware(self) -> Release:
        """The firmware that runs, by its own bytes."""
        known = self.banks[Plane.FIRMWARE].current
        image = self.app.image
        requires = known.requires if known and known.content == image.content else ()
        return Release(Plane.FIRMWARE, image.version, image.content, requires)

    def release(self, plane: Plane) -> Release | None:
        """What runs in a plane."""
        return self.firmware if plane is Plane.FIRMWARE else self.banks[plane].current

    @property
    def versions(self) -> VersionSet:
        """What runs in all planes."""
        return VersionSet.of({plane: found for plane in Plane if (found := self.release(plane))})

    @property
    def rollback_capable(self) -> bool:
        """Tell whether the bootloader would bring the running firmware back after a failed trial of another."""
        return self.app.slot is None or not self.banks[Plane.FIRMWARE].selector.condemned(self.app.slot)

    def select(self) -> None:
        """Choose the model and the config that run: the selectors' choice, else the nearest set that is compatible.

        Where no set is, the device is in safe mode: it keeps the connection and serves nothing.
        """
        choices = product(*([*self.banks[plane].candidates(), None] for plane in AT_ONCE))
        compatible = (slots for slots in sorted(choices, key=lambda slots: slots.count(None)) if self._fit(slots))
        for plane, slot in zip(AT_ONCE, next(compatible, (None, None)), strict=True):
            self.banks[plane].run(slot)

    def _fit(self, slots: tuple[int | None, ...]) -> bool:
        """Tell whether the model and the config in these slots fit the firmware and each other."""
        releases = {Plane.FIRMWARE: self.firmware}
        for plane, slot in zip(AT_ONCE, slots, strict=True):
            if slot is not None and (found := self.banks[plane].releases[slot]):
                releases[plane] = found
        return not unmet_requirements(VersionSet.of(releases))

    def serve(self) -> None:
        """Start serving what runs now; what was seen and proved before does not count for it."""
        model, config = self.banks[Plane.MODEL].payload(), self.banks[Plane.CONFIG].payload()
        self.serving = Serving(
            load_model(model) if model else None,
            Config.parse(config) if config else None,
            self._digits,
            seed=self._seed,
        )
        camera = Behaviour.CAMERA_FAILS not in self.app.image.behaviour
        self.evidence = Evidence(self.serving, camera=camera, failing=self._failing)

    def fail_probes(self, names: frozenset[str]) -> None:
        """Let these probes fail until told otherwise."""
        self._failing = self.evidence.failing = names
