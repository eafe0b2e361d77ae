"""``simpleSystemBase``: actors in this very process, for unit tests; nothing runs by itself.

Messages are handled while the program is inside ``tell``, ``ask``, ``listen`` or ``createActor``,
in the order in which they were sent, and are not copied. Otherwise actors behave as on a node: a
handler that raises is called a second time, then its message goes back as poison.
Not here: sources, conventions, watching descriptors; those need a node.
"""

import collections
import copy
import heapq
import itertools
import logging
import os
import sys
import threading
import time
import traceback
from typing import Any, Deque, Dict, List, Optional, Set, Tuple

from thespian.system import address, capable, naming
from thespian.system.endpoint import is_for_programs
from thespian.system.errors import (
    ActorStartFailure,
    InvalidActorAddress,
    InvalidActorSourceHash,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    UnsupportedOperation,
)
from thespian.system.messages import (
    ActorExitRequest,
    ActorSystemMessage,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
    WakeupMessage,
    status,
)
from thespian.system.runtime import class_name
from thespian.system.timing import timePeriodSeconds

NAME = "simpleSystemBase"
# A tell returns after this long also if the actors go on and on among themselves.
RUN_LIMIT_S = 5.0
_log = logging.getLogger("thespian")
Address = address.ActorAddress


class _Cell:
    """An actor in its system."""

    def __init__(self, instance: Any, parent: Optional[Address]) -> None:
        self.instance = instance
        self.parent = parent
        self.children: Set[Address] = set()


class SimpleRuntime:
    """What an actor's ``_myRef`` is here."""

    def __init__(self, system: "SimpleSystem", own: Address, global_name: Optional[str]) -> None:
        self._system = system
        self.address = own
        self.global_name = global_name

    def send(self, target: Any, message: Any) -> None:
        """Puts a message behind all others."""
        if not isinstance(target, Address):
            raise InvalidActorAddress(target, "not a valid ActorAddress")
        self._system.put(target, message, self.address)

    def create(
        self, actor_class: Any, requirements: Any, global_name: Any, source_hash: Any
    ) -> Address:
        """Creates a child; a failure comes as ChildActorExited."""
        return self._system.create_child(
            self.address, actor_class, requirements, global_name, source_hash
        )

    def wakeup_after(self, period: Any, payload: Any) -> None:
        """Sets a timer."""
        self._system.set_timer(self.address, period, payload)

    def handle_dead_letters(self, on: bool) -> None:
        """Registers for dead letters, or no longer."""
        self._system.handle_dead_letters(self.address, on)

    def request(self, op: str, **_fields: Any) -> None:
        """Asks something of the system: only to shut down."""
        if op == "shutdown":
            self._system.stop_soon()

    def update_capability(self, name: str, value: Any) -> None:
        """Changes a capability of the system."""
        self._system.update_capability(None, name, value)

    def load_source(self, _source: Any) -> str:
        """Needs a node."""
        return self.unsupported("loadActorSource")

    def unload_source(self, _source_hash: Any) -> None:
        """Needs a node."""
        self.unsupported("unloadActorSource")

    def register_source_authority(self) -> None:
        """Needs a node."""
        self.unsupported("registerSourceAuthority")

    def notify_sources(self, _on: bool) -> None:
        """Needs a node."""
        self.unsupported("notifyOnSourceAvailability")

    def notify_members(self, _on: bool) -> None:
        """There are no other systems here, and never will be."""

    def invite_system(self, _told: Any, _capabilities: Any) -> None:
        """Needs a node."""
        self.unsupported("preRegisterRemoteSystem")

    def dismiss_system(self, _told: Any) -> None:
        """Needs a node."""
        self.unsupported("deRegisterRemoteSystem")

    def unsupported(self, name: str) -> Any:
        """Says that an operation needs a node."""
        raise UnsupportedOperation("`%s` is not offered by `%s`" % (name, NAME))


class SimpleSystem:
    """All actors of one in-process system, and what is under way between them."""

    port = None

    def __init__(self, capabilities: Dict[str, Any]) -> None:
        self._lock = threading.RLock()
        self._incarnation = int.from_bytes(os.urandom(8), "big")
        self._serials = itertools.count(2)
        self._order = itertools.count()
        self._cells: Dict[Address, _Cell] = {}
        self._names: Dict[str, Address] = {}
        self._inboxes: Dict[Address, Deque[Any]] = {}
        self._queue: Deque[Tuple[Address, Any, Address]] = collections.deque()
        self._timers: List[Tuple[float, int, Address, Any, Any]] = []
        self._dead_letters: Optional[Address] = None
        self._running = False
        self._stopping = False
        self.capabilities = _own_capabilities(capabilities)
        self.endpoint = self.new_endpoint()

    # For programs

    def new_endpoint(self) -> "SimpleEndpoint":
        """Another way in, with messages of its own."""
        own = self._allot()
        self._inboxes[own] = collections.deque()
        return SimpleEndpoint(self, own)

    def forget_endpoint(self, own: Address) -> None:
        """Ends an endpoint."""
        self._inboxes.pop(own, None)

    def create(self, _endpoint: Any, spec: Any, requirements: Any, name: Any, source: Any) -> Any:
        """Creates a top-level actor, or raises."""
        with self._lock:
            if name is not None and name in self._names:
                return self._names[name]
            own = self._allot()
            self._bring_up(own, None, spec, requirements, name, source)
            self.catch_up()
            return own

    def load_source(self, _endpoint: Any, _source: Any) -> str:
        """Needs a node."""
        raise UnsupportedOperation("`loadActorSource` is not offered by `%s`" % NAME)

    def unload_source(self, _endpoint: Any, _source_hash: Any) -> None:
        """Needs a node."""
        raise UnsupportedOperation("`unloadActorSource` is not offered by `%s`" % NAME)

    def update_capability(self, _endpoint: Any, name: str, value: Any) -> None:
        """Sets or removes a capability; actors that do not fit any more end."""
        with self._lock:
            if value is None:
                self.capabilities.pop(name, None)
            else:
                self.capabilities[name] = value
            for own, cell in list(self._cells.items()):
                if not capable.fits(type(cell.instance), self.capabilities, None):
                    self.put(own, ActorExitRequest(), own)
            self.catch_up()

    def shut_down(self, _seconds: float = 0.0) -> None:
        """Ends all actors."""
        with self._lock:
            for own, cell in list(self._cells.items()):
                if cell.parent is None:
                    self.put(own, ActorExitRequest(), own)
            self.catch_up()
            self._cells.clear()
            self._timers.clear()
            self._names.clear()

    def catch_up(self) -> None:
        """Handles what is under way, and the timers that are due."""
        with self._lock:
            self.run(time.monotonic() + RUN_LIMIT_S)

    def take_in(self, target: Address, message: Any, sender: Address) -> None:
        """A program's message: what was due before it comes before it."""
        with self._lock:
            self.catch_up()
            self.put(target, message, sender)

    def next_for(self, own: Address, limit: Optional[float]) -> Any:
        """Runs actors until there is a message for this endpoint, or none can come in time."""
        with self._lock:
            inbox = self._inboxes[own]
            while True:
                # What is under way is handled also when there is no time to wait.
                least = time.monotonic() + RUN_LIMIT_S
                self.run(None if limit is None else max(limit, least), inbox)
                while inbox:
                    message = inbox.popleft()
                    if not isinstance(message, ActorSystemMessage) or is_for_programs(message):
                        return message
                if not self._timers or self._running:
                    return None
                due = self._timers[0][0]
                if limit is not None and due > limit:
                    time.sleep(max(0.0, limit - time.monotonic()))
                    return None
                time.sleep(max(0.0, due - time.monotonic()))

    # For actors

    def put(self, target: Address, message: Any, sender: Address) -> None:
        """Puts a message behind all others."""
        self._queue.append((target, message, sender))

    def set_timer(self, own: Address, period: Any, payload: Any) -> None:
        """Has a WakeupMessage sent later."""
        due = time.monotonic() + max(0.0, timePeriodSeconds(period))
        heapq.heappush(self._timers, (due, next(self._order), own, period, payload))

    def handle_dead_letters(self, own: Address, on: bool) -> None:
        """Registers an actor for dead letters, or no longer."""
        if on:
            self._dead_letters = own
        elif self._dead_letters == own:
            self._dead_letters = None

    def stop_soon(self) -> None:
        """Ends all actors once the running handler has returned."""
        self._stopping = True

    def create_child(
        self, parent: Address, spec: Any, requirements: Any, name: Any, source: Any
    ) -> Address:
        """Creates an actor for another one."""
        if name is not None and name in self._names:
            return self._names[name]
        own = self._allot()
        try:
            self._bring_up(own, parent, spec, requirements, name, source)
        except InvalidActorSpecification:
            raise
        except Exception as error:
            _log.warning("an actor could not be created: %s", error)
            self.put(parent, ChildActorExited(own), parent)
        return own

    # Running

    def run(self, limit: Optional[float], inbox: Any = ()) -> None:
        """Handles messages until there is one in the inbox, or no more, or the time is over."""
        if self._running:
            return
        self._running = True
        try:
            while not inbox:
                self._fire()
                if not self._queue:
                    return
                self._deliver(*self._queue.popleft())
                if limit is not None and time.monotonic() >= limit:
                    return
        finally:
            self._running = False
            if self._stopping:
                self._stopping = False
                self.shut_down()

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            _due, _order, own, period, payload = heapq.heappop(self._timers)
            if own in self._cells:
                self.put(own, WakeupMessage(period, payload), own)

    def _deliver(self, target: Address, message: Any, sender: Address) -> None:
        if target in self._inboxes:
            self._inboxes[target].append(message)
            return
        cell = self._cells.get(target)
        if cell is None:
            self._bury(target, message)
            return
        if type(message) is status.Thespian_StatusReq:
            self.put(sender, self._status(target, cell), target)
            return
        if type(message) is ChildActorExited:
            cell.children.discard(message.childAddress)
        self._handle(cell, message, sender)
        if isinstance(message, ActorExitRequest):
            self._end(target, cell, message.isRecursive)

    def _status(self, own: Address, cell: _Cell) -> status.Thespian_ActorStatus:
        parent = cell.parent if cell.parent in self._cells else None
        answer = status.Thespian_ActorStatus(
            own, naming.name_of(type(cell.instance)), parentAddress=parent
        )
        answer.childActors = list(cell.children)
        answer.pendingWakeups = [(own, timer[3]) for timer in self._timers if timer[2] == own]
        return answer

    def _bury(self, target: Address, message: Any) -> None:
        handler = self._dead_letters
        quiet = isinstance(message, (DeadEnvelope, ChildActorExited, ActorExitRequest))
        if handler in self._cells and not quiet:
            self.put(handler, DeadEnvelope(target, message), handler)

    def _handle(self, cell: _Cell, message: Any, sender: Address) -> None:
        try:
            cell.instance.receiveMessage(message, sender)
            return
        except Exception:
            _log.warning("the handler raised; it is called again", exc_info=True)
        try:
            again = copy.deepcopy(message)
        except Exception:
            again = message
        try:
            cell.instance.receiveMessage(again, sender)
        except Exception:
            details = traceback.format_exc()
            _log.error("the handler raised again; the message goes back\n%s", details)
            if not isinstance(message, (PoisonMessage, ActorExitRequest)):
                self.put(sender, PoisonMessage(message, details), cell.instance.myAddress)

    def _end(self, own: Address, cell: _Cell, recursive: bool) -> None:
        del self._cells[own]
        self._names = {name: held for name, held in self._names.items() if held != own}
        if recursive:
            for child in cell.children:
                self.put(child, ActorExitRequest(), own)
        if self._dead_letters == own:
            self._dead_letters = None
        if cell.parent is not None:
            self.put(cell.parent, ChildActorExited(own), own)

    # Creating

    def _allot(self) -> Address:
        return address.allot(self._incarnation, next(self._serials))

    def _bring_up(
        self, own: Address, parent: Any, spec: Any, requirements: Any, name: Any, source: Any
    ) -> None:
        if source is not None:
            raise InvalidActorSourceHash(source)
        cls = _resolve(spec)
        if not capable.fits(cls, self.capabilities, requirements):
            raise NoCompatibleSystemForActor(spec, "No compatible ActorSystem")
        try:
            instance = capable.construct(cls, lambda: dict(self.capabilities), lambda: requirements)
        except Exception as error:
            text = "the constructor of `%s` raised %s: %s" % (
                naming.name_of(cls),
                type(error).__name__,
                error,
            )
            raise ActorStartFailure(text, traceback.format_exc()) from error
        instance._myRef = SimpleRuntime(self, own, name)
        self._cells[own] = _Cell(instance, parent)
        if name is not None:
            self._names[name] = own
        if parent in self._cells:
            self._cells[parent].children.add(own)

    def instance(self, own: Address) -> Any:
        """The actor object with this address, for tests that look into it."""
        return self._cells[own].instance


class SimpleEndpoint:
    """One program's, or one thread's, way into a simple system."""

    def __init__(self, system: SimpleSystem, own: Address) -> None:
        self._system = system
        self._own = own

    def tell(self, target: Address, message: Any) -> None:
        """Sends a message and lets the actors run."""
        self._system.take_in(target, message, self._own)
        self._system.catch_up()

    def ask(self, target: Address, message: Any, seconds: Optional[float]) -> Any:
        """Sends a message and returns the next one that comes, or None."""
        self._system.take_in(target, message, self._own)
        return self.listen(seconds)

    def listen(self, seconds: Optional[float]) -> Any:
        """The next message that comes, or None."""
        limit = None if seconds is None else time.monotonic() + seconds
        return self._system.next_for(self._own, limit)

    def close(self) -> None:
        """Ends this endpoint."""
        self._system.forget_endpoint(self._own)


def _resolve(spec: Any) -> type:
    from thespian import actors

    if isinstance(spec, type):
        if not issubclass(spec, actors.Actor):
            raise InvalidActorSpecification(spec, "it is no Actor")
        return spec
    try:
        return naming.resolve(class_name(spec), actors.is_actor)
    except naming.NotFound as error:
        if error.failure["code"] == "import_error":
            raise ImportError(error.failure["message"]) from error
        raise InvalidActorSpecification(spec, error.failure["message"]) from error


def _own_capabilities(given: Dict[str, Any]) -> Dict[str, Any]:
    own = {
        "Python Version": tuple(sys.version_info),
        "Thespian Generation": (3, 10),
        "Thespian Version": str(int(time.time() * 1000)),
        "Thespian ActorSystem Name": "simpleSystem",
        "Thespian ActorSystem Version": 2,
        "Thespian Watch Supported": False,
    }
    return dict(own, **given)
