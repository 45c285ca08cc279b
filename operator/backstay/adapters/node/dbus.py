"""Talks to a service of the node over D-Bus: a connection for each conversation, so that none is ever stale.

Source: https://dbus.freedesktop.org/doc/dbus-specification.html
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from dbus_fast import BusType, DBusError, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, InvalidAddressError
from dbus_fast.unpack import unpack_variants

from backstay.errors import Refused, Unavailable

ANSWER_SECONDS: Final = 25.0
_BUS: Final = "org.freedesktop.DBus"
_BUS_PATH: Final = "/org/freedesktop/DBus"
_ABSENT: Final = (
    f"{_BUS}.Error.ServiceUnknown",
    f"{_BUS}.Error.NameHasNoOwner",
    f"{_BUS}.Error.NoReply",
    f"{_BUS}.Error.Disconnected",
    f"{_BUS}.Error.Timeout",
    f"{_BUS}.Error.TimedOut",
    f"{_BUS}.Error.LimitsExceeded",
    f"{_BUS}.Error.Spawn.",
)

Signal = Callable[[str, list[Any]], None]
"""Takes a signal's name and its arguments."""


class CallRefused(Refused):
    """The service answered that it does not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service on a bus, by what it is called there."""

    name: str
    path: str
    interface: str


class Conversation:
    """An open connection to one service."""

    def __init__(self, bus: MessageBus, service: Service) -> None:
        self._bus = bus
        self._service = service

    async def call(self, member: str, signature: str = "", *arguments: object) -> list[Any]:
        """Call a method and give what it returns.

        Raises:
            CallRefused: the service says no.
            Unavailable: it is not there, or does not answer.
        """
        to = self._service
        return await self._send(Message(to.name, to.path, to.interface, member, signature=signature, body=[*arguments]))

    async def property(self, name: str) -> Any:  # noqa: ANN401 - a property may be of any type
        """Read a property.

        Raises:
            CallRefused, Unavailable: as `call`.
        """
        to, arguments = self._service, [self._service.interface, name]
        message = Message(to.name, to.path, f"{_BUS}.Properties", "Get", signature="ss", body=arguments)
        return (await self._send(message))[0]

    @asynccontextmanager
    async def listening(self, take: Signal) -> AsyncIterator[None]:
        """Give each signal of the service to `take`, and `NameOwnerChanged` when the service starts or ends."""
        to = self._service

        def handler(message: Message) -> None:
            if message.message_type is not MessageType.SIGNAL:
                return
            changed = message.member == "NameOwnerChanged" and message.body[0] == to.name
            if changed or message.interface == to.interface:
                take(message.member or "", unpack_variants(message.body))

        rules = (
            f"type='signal',sender='{to.name}',interface='{to.interface}'",
            f"type='signal',sender='{_BUS}',member='NameOwnerChanged',arg0='{to.name}'",
        )
        self._bus.add_message_handler(handler)
        try:
            for rule in rules:
                await self._send(Message(_BUS, _BUS_PATH, _BUS, "AddMatch", signature="s", body=[rule]))
            yield
        finally:
            self._bus.remove_message_handler(handler)

    async def ended(self) -> None:
        """Return when the bus itself is gone."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError, DBusError):
            return

    async def _send(self, message: Message) -> list[Any]:
        what = f"{message.member} of {message.destination}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._bus.call(message)
        except TimeoutError as error:
            raise Unavailable(f"{what} was not answered in {ANSWER_SECONDS:g} s: look at its log") from error
        except (OSError, EOFError, DBusError) as error:
            raise Unavailable(f"{what} could not be called: {error}; look at the bus and the service") from error
        if reply is None:
            raise Unavailable(f"{what} got no answer: look at the service's log")
        if reply.message_type is MessageType.ERROR:
            text = str(reply.body[0]) if reply.body else str(reply.error_name)
            if (reply.error_name or "").startswith(_ABSENT):
                raise Unavailable(f"{what} cannot be reached: {text}; start the service")
            raise CallRefused(f"{what} is refused: {text}")
        return list(unpack_variants(reply.body))


@asynccontextmanager
async def conversation(service: Service, address: str | None = None) -> AsyncIterator[Conversation]:
    """Connect to the bus at an address, or to the system's bus.

    Raises:
        Unavailable: there is no bus.
    """
    try:
        bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM)
        async with asyncio.timeout(ANSWER_SECONDS):
            await bus.connect()
    except (OSError, EOFError, AuthError, InvalidAddressError, TimeoutError) as error:
        raise Unavailable(f"the bus that {service.name} is on cannot be reached: {error}; start dbus") from error
    try:
        yield Conversation(bus, service)
    finally:
        bus.disconnect()
