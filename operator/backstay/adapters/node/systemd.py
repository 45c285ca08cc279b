"""systemd as it is on D-Bus: lets it read its units anew, start, restart and stop one, and tells how that one is.

Source: https://www.freedesktop.org/software/systemd/man/252/org.freedesktop.systemd1.html
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from backstay.adapters.node.dbus import CallRefused, Conversation, Service, conversation
from backstay.errors import Unavailable

NAME: Final = "org.freedesktop.systemd1"
MANAGER: Final = Service(NAME, "/org/freedesktop/systemd1", f"{NAME}.Manager")
JOB_WITHIN: Final = timedelta(minutes=3)
"""Longer than systemd itself waits for a start and a stop, unless a unit says otherwise."""
DONE: Final = "done"
RESTART: Final = "RestartUnit"
_AT_WORK: Final = frozenset({"active", "activating", "reloading"})


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of one unit now."""

    active: str
    """`active`, `activating`, `failed`, `inactive` …"""
    sub: str
    restarts: int
    """How often it was started again because it had ended, since somebody started it."""
    process_id: int
    """Of its main process; 0 where it has none."""
    environment: tuple[str, ...]
    """As the unit's file sets it, of the reading that systemd goes by."""
    is_stale: bool
    """Whether the file has changed since that reading."""

    @property
    def is_at_work(self) -> bool:
        """Tell whether it runs, or systemd is about to run it."""
        return self.active in _AT_WORK

    def __str__(self) -> str:
        """As a person reads it in a log."""
        return f"{self.active} ({self.sub}), restarted {self.restarts} times"


class Systemd:
    """Asks and orders the system's own systemd."""

    def __init__(self, address: str | None = None) -> None:
        """Use the bus at `address`, or the system's."""
        self._address = address

    async def state(self, unit: str) -> UnitState:
        """How a unit is.

        Raises:
            Unavailable: systemd cannot be asked.
        """
        async with conversation(MANAGER, self._address) as manager:
            (path,) = await manager.call("LoadUnit", "s", unit)
        of_unit, of_service = (Service(NAME, path, f"{NAME}.{kind}") for kind in ("Unit", "Service"))
        async with conversation(of_unit, self._address) as asked:
            active, sub, is_stale = [
                await asked.property(name) for name in ("ActiveState", "SubState", "NeedDaemonReload")
            ]
        async with conversation(of_service, self._address) as asked:
            restarts, process_id, environment = [
                await asked.property(one) for one in ("NRestarts", "MainPID", "Environment")
            ]
        return UnitState(active, sub, int(restarts), int(process_id), tuple(environment), bool(is_stale))

    async def read_units(self) -> None:
        """Let systemd read the files of all units anew.

        Raises:
            Unavailable: systemd cannot be asked.
        """
        async with conversation(MANAGER, self._address) as manager:
            await manager.call("Reload")

    async def restart(self, unit: str) -> str:
        """Let a unit run by its file as it was read last, and give how that ended: `done`, `failed`, or why not at all.

        How often it had ended before counts no more: that may have been another release of it.

        Raises:
            Unavailable: systemd cannot be asked, or is at it for longer than `JOB_WITHIN`.
        """
        return await self._job(RESTART, unit)

    async def stop(self, unit: str) -> str:
        """Let a unit end, and give how the job ended, as `restart`.

        Raises:
            Unavailable: as `restart`.
        """
        return await self._job("StopUnit", unit)

    async def _job(self, method: str, unit: str) -> str:
        ended: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        def take(signal: str, arguments: list[Any]) -> None:
            if signal == "JobRemoved":
                ended.put_nowait((str(arguments[1]), str(arguments[3])))

        async with conversation(MANAGER, self._address) as manager, manager.listening(take):
            # systemd tells nobody of its jobs who has not asked for it.
            await manager.call("Subscribe")
            try:
                if method == RESTART:
                    await manager.call("ResetFailedUnit", "s", unit)
                (job,) = await manager.call(method, "ss", unit, "replace")
            except CallRefused as error:
                # As of a unit whose file makes no sense: no later time is better.
                return str(error)
            return await _result(ended, job, manager, f"{method} of {unit}")


async def _result(ended: "asyncio.Queue[tuple[str, str]]", job: str, manager: Conversation, what: str) -> str:
    gone = asyncio.create_task(manager.ended())
    try:
        async with asyncio.timeout(JOB_WITHIN.total_seconds()):
            while True:
                next_one = asyncio.create_task(ended.get())
                await asyncio.wait((next_one, gone), return_when=asyncio.FIRST_COMPLETED)
                if not next_one.done():
                    next_one.cancel()
                    raise Unavailable(f"how {what} ends is not known, because the bus ended: look at systemd's journal")
                removed, result = next_one.result()
                if removed == job:
                    return result
    except TimeoutError as error:
        raise Unavailable(f"{what} takes longer than {JOB_WITHIN}: look at `systemctl status`") from error
    finally:
        gone.cancel()
