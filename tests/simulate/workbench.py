"""A bench for devices: genuine images, models and configs made in memory, and a device that needs no network."""

import hashlib
import json
import struct
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np

from backstay.core.device import Order, Probe
from backstay.core.device_record import requirements
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import Plane, unmet_requirements
from backstay.simulate.application import Application, Reset, ResetCause
from backstay.simulate.bootloader import boot
from backstay.simulate.factory import Payload, provision
from backstay.simulate.flash import Flash
from backstay.simulate.image import Behaviour, digest_of
from backstay.simulate.inference import Layer, pack_model
from backstay.simulate.partitions import LAYOUT, read_table
from backstay.simulate.serving import Digits

CHIP_BYTES = max(x.offset + x.size for x in LAYOUT)
PROBES = (
    Probe("agent", "AgentConnected"),
    Probe("camera", "InputPresent"),
    Probe("inference", "InferenceAlive"),
    Probe("replay", "SampleReplay", (("minAgreement", "90%"),)),
)
OFFLINE_PROBES = PROBES[1:]
WINDOW = timedelta(seconds=30)


@cache
def digits() -> Digits:
    """Four digits that a hand-made model tells apart exactly: digit n lights the n-th quarter of the picture."""
    random = np.random.default_rng(7)
    y = np.arange(200) % 4
    x = random.integers(0, 3, (200, 64))
    for index, digit in enumerate(y):
        x[index, digit * 16 : digit * 16 + 16] = 14
    return Digits(x.astype(np.uint8), y.astype(np.int64))


@cache
def model(version: int = 1, *, wrong: bool = False) -> bytes:
    """A model that sees the four digits, or with `wrong` takes each for the next one; the version makes its bytes."""
    weights = np.full((4, 64), -10, np.int8)
    for digit in range(4):
        weights[(digit + wrong) % 4, digit * 16 : digit * 16 + 16] = 100
    return pack_model([Layer(weights, np.full(4, version / 1000, np.float32), 0.05)])


def config(confidence: float = 0.5) -> bytes:
    return json.dumps(
        {"thresholds": {"confidence": confidence}, "sampling": {"intervalMilliseconds": 500, "framesPerReport": 10}}
    ).encode()


@cache
def image(version: str, behaviour: Behaviour = Behaviour.NONE, size: int = 6000) -> bytes:
    """An ESP32-C3 image, put together as `esptool elf2image` lays it out."""
    desc = struct.pack("<IIII32s32s", 0xABCD5432, 0, 0, 0, version.encode(), b"bench").ljust(256, b"\0")
    rodata = desc + b"BSTY\x01" + bytes([behaviour]) + b"\0\0"
    text = np.random.default_rng(len(version)).bytes(size)
    segments = ((0x3C000020, rodata), (0x42000020, text))
    body = struct.pack("<BBBBIB3sHBHH4sB", 0xE9, 2, 2, 0x20, 0x42000020, 0xEE, b"", 5, 0, 0, 0xFFFF, b"", 1)
    checksum = 0xEF
    for address, data in segments:
        body += struct.pack("<II", address, len(data)) + data
        for byte in data:
            checksum ^= byte
    end = (len(body) + 16) & ~15
    body = body.ljust(end - 1, b"\0") + bytes([checksum])
    return body + hashlib.sha256(body).digest()


FACTORY = {
    Plane.FIRMWARE: Payload(image("1.0.0"), "1.0.0"),
    Plane.MODEL: Payload(model(1), "1.0.0", {"firmware": ">=1.0.0"}),
    Plane.CONFIG: Payload(config(), "1.0.0", {"model": ">=1.0.0,<9.0.0"}),
}


@cache
def factory_chip() -> bytes:
    cells = bytearray(CHIP_BYTES)
    provision(Flash(cells), FACTORY)
    return bytes(cells)


def order(
    number: int,
    plane: Plane,
    payload: bytes,
    version: str,
    probes: tuple[Probe, ...] = OFFLINE_PROBES,
    requires: dict[str, str] | None = None,
    step: StepType = StepType.INSTALL,
) -> Order:
    content = digest_of(payload)
    return Order(number, plane, step, content, version, probes, WINDOW, requirements(requires or {}))


class Bench:
    """One device on the bench; its clock goes on only when it is told, and starts anew at each boot."""

    def __init__(self, cells: bytes | None = None, *, flash: Flash | None = None) -> None:
        self.flash = flash or Flash(bytearray(cells or factory_chip()))
        self.resets: list[ResetCause] = []
        self.now = 0.0
        self.app = self.power_on()

    def power_on(self, cause: ResetCause = ResetCause.POWER_ON) -> Application:
        """Boot from the flash's bytes, through as many resets as it takes."""
        self.flash.power_on()
        while True:
            self.resets.append(cause)
            self.now = 0.0
            table = read_table(self.flash)
            started = boot(self.flash, table)
            if Behaviour.CRASHES in started.image.behaviour:
                cause = ResetCause.SOFTWARE
                continue
            try:
                self.app = Application(self.flash, table, started, cause, digits(), self.now)
            except Reset as reset:
                cause = reset.cause
                continue
            return self.app

    def do(self, act: Callable[[], Any]) -> None:
        """Do something that may end in a reset, and boot again if it does."""
        try:
            act()
        except Reset as reset:
            self.power_on(reset.cause)

    def install(self, ordered: Order, payload: bytes) -> None:
        """Give an order and, where the device asks for them, its bytes."""
        self.do(lambda: self.app.order(ordered, self.now))
        self.fetch(payload)

    def fetch(self, payload: bytes) -> None:
        if (wanted := self.app.download) is None:
            return
        bank = self.app.board.banks[wanted.plane]
        download = bank.slots[bank.spare].begin(wanted.content, len(payload))
        while not download.complete:
            download.write(payload[download.wanted : download.wanted + 1500])
        found = download.finish()
        self.do(lambda: self.app.downloaded(wanted, len(payload), found, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass in ticks of a second."""
        until = self.now + seconds
        while self.now < until:
            self.now += 1
            self.do(lambda: self.app.tick(self.now))

    def settle(self) -> None:
        """Wait until no order is open, which must happen inside the window."""
        for _ in range(int(WINDOW.total_seconds()) + 2):
            if self.app.in_flight is None:
                return
            self.wait(1)
        raise AssertionError("the order is open after its window")

    def running(self, plane: Plane) -> str:
        release = self.app.board.release(plane)
        return release.version if release else ""

    def state(self, plane: Plane) -> PlaneState:
        return self.app.progress[plane].state

    def reason(self, plane: Plane) -> str:
        return str(self.app.progress[plane].cause or "")

    def check_whole(self) -> None:
        """Promises 1 and 5: it booted, it has a model and a config that load, and they all fit together."""
        assert all(self.app.board.release(plane) for plane in Plane)
        assert not unmet_requirements(self.app.board.versions)
        assert self.app.board.serving.model is not None
