"""A decorator for actors that need certain messages before they can work.

``@initializing_messages([(attribute, type), (attribute, type, True), ...], initdone=None)`` keeps
the first message of each type in the attribute (with True also its sender, in
``<attribute>_sender``) and holds all others back until every attribute is set. Then the method
``initdone`` is called, and what was held back is delivered in order. With ``init_passthru`` nothing
is held back. System messages always pass.

Not together with ``troupe``; above ``transient``.
"""

import functools
from typing import Any, Callable, List, Optional, Sequence, Tuple, TypeVar

from thespian.system.messages import ActorSystemMessage

ActorClass = TypeVar("ActorClass", bound=type)
Entry = Tuple[Any, ...]


def initializing_messages(
    initset: Sequence[Entry], initdone: Optional[str] = None, init_passthru: bool = False
) -> Callable[[ActorClass], ActorClass]:
    """Class decorator; raises TypeError if the class has no method ``initdone``."""
    wanted = [_entry(entry) for entry in initset]

    def decorate(cls: Any) -> Any:
        if initdone is not None and not callable(getattr(cls, initdone, None)):
            raise TypeError(
                "`%s` has no method `%s`, which is named as `initdone`" % (cls.__name__, initdone)
            )
        receive = cls.receiveMessage

        @functools.wraps(receive)
        def receiveMessage(self: Any, message: Any, sender: Any) -> Any:
            state = self.__dict__.get("_initializing")
            if state is None:
                state = self._initializing = _Initializing(wanted)
            if state.done or isinstance(message, ActorSystemMessage):
                return receive(self, message, sender)
            if not state.take(self, message, sender):
                if init_passthru:
                    return receive(self, message, sender)
                state.held.append((message, sender))
                return None
            if state.missing:
                return None
            state.done = True
            if initdone is not None:
                getattr(self, initdone)()
            return _deliver(self, state, receive)

        cls.receiveMessage = receiveMessage
        return cls

    return decorate


class _Initializing:
    """How far one actor has come."""

    def __init__(self, wanted: List[Tuple[str, type, bool]]) -> None:
        self.missing = list(wanted)
        self.held: List[Tuple[Any, Any]] = []
        self.done = not wanted

    def take(self, actor: Any, message: Any, sender: Any) -> bool:
        """Keeps the message if it is one that is missing."""
        for entry in self.missing:
            attribute, kind, with_sender = entry
            if isinstance(message, kind):
                setattr(actor, attribute, message)
                if with_sender:
                    setattr(actor, attribute + "_sender", sender)
                self.missing.remove(entry)
                return True
        return False


def _entry(entry: Entry) -> Tuple[str, type, bool]:
    if len(entry) not in (2, 3) or not isinstance(entry[0], str):
        raise TypeError(
            "an initializing message is (attribute, type) or (attribute, type, True): `%r` is not"
            % (entry,)
        )
    return entry[0], entry[1], len(entry) == 3 and bool(entry[2])


def _deliver(actor: Any, state: _Initializing, receive: Callable[..., Any]) -> Any:
    """Delivers what was held back; the result of the last one counts.

    If one fails, the failure shows in the log and the others are delivered all the same.
    """
    result = None
    held, state.held = state.held, []
    for message, sender in held:
        try:
            result = receive(actor, message, sender)
        except Exception:
            actor.logger().exception("a message that was held back failed: %r", message)
    return result
