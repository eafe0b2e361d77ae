"""Log records of an actor on their way to the node's log process: bounded, never in the way.

A level that the configuration does not want is not even built. What the log process does not take
in time is kept up to a limit, then dropped, and the number dropped is told with the next record.
Without a log process records go where Python or the actor's own code has them go, and warnings to
the node as well, for the leader's log.
Not here: what becomes of records (``log_process``).
"""

import collections
import json
import logging
import os
import select
import socket
import struct
import sys
import threading
import time
from typing import Any, Deque, Dict, List, Optional

PLAN_VARIABLE = "DIRECTOR_LOG_PLAN"
LENGTH = struct.Struct("<I")
# Kept for a log process that is slow: some thousands of records.
PENDING_BYTES_MAX = 1 << 20
MESSAGE_CHARACTERS_MAX = 64 << 10
CLOSE_LIMIT_S = 1.0
CONNECT_AGAIN_S = 0.02
CONNECT_SELDOM_S = 1.0
_ROOT_LEVEL = logging.WARNING
_SENT = (
    *("name", "levelno", "levelname", "created", "msecs", "relativeCreated", "process"),
    *("processName", "thread", "threadName", "pathname", "filename", "module", "lineno"),
    *("funcName", "exc_text", "stack_info"),
)
_NOT_SENT = frozenset((*_SENT, "msg", "args", "exc_info", "message", "asctime", "taskName"))

Plan = Dict[str, Any]
# What this process inherits from the root forkserver; None: records go to standard error.
plan: Optional[Plan] = None
_handler: Optional["LogHandler"] = None


def take_plan(variables: Any, workers_socket: str) -> None:
    """Takes the plan out of the environment of the root forkserver."""
    global plan
    text = variables.pop(PLAN_VARIABLE, None)
    if text:
        plan = dict(json.loads(text), socket=socket_path(workers_socket, "log"))
        plan["relay"] = socket_path(workers_socket, "relay")


def socket_path(workers_socket: str, what: str) -> str:
    """Where the log process of a node listens, or the node for what its leader is to have."""
    return "%s.%s.sock" % (workers_socket.replace(".workers.sock", ""), what)


def install(actor: Optional[str], workers_socket: str) -> None:
    """Sends this process's records to the log process, if there is one, from now on."""
    global _handler
    if plan is None:
        _handler = LogHandler(socket_path(workers_socket, "relay"), actor)
        _tell_warnings(_handler)
        return
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, "stream", None) in (sys.stderr, sys.__stderr__):
            root.removeHandler(handler)
    _handler = LogHandler(plan["socket"], actor)
    root.addHandler(_handler)
    levels = plan.get("levels") or {}
    root.setLevel(levels.get("", _ROOT_LEVEL))
    for name, level in levels.items():
        if name:
            logging.getLogger(name).setLevel(level)


def _tell_warnings(relay: "LogHandler") -> None:
    """Has warnings sent, whatever handlers there are.

    A handler of the root logger would keep ``logging.basicConfig`` from doing what it does.
    """
    handled = logging.Logger.callHandlers

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        handled(logger, record)
        if record.levelno >= logging.WARNING:
            relay.handle(record)

    logging.Logger.callHandlers = call_handlers  # type: ignore


def close() -> None:
    """Waits a little until the last records are on their way."""
    if _handler is not None:
        _handler.close()


class LogHandler(logging.Handler):
    """Writes records to the log process's socket; a thread does what cannot be done at once."""

    def __init__(self, path: str, actor: Optional[str]) -> None:
        super().__init__()
        self._path = path
        self._actor = actor
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._sock: Optional[socket.socket] = None
        self._pending = bytearray()
        # What is left to send of each record in it, and for how many it stands.
        self._frames: Deque[List[int]] = collections.deque()
        self._thread: Optional[threading.Thread] = None
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record, or keeps it, or counts it."""
        try:
            self._put(self._frame(record))
        except Exception:
            self.handleError(record)

    def pass_on(self, document: Dict[str, Any]) -> None:
        """Does the same with a record that was sent to this process."""
        with self._locked():
            # One that tells of dropped records stands for them.
            self._put(_framed(document), int(document.get("n_dropped", 1)))

    def _put(self, frame: bytes, worth: int = 1) -> None:
        if self._pid != os.getpid():
            # A process that the actor's own code forked: the parent's bytes are not its.
            self._begin_anew()
        self._keep(frame, worth)
        if not self._flush() and self._thread is None:
            self._thread = threading.Thread(target=self._flush_late, daemon=True)
            self._thread.start()

    def _frame(self, record: logging.LogRecord) -> bytes:
        document = {name: getattr(record, name, None) for name in _SENT}
        if record.exc_info and not record.exc_text:
            document["exc_text"] = _FORMATTER.formatException(record.exc_info)
        text = record.getMessage()
        if len(text) > MESSAGE_CHARACTERS_MAX:
            cut = len(text) - MESSAGE_CHARACTERS_MAX
            text = "%s... (%d characters more)" % (text[:MESSAGE_CHARACTERS_MAX], cut)
        document["msg"] = text
        for name, value in record.__dict__.items():
            if name not in _NOT_SENT:
                document[name] = value
        if self._actor is not None:
            document.setdefault("actorAddress", self._actor)
        return _framed(document)

    def _keep(self, frame: bytes, worth: int) -> None:
        if len(self._pending) + len(frame) > PENDING_BYTES_MAX:
            self.dropped += worth
            return
        self._tell_dropped()
        self._append(frame, worth)

    def _tell_dropped(self) -> None:
        if self.dropped:
            told, self.dropped = self.dropped, 0
            self._append(self._frame(_dropped(told)), told)

    def _append(self, frame: bytes, worth: int) -> None:
        self._pending += frame
        self._frames.append([len(frame), worth])

    def _flush(self) -> bool:
        """Writes what the socket takes; whether that was all."""
        if self._sock is None:
            self._sock = _connect(self._path)
        while self._pending and self._sock is not None:
            try:
                sent = self._sock.send(self._pending)
            except BlockingIOError:
                return False
            except OSError:
                # Half a frame may have gone with the connection; the rest of it is of no use.
                self._sock.close()
                self._sock = None
                self._pending.clear()
                self.dropped += sum(worth for _left, worth in self._frames)
                self._frames.clear()
                return False
            del self._pending[:sent]
            self._sent(sent)
        return not self._pending

    def _sent(self, count: int) -> None:
        while count:
            first = self._frames[0]
            step = min(count, first[0])
            first[0] -= step
            count -= step
            if not first[0]:
                self._frames.popleft()

    def _flush_late(self) -> None:
        patience = CONNECT_AGAIN_S
        while True:
            with self._locked():
                if self._pid != os.getpid() or self._flush():
                    self._thread = None
                    return
                waiting = self._sock
            if waiting is None:
                time.sleep(patience)
                patience = min(2 * patience, CONNECT_SELDOM_S)
            else:
                patience = CONNECT_AGAIN_S
                select.select([], [waiting], [], 1.0)

    def _locked(self) -> Any:
        assert self.lock is not None
        return self.lock

    def close(self) -> None:
        """Gives the last records a moment to go."""
        limit = time.monotonic() + CLOSE_LIMIT_S
        while self._pid == os.getpid() and (self._pending or self.dropped):
            with self._locked():
                if not self._pending:
                    self._tell_dropped()
                if self._flush() or time.monotonic() >= limit:
                    break
            time.sleep(0.005)
        super().close()


_FORMATTER = logging.Formatter()


def _framed(document: Dict[str, Any]) -> bytes:
    body = json.dumps(document, default=repr, skipkeys=True).encode()
    return LENGTH.pack(len(body)) + body


def _dropped(count: int) -> logging.LogRecord:
    text = "%d records were dropped: they came faster than they are written"
    record = logging.LogRecord(
        "thespian.log", logging.WARNING, __file__, 0, text, (count,), None, "emit"
    )
    record.n_dropped = count
    return record


def _connect(path: str) -> Optional[socket.socket]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        return None
    sock.setblocking(False)
    return sock
