"""A decorator that makes an actor a troupe: a leader that hands its messages to workers.

``@troupe(max_count=10, idle_count=2)``: each message that is not the system's goes to an idle
worker, else to a new one while there are less than ``max_count``, else it waits. Workers are
actors of the same class and see the original sender. A worker that sets
``self.troupe_work_in_progress`` to True stays busy until a later message sets it to False. Idle
workers beyond ``idle_count`` are dismissed after ``DISMISS_EXTRA_PERIOD``. The work of a worker
that exits goes to another one.

The leader answers ``"troupe:status?"``, ``"troupe:set_max_count=N"``,
``"troupe:set_idle_count=N"`` and ``UpdateTroupeSettings``.
"""

import collections
import functools
from datetime import timedelta
from typing import Any, Callable, Deque, Dict, List, Optional, Set, TypeVar

from thespian.actors import (
    ActorExitRequest,
    ActorSystemMessage,
    ChildActorExited,
    PoisonMessage,
    WakeupMessage,
)
from thespian.system import naming

DISMISS_EXTRA_PERIOD = timedelta(seconds=2)
# A piece of work whose workers exit this often is given up.
ATTEMPTS_MAX = 3
ActorClass = TypeVar("ActorClass", bound=type)
_STATUS = "troupe:status?"
_SETTINGS = {"troupe:set_max_count=": "max_count", "troupe:set_idle_count=": "idle_count"}


class UpdateTroupeSettings:
    """Changes a troupe's counts; answered with one that has the counts in effect."""

    def __init__(self, max_count: Optional[int] = None, idle_count: Optional[int] = None) -> None:
        for name, count in (("max_count", max_count), ("idle_count", idle_count)):
            if count is not None and not count > 0:
                raise AssertionError("%s is at least 1, not %r" % (name, count))
        self.max_count = max_count
        self.idle_count = idle_count


class _Work:
    """A message on its way to a worker."""

    def __init__(self, number: int, message: Any, sender: Any) -> None:
        self.number = number
        self.message = message
        self.sender = sender
        self.attempts = 0


class _Ready:
    """A worker's word that a piece of work is done."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Dismissal:
    """Payload of the wakeup at which surplus workers go."""


class _Leader:
    """The leader's side of a troupe."""

    def __init__(self, actor: Any, max_count: int, idle_count: int) -> None:
        self._actor = actor
        self._class_name = naming.name_of(type(actor))
        self.max_count = max_count
        self.idle_count = idle_count
        self._idle: List[Any] = []
        self._busy: Dict[Any, _Work] = {}
        self._leaving: Set[Any] = set()
        self._waiting: Deque[_Work] = collections.deque()
        self._numbers = 0
        self._dismissing = False

    def give(self, message: Any, sender: Any) -> None:
        """Takes a message in as work."""
        self._numbers += 1
        self._waiting.append(_Work(self._numbers, message, sender))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            if self._idle:
                worker = self._idle.pop()
            elif len(self._busy) < self.max_count:
                worker = self._actor.createActor(self._class_name)
            else:
                return
            work = self._busy[worker] = self._waiting.popleft()
            work.attempts += 1
            self._actor.send(worker, work)

    def ready(self, worker: Any, number: int) -> None:
        """A worker has done its work."""
        work = self._busy.get(worker)
        if work is None or work.number != number:
            return
        del self._busy[worker]
        if len(self._busy) + len(self._idle) >= self.max_count:
            self._let_go(worker)
        else:
            self._idle.append(worker)
        self._hand_out()
        if not self._dismissing and len(self._idle) > self.idle_count:
            self._dismissing = True
            self._actor.wakeupAfter(DISMISS_EXTRA_PERIOD, _Dismissal())

    def dismiss(self) -> None:
        """Ends idle workers beyond the count to keep."""
        self._dismissing = False
        surplus, self._idle = self._idle[self.idle_count :], self._idle[: self.idle_count]
        for worker in surplus:
            self._let_go(worker)

    def _let_go(self, worker: Any) -> None:
        self._leaving.add(worker)
        self._actor.send(worker, ActorExitRequest())

    def exited(self, worker: Any) -> bool:
        """A child has exited; whether it was a worker."""
        if worker in self._leaving:
            self._leaving.remove(worker)
            return True
        if worker in self._idle:
            self._idle.remove(worker)
            return True
        work = self._busy.pop(worker, None)
        if work is None:
            return False
        if work.attempts < ATTEMPTS_MAX:
            self._waiting.appendleft(work)
        else:
            details = "%d workers of the troupe exited while they handled it" % work.attempts
            self._actor.send(work.sender, PoisonMessage(work.message, details))
        self._hand_out()
        return True

    def failed(self, poison: PoisonMessage) -> bool:
        """Work came back; whether it did, and its sender has been told."""
        work = poison.poisonMessage
        if not isinstance(work, _Work):
            return False
        for worker, given in self._busy.items():
            if given.number == work.number:
                self._actor.send(work.sender, PoisonMessage(work.message, poison.details))
                self.ready(worker, work.number)
                break
        return True

    def update(self, settings: UpdateTroupeSettings) -> UpdateTroupeSettings:
        """Sets the counts that are given; what holds now."""
        self.max_count = settings.max_count or self.max_count
        self.idle_count = settings.idle_count or self.idle_count
        self._hand_out()
        return UpdateTroupeSettings(self.max_count, self.idle_count)

    def status(self) -> str:
        """The troupe as text."""
        return "Idle=%d, Max=%d, Troupe: %d idle, %d busy, %d waiting" % (
            self.idle_count,
            self.max_count,
            len(self._idle),
            len(self._busy),
            len(self._waiting),
        )

    def command(self, text: str) -> str:
        """The answer to a control message with a setting."""
        prefix = next(prefix for prefix in _SETTINGS if text.startswith(prefix))
        name = _SETTINGS[prefix]
        try:
            self.update(UpdateTroupeSettings(**{name: int(text[len(prefix) :])}))
        except (ValueError, AssertionError) as error:
            return "Error changing %s: %s" % (name, error)
        return "Set troupe %s to %d" % (name, getattr(self, name))


def troupe(max_count: int = 10, idle_count: int = 2) -> Callable[[ActorClass], ActorClass]:
    """Class decorator: makes the actor a troupe."""

    def decorate(cls: Any) -> Any:
        receive = cls.receiveMessage

        @functools.wraps(receive)
        def receiveMessage(self: Any, message: Any, sender: Any) -> Any:
            if isinstance(message, _Work):
                return _work(self, message, sender, receive)
            given = self.__dict__.get("_troupe_given")
            if given is not None:
                return _go_on(self, message, sender, receive)
            leader = self.__dict__.get("_troupe_leader")
            if leader is None:
                leader = self._troupe_leader = _Leader(self, max_count, idle_count)
            return _lead(self, leader, message, sender, receive)

        cls.receiveMessage = receiveMessage
        return cls

    return decorate


# A worker


def _work(actor: Any, work: _Work, leader: Any, receive: Callable) -> Any:
    actor._troupe_given = (leader, work.number)
    actor.troupe_work_in_progress = False
    result = receive(actor, work.message, work.sender)
    _report(actor)
    return result


def _go_on(actor: Any, message: Any, sender: Any, receive: Callable) -> Any:
    """A message to a worker that is not work: an answer that it waits for, or the system's."""
    result = receive(actor, message, sender)
    _report(actor)
    return result


def _report(actor: Any) -> None:
    leader, number = actor._troupe_given
    if number is not None and not getattr(actor, "troupe_work_in_progress", False):
        actor._troupe_given = (leader, None)
        actor.send(leader, _Ready(number))


# The leader


def _lead(actor: Any, leader: _Leader, message: Any, sender: Any, receive: Callable) -> Any:
    if isinstance(message, _Ready):
        leader.ready(sender, message.number)
    elif isinstance(message, UpdateTroupeSettings):
        actor.send(sender, leader.update(message))
    elif isinstance(message, str) and message == _STATUS:
        actor.send(sender, leader.status())
    elif isinstance(message, str) and message.startswith(tuple(_SETTINGS)):
        actor.send(sender, leader.command(message))
    elif isinstance(message, WakeupMessage) and isinstance(message.payload, _Dismissal):
        leader.dismiss()
    elif isinstance(message, ActorSystemMessage):
        return _lead_system(leader, message, lambda: receive(actor, message, sender))
    else:
        leader.give(message, sender)
    return None


def _lead_system(leader: _Leader, message: Any, receive: Callable[[], Any]) -> Any:
    if isinstance(message, ChildActorExited) and leader.exited(message.childAddress):
        return None
    if isinstance(message, PoisonMessage) and leader.failed(message):
        return None
    return receive()
