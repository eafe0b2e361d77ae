"""The operations of one actor: sending, creating, timers. Behind ``Actor._myRef``.

Not here: the main loop and the handling of messages (``worker``).
"""

import collections
import heapq
import itertools
import pickle
import threading
import time
import traceback
from datetime import timedelta
from typing import Any, Deque, Dict, List, Optional, Set, Tuple

from thespian.system import (
    address,
    capable,
    control,
    flow,
    link,
    literal,
    naming,
    reading,
    sourcefile,
    trust,
    wire,
)
from thespian.system.errors import (
    InvalidActorAddress,
    InvalidActorSpecification,
    UnsupportedOperation,
)
from thespian.system.messages import (
    ActorExitRequest,
    ChildActorExited,
    PoisonMessage,
    ValidatedSource,
)
from thespian.system.messages.status import Thespian_StatusReq

# Sends of one handler that are written one by one; further ones are collected.
EAGER_SENDS = 16
FLUSH_AFTER_S = 0.001
_dumps = pickle.dumps
_pack = wire.MESSAGE.pack
_HEADER_REST = wire.HEADER_BYTES - 4
Timer = Tuple[float, int, Any, Any]


class Runtime:
    """One actor's side of the connection to its node."""

    def __init__(self, spec: Dict[str, Any], sock: Any, rule: trust.Rule) -> None:
        self.spec = spec
        self.own = bytes.fromhex(spec["actor"])
        self.address = address.restore_address(self.own)
        self.global_name: Optional[str] = spec.get("global_name")
        self.incarnation: int = spec["incarnation"]
        origin = spec["origin"]
        self.source = bytes.fromhex(origin["source"]) if "source" in origin else wire.NO_SOURCE
        self.trace = wire.NO_TRACE
        self._node = address.allot(self.incarnation, address.NODE_SERIAL)._key
        # Of the frame whose message is being handled; None: it came from the actor itself.
        self.header: Optional[wire.Header] = None
        self.link = link.Link(sock, self._on_control)
        self.reader = reading.Reader(self.own, self.incarnation, self.source, rule)
        # Messages to oneself, and what the runtime itself has to tell its actor.
        self.local: Deque[Tuple[Any, ...]] = collections.deque()
        self.timers: List[Timer] = []
        self.children: Set[address.ActorAddress] = set()
        self.sends = 0
        self.forked = False
        # The actor has handled its exit request and waits for its children.
        self.leaving = False
        self._collected = 0
        self._serials = itertools.count(spec["allotment"])
        self._order = itertools.count()
        self._requests = itertools.count(1)
        self._answers: Dict[int, control.Document] = {}
        self._unblocked: Optional[str] = None
        self._flusher: Optional[threading.Event] = None
        self._in_handler = False

    # Sending

    def send(self, target: Any, message: Any) -> None:
        """Pickles the message and sends it, or waits until the target has credit."""
        try:
            key = target._key
        except AttributeError:
            raise InvalidActorAddress(target, "not a valid ActorAddress") from None
        if type(message) is ActorExitRequest and key != self.own:
            self._send_exit_request(key, message.isRecursive)
            return
        if type(message) is Thespian_StatusReq and key != self.own:
            payload = control.encode({"system": "status_request"})
            self.send_system(key, wire.JSON, payload, wire.SYSTEM)
            return
        lane = self.link.lanes.get(key) or self._open(target, key)
        prefix = lane.prefix
        try:
            if lane.literal:
                payload, prefix = self._literal(message, key, prefix)
            else:
                payload = _dumps(message, 5)
        except Exception:
            self.tell_self(PoisonMessage(message, traceback.format_exc()))
            return
        if len(payload) >= link.JOIN_BYTES and wire.too_long(payload):
            self.tell_self(PoisonMessage(message, wire.too_long(payload)))
            return
        if lane.free:
            self.local.append((payload, self.trace))
            return
        if not lane.may_send() and not self._await_credit(lane, key):
            reason = self._unblocked or "the wait for credit was given up"
            self._unblocked = None
            self.tell_self(PoisonMessage(message, reason))
            return
        lane.sequence += 1
        lane.messages += 1
        size = _HEADER_REST + len(payload)
        lane.bytes += size + 4
        head = _pack(size, prefix, lane.sequence, self.source, self.trace)
        if size < link.JOIN_BYTES:
            self._write(head + payload, size)
        else:
            self.link.queue(head)
            self.link.queue(payload)
            self.flush()

    def _open(self, target: address.ActorAddress, key: bytes) -> flow.Lane:
        lane = self.link.lanes.open(key, self.own, self.incarnation)
        if isinstance(target, address.LiteralAddress):
            self._speak_literally(lane, key)
        elif key == self._node:
            lane.literal = True
        return lane

    def answer_in_kind(self, key: bytes) -> address.ActorAddress:
        """What goes to this sender of a literal is a literal as well; the address that knows so."""
        lanes = self.link.lanes
        lane = lanes.get(key) or lanes.open(key, self.own, self.incarnation)
        if not (lane.literal or lane.free):
            self._speak_literally(lane, key)
        return address.restore_literal(key)

    def _speak_literally(self, lane: flow.Lane, key: bytes) -> None:
        lane.literal = True
        lane.prefix = wire.prefix(0, wire.LITERAL, 0, self.own, key, self.incarnation)

    def _literal(self, message: Any, key: bytes, prefix: bytes) -> Tuple[bytes, bytes]:
        if key == self._node:
            return _to_node(message), wire.prefix(0, wire.RAW, 0, self.own, key, self.incarnation)
        payload, is_literal = literal.encode(message)
        if not is_literal:
            flags = wire.NO_LITERAL
            prefix = wire.prefix(flags, wire.LITERAL, 0, self.own, key, self.incarnation)
        return payload, prefix

    def _write(self, frame: bytes, size: int) -> None:
        self.sends += 1
        if self.sends <= EAGER_SENDS:
            self.link.send_now(frame)
            return
        self.link.queue(frame)
        self._collected += size
        if self._collected >= link.BATCH_BYTES:
            self.flush()
        elif self.sends == EAGER_SENDS + 1 and self._in_handler:
            self._arm_flusher()

    def _send_exit_request(self, key: bytes, recursive: bool) -> None:
        document = {"system": "actor_exit_request", "recursive": recursive}
        self.send_system(key, wire.JSON, control.encode(document), wire.SYSTEM)

    def send_system(self, key: bytes, payload_kind: int, payload: bytes, flags: int) -> None:
        """Sends what needs no credit."""
        lanes = self.link.lanes
        lane = lanes.get(key) or lanes.open(key, self.own, self.incarnation)
        lane.sequence += 1
        head = wire.prefix(flags, payload_kind, 0, self.own, key, self.incarnation)
        size = _HEADER_REST + len(payload)
        frame = _pack(size, head, lane.sequence, self.source, self.trace) + payload
        self._write(frame, size)

    def tell_self(self, message: Any, sender: Optional[address.ActorAddress] = None) -> None:
        """Has the actor handle this object next among what it told itself."""
        self.local.append((message, sender or self.address, None))

    def flush(self) -> None:
        """Writes all that is collected."""
        self._collected = 0
        self.link.flush()

    def begin(self) -> None:
        """A handler begins."""
        self.sends = 0
        self._in_handler = True

    def finish(self) -> None:
        """A handler has ended: what it sent is written."""
        self._in_handler = False
        if self.link.owed >= flow.RIDE_BYTES:
            self.link.report_window()
            self.flush()
        elif self._collected:
            self.flush()

    def _arm_flusher(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Event()
            threading.Thread(target=self._flush_late, name="flusher", daemon=True).start()
        self._flusher.set()

    def _flush_late(self) -> None:
        """Writes what a long handler has collected, without waiting for its end."""
        armed = self._flusher
        assert armed is not None
        while True:
            armed.wait()
            armed.clear()
            while self._in_handler:
                time.sleep(FLUSH_AFTER_S)
                try:
                    self.link.flush_some()
                except (link.Closed, ValueError):
                    return

    def _await_credit(self, lane: flow.Lane, key: bytes) -> bool:
        self._unblocked = None
        told = []

        def on_blocked(full: bool) -> None:
            told.append(full)
            self.link.send_now(
                control.notice("blocked", target=wire.target_of(key)[1].hex(), inbox_full=full)
            )

        self._collected = 0
        going_on = self.link.await_credit(lane, on_blocked, lambda: self._unblocked is not None)
        if told:
            self.link.send_now(control.notice("blocked", target=None, inbox_full=False))
        return going_on

    # Creating

    def create(
        self,
        actor_class: Any,
        requirements: Optional[Dict[str, Any]],
        global_name: Optional[str],
        source_hash: Optional[str],
    ) -> address.ActorAddress:
        """Asks the node for another actor; with a global name, waits for the answer."""
        name = class_name(actor_class)
        child = address.allot(self.incarnation, next(self._serials))
        if self.leaving:
            # A child that replaced one that was told to exit would be waited for without end.
            return child
        if source_hash is not None and not naming.is_source_hash(source_hash):
            self.tell_self(ChildActorExited(child))
            return child
        number = next(self._requests) if global_name is not None else 0
        document = {
            "actor": child._key.hex(),
            "class": name,
            "source": source_hash,
            # Children of a client program's actors come from the same program.
            "client": self.spec["origin"].get("client") if source_hash is None else None,
            "requirements": capable.to_literal(requirements),
            "global_name": global_name,
        }
        frame = control.request(number, "create_actor", **document)
        if global_name is None:
            self.children.add(child)
            self._write(frame, len(frame))
            return child
        answer = self._answer_to(number, frame)
        if answer.get("answer") == "created":
            return address.from_hex(answer["actor"])
        self.tell_self(ChildActorExited(child))
        return child

    def _answer_to(self, number: int, frame: bytes) -> control.Document:
        self.link.send_now(frame)
        while number not in self._answers:
            self.link.stash()
            self.link.pump()
            if number not in self._answers:
                self.link.report_window()
                self.link.flush()
                self.link.wait(None)
        return self._answers.pop(number)

    # The rest

    def wakeup_after(self, period: Any, payload: Any) -> None:
        """Sets a timer."""
        seconds = period.total_seconds() if isinstance(period, timedelta) else float(period)
        due = time.monotonic() + max(0.0, seconds)
        heapq.heappush(self.timers, (due, next(self._order), period, payload))

    def handle_dead_letters(self, on: bool) -> None:
        """Registers for dead letters, or no longer."""
        self.link.send_now(control.notice("handle_dead_letters", on=bool(on)))

    def request(self, op: str, **fields: Any) -> None:
        """Sends a request that wants no answer."""
        self.link.send_now(control.request(0, op, **fields))

    def update_capability(self, name: Any, value: Any) -> None:
        """Changes a capability of the node."""
        fields = {"name": capable.to_literal(name), "value": capable.to_literal(value)}
        self.request("application", ask="update_capability", **fields)

    def load_source(self, source: Any) -> str:
        """Loads a source; its hash, before it is validated."""
        data, info = sourcefile.read(source)
        found = sourcefile.hash_of(data)
        document = {"delivery": "load_source", "hash": found, "info": info}
        self.send(address.restore_address(self._node), _Delivery(document, data))
        return found

    def unload_source(self, source_hash: Any) -> None:
        """Unloads a source; an unknown hash is ignored."""
        if naming.is_source_hash(source_hash):
            self.request("application", ask="unload_source", hash=source_hash)

    def register_source_authority(self) -> None:
        """Makes this actor the one that validates sources."""
        self.request("application", ask="register_source_authority")

    def notify_sources(self, on: bool) -> None:
        """Has this actor told of sources, or no longer."""
        self.request("application", ask="notify_sources", on=bool(on))

    def notify_members(self, on: bool) -> None:
        """Has this actor told of the other nodes of the convention, or no longer."""
        self.request("application", ask="notify_members", on=bool(on))

    def invite_system(self, told: Any, capabilities: Any) -> None:
        """Has the node fetch a system into its convention; raises where it never comes."""
        offered = capable.to_literal(dict(capabilities or {}))
        self._of_system("invite_system", told, capabilities=offered)

    def dismiss_system(self, told: Any) -> None:
        """Has the node let a system go; raises where it stays."""
        self._of_system("dismiss_system", told)

    def _of_system(self, ask: str, told: Any, **fields: Any) -> None:
        of_node = isinstance(told, address.ActorAddress)
        fields["address"] = told._key.hex() if of_node else str(told)
        number = next(self._requests)
        answer = self._answer_to(number, control.request(number, "application", ask=ask, **fields))
        if answer.get("answer") == "failed":
            raise UnsupportedOperation("%s (%s)" % (answer["message"], answer.get("hint")))

    def _on_control(self, header: wire.Header, payload: Any) -> None:
        kind = header[wire.KIND]
        if kind == wire.CREDIT_KIND:
            self.link.lanes.credit(payload)
        elif kind == wire.RESPONSE:
            if header[wire.SEQUENCE]:
                self._answers[header[wire.SEQUENCE]] = control.decode(payload)
        elif kind == wire.NOTICE:
            document = control.decode(payload)
            if document.get("notice") == "unblock":
                self._unblocked = str(document.get("reason"))


class _Delivery:
    """A document for the node, and the bytes that go with it."""

    def __init__(self, document: control.Document, data: bytes) -> None:
        self.document = document
        self.data = data


def _to_node(message: Any) -> bytes:
    """What the node gets of a message to its own address: it never unpickles."""
    if isinstance(message, ValidatedSource):
        accepted = message.sourceZip is not None
        info = None if message.sourceInfo is None else str(message.sourceInfo)
        document = {"delivery": "validated_source", "hash": str(message.sourceHash)}
        message = _Delivery(
            dict(document, accepted=accepted, info=info), bytes(message.sourceZip or b"")
        )
    if not isinstance(message, _Delivery):
        return b""
    head = control.encode(message.document)
    return wire.ENVELOPE.pack(len(head)) + head + message.data


def class_name(actor_class: Any) -> str:
    """The name of what was given to createActor; raises InvalidActorSpecification."""
    if isinstance(actor_class, str):
        if "." not in actor_class:
            raise InvalidActorSpecification(
                actor_class, "a qualified name is needed: pkg.mod.Class"
            )
        return actor_class
    if not isinstance(actor_class, type):
        raise InvalidActorSpecification(actor_class, "a class or the name of one is needed")
    name = naming.name_of(actor_class)
    if "<locals>" in name:
        raise InvalidActorSpecification(actor_class, "it is defined inside a function")
    return name
