"""One connection of an external program to its node.

A lock makes it safe to use from several threads; they take turns.
Not here: the API (``client``), finding the node (``locate``).
"""

import collections
import contextlib
import itertools
import os
import pickle
import threading
import time
from typing import Any, Deque, Dict, List, Optional, Tuple

from thespian.system import (
    address,
    capable,
    control,
    link,
    locate,
    program,
    reading,
    trust,
    wire,
)
from thespian.system.errors import (
    ActorSystemFailure,
    ActorSystemRequestTimeout,
    ActorSystemStartupFailure,
)
from thespian.system.messages import (
    ActorExitRequest,
    ActorSystemMessage,
    PoisonMessage,
    Unreadable,
    status,
)

CONNECT_LIMIT_S = 11.0
TELL_LIMIT_S = 60.0
UPLOAD_CHUNK_BYTES = 256 << 10
# The node answers much earlier; the protocol's first version has no such request.
AWAIT_EXITS_LIMIT_S = 2.0
AWAIT_EXITS_SINCE = 2
# An ask that waits less has no time for it.
AWAIT_EXITS_FROM_S = 0.5
EXITS_MAX = 1000
_HEADER_REST = wire.HEADER_BYTES - 4


class Endpoint:
    """Sends and receives for one external program."""

    def __init__(self, port: int, start: bool = True, capabilities: Any = None) -> None:
        self._lock = threading.RLock()
        self._port = port
        self._capabilities = capabilities
        self._pid = os.getpid()
        self._requests = itertools.count(1)
        self._asked: Tuple[int, bytes, Any] = (0, b"", None)
        self._ask_ended = False
        self._closing = False
        self._answers: Dict[int, control.Document] = {}
        self._given_up: List[int] = []
        # Told to exit since the last ask.
        self._to_exit: Deque[bytes] = collections.deque(maxlen=EXITS_MAX)
        self.link: Optional[link.Link] = None
        self.welcome: control.Document = {}
        self._connect(start)

    # Connection

    def _connect(self, start: bool) -> None:
        sock: Any
        if start:
            sock = locate.dial_or_start(self._port, self._capabilities)
        else:
            sock = locate.dial(self._port)
        if sock is None:
            raise ActorSystemFailure(
                "the node with admin port %d does not answer any more" % self._port
            )
        self.welcome, self._closing = {}, False
        self._answers.clear()
        self.link = link.Link(sock, self._on_control)
        own = program.identity(program.environment())
        self.link.send_now(control.hello("client", None, own))
        self._await_welcome()
        self.own = bytes.fromhex(self.welcome["address"])
        self.incarnation: int = self.welcome["incarnation"]
        allowed = trust.additions(os.environ.get(trust.ALLOW_VARIABLE))
        rule = trust.Rule(allowed)
        self.reader = reading.Reader(self.own, self.incarnation, wire.NO_SOURCE, rule)

    def _await_welcome(self) -> None:
        """Returns when the node has let this program in; raises why it has not."""
        limit = time.monotonic() + CONNECT_LIMIT_S
        try:
            while not self.welcome:
                if not self._receive(limit):
                    raise ActorSystemFailure("the node accepted the connection but does not answer")
                refusal = self._answers.pop(0, None)
                if refusal is not None:
                    told = (refusal.get("message"), refusal.get("hint"))
                    raise ActorSystemStartupFailure("the node refuses this program: %s (%s)" % told)
            spoken = self.welcome["protocol"]
            least, most = wire.PROTOCOL_VERSION_OLDEST, wire.PROTOCOL_VERSION
            if not least <= spoken <= most:
                raise ActorSystemStartupFailure(
                    "the node (version %s) speaks protocol %d, this module %d to %d: install the "
                    "module and the program of one version"
                    % (self.welcome.get("version"), spoken, least, most)
                )
        except link.Closed as error:
            self._lost()
            raise ActorSystemFailure("the node ended the connection: %s" % error) from error
        except ActorSystemFailure:
            self._lost()
            raise

    def _live(self) -> link.Link:
        """The connection; a new one if the node has been started again, or this is a fork."""
        if self.link is not None and self._pid == os.getpid():
            return self.link
        self._pid = os.getpid()
        self._connect(False)
        assert self.link is not None
        return self.link

    def _lost(self) -> None:
        if self.link is not None:
            self.link.close()
        self.link = None

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._lost()

    def capabilities(self) -> Dict[str, Any]:
        """The node's capabilities."""
        return capable.literal(self.welcome.get("capabilities")) or {}

    def _receive(self, limit: Optional[float]) -> bool:
        """Reads what comes until ``limit``; False if nothing came in time."""
        current = self.link
        assert current is not None
        current.report_window()
        current.flush()
        remaining = None if limit is None else limit - time.monotonic()
        if remaining is not None and remaining < 0:
            remaining = 0
        if not current.wait(remaining):
            return False
        current.receive()
        current.stash()
        return True

    def _on_control(self, header: wire.Header, payload: Any) -> None:
        kind = header[wire.KIND]
        if kind == wire.CREDIT_KIND:
            assert self.link is not None
            self.link.lanes.credit(payload)
        elif kind == wire.WELCOME:
            self.welcome = control.decode(payload)
        elif kind == wire.RESPONSE:
            number = header[wire.SEQUENCE]
            if number in self._given_up:
                self._given_up.remove(number)
            else:
                self._answers[number] = control.decode(payload)
        elif kind == wire.NOTICE:
            self._on_notice(control.decode(payload))

    def _on_notice(self, document: control.Document) -> None:
        name = document.get("notice")
        if name == "ask_ended":
            sequence, key, _message = self._asked
            target = bytes.fromhex(document["target"])
            if document["sequence"] == sequence and wire.target_of(key)[1:] == (target,):
                self._ask_ended = True
        elif name == "closing":
            self._closing = True

    # Messages

    def tell(self, target: address.ActorAddress, message: Any) -> None:
        """Sends a message; raises what pickling raises."""
        payload, kind, flags = _encoded(message)
        with self._lock:
            try:
                self._send(target._key, payload, kind, flags, 0)
                if type(message) is ActorExitRequest:
                    self._to_exit.append(target._key)
            except link.Closed as error:
                self._lost()
                raise ActorSystemFailure("the connection to the node was lost") from error

    def ask(self, target: address.ActorAddress, message: Any, seconds: Optional[float]) -> Any:
        """Sends a message and returns the next one that comes, or None."""
        payload, kind, flags = _encoded(message)
        deadline = 0 if seconds is None else max(1, min(int(seconds * 1000), 0xFFFFFFFF))
        with self._lock:
            if self._to_exit and (seconds is None or seconds >= AWAIT_EXITS_FROM_S):
                self._await_exits()
            limit = None if seconds is None else time.monotonic() + seconds
            self._ask_ended = False
            try:
                key = target._key
                sequence = self._send(key, payload, kind, flags | wire.ASK, deadline)
                self._asked = (sequence, key, message)
                if not sequence:
                    return None
                return self._next(limit)
            except link.Closed:
                self._lost()
                return None
            finally:
                self._asked = (0, b"", None)

    def _await_exits(self) -> None:
        """Lets actors exit that were told to: their creators know of it when they are asked next.

        A busy one is not waited for longer than a moment.
        """
        keys, self._to_exit = list(self._to_exit), collections.deque(maxlen=EXITS_MAX)
        if self.welcome.get("protocol", 0) >= AWAIT_EXITS_SINCE:
            with contextlib.suppress(ActorSystemFailure):
                actors = [key.hex() for key in keys if len(key) == len(wire.NOBODY)]
                self.request(AWAIT_EXITS_LIMIT_S, "await_exits", actors=actors)

    def listen(self, seconds: Optional[float]) -> Any:
        """The next message that comes, or None."""
        limit = None if seconds is None else time.monotonic() + seconds
        with self._lock:
            try:
                self._ask_ended = False
                self._live()
                return self._next(limit)
            except link.Closed:
                self._lost()
                return None

    def _send(self, key: bytes, payload: bytes, kind: int, flags: int, deadline: int) -> int:
        """Sends a message; its number, or 0 when it may not go within the limit."""
        current = self._live()
        lanes = current.lanes
        lane = lanes.get(key) or lanes.open(key, self.own, self.incarnation)
        free = flags & wire.SYSTEM
        if not free and not lane.may_send():
            until = time.monotonic() + (deadline / 1000 if deadline else TELL_LIMIT_S)
            if not current.await_credit(lane, deadline=until):
                if flags & wire.ASK:
                    return 0
                raise ActorSystemRequestTimeout("the target takes no more messages")
        lane.sequence += 1
        size = _HEADER_REST + len(payload)
        if not free:
            lane.messages += 1
            lane.bytes += size + 4
        prefix = lane.prefix
        if flags or kind != wire.PICKLE:
            prefix = wire.prefix(flags, kind, deadline, self.own, key, self.incarnation)
        head = wire.MESSAGE.pack(size, prefix, lane.sequence, wire.NO_SOURCE, wire.NO_TRACE)
        if size < link.JOIN_BYTES:
            current.send_now(head + payload)
        else:
            current.queue(head)
            current.send_now(payload)
        return lane.sequence

    def _next(self, limit: Optional[float]) -> Any:
        """The next message for the application."""
        current = self.link
        assert current is not None
        while True:
            frame = current.take()
            if frame is not None:
                header, payload, counted = frame
                message = self._read(header, payload)
                current.handled(counted)
                if not isinstance(message, ActorSystemMessage) or is_for_programs(message):
                    return message
                continue
            if self._closing:
                raise link.Closed("the node is closing")
            if self._ask_ended:
                return None
            current.report_window_if(link.flow.RIDE_BYTES)
            current.flush()
            remaining = None if limit is None else limit - time.monotonic()
            if remaining is not None and remaining <= 0:
                if not current.receive():
                    return None
                limit = 0.0
                continue
            if current.wait(remaining):
                current.receive()

    def _read(self, header: wire.Header, payload: Any) -> Any:
        if header[wire.KIND] != wire.MESSAGE_KIND:
            return ActorSystemMessage()
        try:
            message = self.reader.read(header, payload)
        except Exception as error:
            return PoisonMessage(Unreadable(str(error)), str(error))
        if isinstance(message, PoisonMessage):
            self._give_back_own(message, header, payload)
        return message

    def _give_back_own(self, message: PoisonMessage, header: wire.Header, payload: Any) -> None:
        """Puts the asked message itself into the poison that it came back as."""
        if header[wire.PAYLOAD_KIND] != wire.ENVELOPE_PAYLOAD:
            return
        _document, inner, _body = wire.open_envelope(payload)
        sequence, key, asked = self._asked
        same = (inner[wire.SEQUENCE], inner[wire.SENDER]) == (sequence, self.own)
        if same and key and wire.target_of(key)[1] == inner[wire.TARGET]:
            message.poisonMessage = asked

    # Requests

    def request(self, seconds: float, op: str, **fields: Any) -> control.Document:
        """Sends a request and returns the node's answer."""
        return self.upload(seconds, None, op, **fields)

    def upload(
        self, seconds: float, data: Optional[bytes], op: str, **fields: Any
    ) -> control.Document:
        """Sends bytes and the request that they belong to; returns the node's answer."""
        limit = time.monotonic() + seconds
        with self._lock:
            try:
                current = self._live()
                number = next(self._requests)
                if data is not None:
                    _queue_upload(current, number, data)
                current.send_now(control.request(number, op, **fields))
                while number not in self._answers:
                    current.stash()
                    if number not in self._answers and not self._receive(limit):
                        self._given_up.append(number)
                        raise ActorSystemRequestTimeout(
                            "the node did not answer `%s` within %g s" % (op, seconds)
                        )
                return self._answers.pop(number)
            except link.Closed as error:
                self._lost()
                raise ActorSystemFailure("the connection to the node was lost") from error

    def shut_down(self, seconds: float) -> None:
        """Asks the node to stop and waits until it has."""
        limit = time.monotonic() + seconds
        with self._lock:
            try:
                self.request(seconds, "shutdown")
                while self.link is not None and self._receive(limit):
                    continue
            except (link.Closed, ActorSystemFailure):
                pass
            self._lost()


def _queue_upload(current: link.Link, number: int, data: bytes) -> None:
    """Puts the pieces of an upload behind what waits to be written; an empty one is one piece."""
    for start in range(0, max(1, len(data)), UPLOAD_CHUNK_BYTES):
        piece = data[start : start + UPLOAD_CHUNK_BYTES]
        current.queue(wire.control_frame(wire.UPLOAD, number, piece, wire.RAW))
        current.flush()


def _encoded(message: Any) -> Tuple[bytes, int, int]:
    """Payload of a message, its kind, and the frame's flags."""
    if type(message) is ActorExitRequest:
        document = {"system": "actor_exit_request", "recursive": message.isRecursive}
        return control.encode(document), wire.JSON, wire.SYSTEM
    if type(message) is status.Thespian_StatusReq:
        # As JSON, which the node itself reads as well.
        return control.encode({"system": "status_request"}), wire.JSON, wire.SYSTEM
    payload = pickle.dumps(message, 5)
    problem = wire.too_long(payload) if len(payload) >= link.JOIN_BYTES else None
    if problem:
        raise ValueError(problem)
    return payload, wire.PICKLE, 0


def is_for_programs(message: ActorSystemMessage) -> bool:
    """Whether a message of the actor system is one that external programs see."""
    if isinstance(message, PoisonMessage):
        return not isinstance(message.poisonMessage, ActorSystemMessage)
    return isinstance(message, (status.Thespian_ActorStatus, status.Thespian_SystemStatus))
