"""A simulated ESP32: the application on its flash, with a clock, a network, a watchdog and faults on order."""

import asyncio
import logging
from typing import Final, NoReturn

from backstay.errors import BackstayError, first_in
from backstay.simulate.application import Application, Reset, ResetCause
from backstay.simulate.bootloader import boot
from backstay.simulate.conversation import Conversation
from backstay.simulate.ddi import DdiClient
from backstay.simulate.faults import Faults
from backstay.simulate.fetching import Fetching
from backstay.simulate.flash import Flash, PowerCut
from backstay.simulate.image import Behaviour
from backstay.simulate.life import Life, set_within
from backstay.simulate.partitions import read_table
from backstay.simulate.serving import Digits

BOOT_SECONDS: Final = 0.3
WATCHDOG_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Esp32:
    """One device; everything that survives a reset is in its flash."""

    def __init__(
        self,
        name: str,
        flash: Flash,
        client: DdiClient,
        digits: Digits,
        *,
        watchdog_seconds: float = WATCHDOG_SECONDS,
    ) -> None:
        self.name, self.flash = name, flash
        self._client, self._digits = client, digits
        self._watchdog_seconds = watchdog_seconds
        self.life: Life | None = None
        """What runs; None while the chip boots or lies dead."""
        self._faults = Faults()
        self._lines: list[str] = []

    async def run(self) -> None:
        """Live, through every reset, until cancelled."""
        cause = ResetCause.POWER_ON
        while True:
            cause = await self._live(cause)
            self.life = None
            self._note(f"reset: {cause}")
            await asyncio.sleep(BOOT_SECONDS)

    def order(self, faults: Faults) -> None:
        """Make the device fail; a reset that this means happens at the device's next look."""
        self._faults = faults
        if faults.cut:
            self.flash.cut_power(*faults.cut)
        if self.life is not None:
            self.life.stirred.set()

    async def _live(self, cause: ResetCause) -> ResetCause:
        """Boot and run to the next reset, whose cause is returned."""
        try:
            self.life = life = self._boot(cause)
            parts = (self._work(life), Conversation(self.name, self._client, life).run())
            async with asyncio.TaskGroup() as tasks:
                for part in (*parts, Fetching(self._client, life).run()):
                    tasks.create_task(part)
        except BackstayError as error:
            return self._cause_of(error)
        except ExceptionGroup as group:
            resets, _ = group.split((Reset, PowerCut))
            if resets is not None:
                return self._cause_of(first_in(resets))
            log.exception("%s panicked", self.name)
        except Exception:
            # An error that nobody foresaw is to a chip what it is on a real one: a panic, and a reset.
            log.exception("%s panicked as it started", self.name)
        return ResetCause.SOFTWARE

    def _boot(self, cause: ResetCause) -> Life:
        table = read_table(self.flash)
        started = boot(self.flash, table)
        self._note(f"{cause}: boots {started}, firmware {started.image.version}")
        if Behaviour.CRASHES in started.image.behaviour:
            raise Reset(ResetCause.SOFTWARE)
        now = asyncio.get_running_loop().time()
        life = Life(Application(self.flash, table, started, cause, self._digits, now), self._lines)
        if Behaviour.HANGS not in started.image.behaviour:
            life.awake.set()
        return life

    def _cause_of(self, error: BaseException) -> ResetCause:
        match error:
            case Reset():
                return error.cause
            case PowerCut():
                self.flash.power_on()
                return ResetCause.POWER_ON
            case _:
                log.error("%s: %s", self.name, error)
                return ResetCause.SOFTWARE

    async def _work(self, life: Life) -> NoReturn:
        """Look, probe, let time pass, and sleep until any of it is due again; never waits for the network."""
        while True:
            life.stirred.clear()
            self._take_faults(life)
            if not life.awake.is_set():
                await asyncio.sleep(self._watchdog_seconds)
                raise Reset(ResetCause.WATCHDOG)
            life.app.tick(life.now())
            if life.app.news:
                life.news.set()
            await set_within(life.stirred, life.app.idle_seconds(life.now()))

    def _take_faults(self, life: Life) -> None:
        faults, self._faults = self._faults, Faults(fail=self._faults.fail, lie=self._faults.lie)
        life.lies = faults.lie
        life.app.board.fail_probes(faults.fail)
        if faults.offline_seconds:
            self._client.online = False
            asyncio.get_running_loop().call_later(faults.offline_seconds, self._restore_network)
        if faults.hang:
            life.awake.clear()
        if faults.power_loss:
            self.flash.power_off()
            raise PowerCut("the power goes, as ordered")
        if faults.crash or faults.reboot:
            raise Reset(ResetCause.SOFTWARE)

    def _restore_network(self) -> None:
        self._client.online = True

    def _note(self, line: str) -> None:
        log.info("%s: %s", self.name, line)
        self._lines.append(line)
        del self._lines[:-100]
