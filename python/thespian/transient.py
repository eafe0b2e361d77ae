"""Decorators for actors that end by themselves once they have worked.

``@transient(period)``: so long after the first message. ``@transient_idle(period)``: when no
message has come for so long. An actor that never gets a message does not end.
"""

import functools
import time
from datetime import timedelta
from typing import Any, Callable, TypeVar, Union

from thespian.actors import ActorExitRequest, ActorSystemMessage, WakeupMessage
from thespian.system.timing import timePeriodSeconds

ActorClass = TypeVar("ActorClass", bound=type)
Period = Union[int, float, timedelta]
DEFAULT = timedelta(seconds=10)


class _Expiry:
    """Payload of the wakeups that end an actor; everything else is the actor's own."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Expiry)

    __hash__ = None  # type: ignore[assignment]


def transient(exit_delay: Period = DEFAULT) -> Callable[[ActorClass], ActorClass]:
    """Class decorator: the actor ends ``exit_delay`` after its first message."""

    def decorate(cls: Any) -> Any:
        def on_message(actor: Any) -> None:
            if not hasattr(actor, "_transient_end"):
                actor._transient_end = _in(exit_delay)
                actor.wakeupAfter(exit_delay, _Expiry())

        return _wrapped(cls, exit_delay, on_message)

    return decorate


def transient_idle(exit_delay: Period = DEFAULT) -> Callable[[ActorClass], ActorClass]:
    """Class decorator: the actor ends when it has had no message for ``exit_delay``."""

    def decorate(cls: Any) -> Any:
        def on_message(actor: Any) -> None:
            # One wakeup is under way at a time: it is set again for what is left when it comes.
            running = hasattr(actor, "_transient_end")
            actor._transient_end = _in(exit_delay)
            if not running:
                actor.wakeupAfter(exit_delay, _Expiry())

        return _wrapped(cls, exit_delay, on_message)

    return decorate


def _in(period: Period) -> float:
    return time.monotonic() + timePeriodSeconds(period)


def _wrapped(cls: Any, period: Period, on_message: Callable[[Any], None]) -> Any:
    timePeriodSeconds(period)
    receive = cls.receiveMessage

    @functools.wraps(receive)
    def receiveMessage(self: Any, message: Any, sender: Any) -> Any:
        if isinstance(message, WakeupMessage) and isinstance(message.payload, _Expiry):
            left = self._transient_end - time.monotonic()
            if left > 0:
                self.wakeupAfter(left, message.payload)
            else:
                self.send(self.myAddress, ActorExitRequest())
            return None
        if not isinstance(message, ActorSystemMessage):
            on_message(self)
        return receive(self, message, sender)

    cls.receiveMessage = receiveMessage
    return cls
