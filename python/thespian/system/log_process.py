"""The log process of a node: takes the records of all actors and applies ``thesplog.cfg`` to them.

The root forkserver forks it and keeps it running; of several root forkservers (one an interpreter)
one's log process serves, the others' wait to take its place. It ends after the last record once
its forkserver has gone.
Not here: the actors' side (``log_source``).
"""

import ast
import contextlib
import copy
import json
import logging
import logging.config
import logging.handlers
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional

from thespian.system import log_source, main_module, process

# Under this key a program that starts a node says where its own classes are.
CLIENT_KEY = "director client"
FRAME_BYTES_MAX = 16 << 20
LINGER_S = 1.0
HUNG_LIMIT_S = 5
RESTART_AFTER_S = 1.0
Document = Dict[str, Any]


def prepare(plan: log_source.Plan) -> log_source.Plan:
    """The plan with the levels that actors filter by; they need no more of the configuration."""
    try:
        levels = levels_of(configuration(plan))
    except Exception:
        # The log process says what is wrong with it.
        levels = {}
    return dict(plan, levels=levels)


def configuration(plan: log_source.Plan) -> Document:
    """The dictionary for ``dictConfig``."""
    text, folder = plan.get("config"), plan["folder"]
    found = default_configuration() if text is None else ast.literal_eval(text)
    if not isinstance(found, dict):
        raise ValueError("the logging configuration is no dictionary")
    return mended(found, folder)


def mended(found: Document, folder: str) -> Document:
    """A copy in which `fmt` counts as `format`, and relative file names lie in ``folder``."""
    wanted = copy.deepcopy(found)
    wanted.setdefault("version", 1)
    for formatter in (wanted.get("formatters") or {}).values():
        if "fmt" in formatter and "format" not in formatter and "()" not in formatter:
            formatter["format"] = formatter.pop("fmt")
    for handler in (wanted.get("handlers") or {}).values():
        name = handler.get("filename")
        if isinstance(name, str):
            handler["filename"] = os.path.join(folder, name)
    return wanted


def default_configuration() -> Document:
    """Without ``thesplog.cfg``: the files that Thespian's Director writes."""
    rotating = {
        "class": "logging.handlers.RotatingFileHandler",
        "formatter": "normal",
        "filters": ["address"],
        "maxBytes": 1 << 20,
        "backupCount": 3,
    }
    line = "%(asctime)s %(actorAddress)s/PID:%(process)d %(name)s %(levelname)s %(message)s"
    return {
        "version": 1,
        "formatters": {"normal": {"format": line}},
        "filters": {"address": {"()": "thespian.director.ActorAddressLogFilter"}},
        "handlers": {
            "usual": dict(rotating, filename="thespian.log", level="INFO"),
            "debug": dict(rotating, filename="thespian_debug.log", level="DEBUG"),
        },
        "root": {"level": "DEBUG", "handlers": ["usual", "debug"]},
    }


def levels_of(wanted: Document) -> Dict[str, int]:
    """The level of each logger that has one; the root's under the empty name."""
    sections = dict(wanted.get("loggers") or {})
    sections[""] = wanted.get("root") or sections.get("") or {}
    levels = {}
    for name, section in sections.items():
        level = section.get("level")
        if isinstance(level, str):
            level = logging.getLevelName(level)
        if isinstance(level, int):
            levels[name] = level
    return levels


class Keeper:
    """Keeps the log process running, in the root forkserver."""

    def __init__(self, plan: log_source.Plan) -> None:
        self._plan = plan
        self.pid = 0
        self.write = -1
        self._started = 0.0

    def start(self, fork: Callable[[], int]) -> None:
        """Forks it; it sees by a pipe when this process has gone."""
        soon = time.monotonic() - self._started < RESTART_AFTER_S
        self._started = time.monotonic()
        if self.write < 0:
            self._read, self.write = os.pipe()
        pid = fork()
        if pid:
            self.pid = pid
            return
        with contextlib.suppress(BaseException):
            os.close(self.write)
            process.outlive_parent()
            process.name("log")
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if soon:
                time.sleep(RESTART_AFTER_S)
            try:
                LogProcess(self._plan, self._read).run()
            except Exception:
                traceback.print_exc()
        process.end(1)


class LogProcess:
    """Listens, reads frames, hands records to the handlers of the configuration."""

    def __init__(self, plan: log_source.Plan, parent: int) -> None:
        self._plan = plan
        self._parent = parent
        self._selector = selectors.DefaultSelector()
        self._received: Dict[socket.socket, bytearray] = {}
        # Where WARNING and above go besides: to the node, which has them sent to the leader.
        self.relays: List[Callable[[Document], None]] = []

    def run(self) -> None:
        """Until the forkserver has gone and nothing more comes."""
        self._selector.register(self._parent, selectors.EVENT_READ)
        if not self._my_turn():
            return
        self._configure()
        self.relays.append(log_source.LogHandler(self._plan["relay"], None).pass_on)
        path = self._plan["socket"]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        listener.bind(path)
        os.umask(before)
        listener.listen(512)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        try:
            self._serve(listener)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            logging.shutdown()

    def _my_turn(self) -> bool:
        """Waits until no other log process serves this node; False when there is no need any more.

        The name in the system's own name space goes with the process that has it.
        """
        if not sys.platform.startswith("linux"):
            return True
        self._turn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._turn.bind("\0" + self._plan["socket"] + ".turn")
                return True
            except OSError:
                if self._selector.select(0.2):
                    return False

    def _configure(self) -> None:
        try:
            wanted = configuration(self._plan)
            _find_code(wanted.pop(CLIENT_KEY, None), self._plan)
            logging.config.dictConfig(wanted)
        except Exception as error:
            logging.basicConfig(level=logging.INFO, force=True)
            cause = error.__cause__ or error
            logging.error(
                "the logging configuration (`thesplog.cfg`) cannot be used: %s (%s); records go to "
                "the node's log until it is mended and the node is started again",
                error,
                cause,
            )

    def _serve(self, listener: socket.socket) -> None:
        until: Optional[float] = None
        while until is None or (self._received and time.monotonic() < until):
            wait = None if until is None else max(0.0, until - time.monotonic())
            for key, _events in self._selector.select(wait):
                if key.fileobj == self._parent:
                    self._selector.unregister(self._parent)
                    until = time.monotonic() + LINGER_S
                    # Somebody's handler may hang; nobody is left to end it.
                    signal.alarm(HUNG_LIMIT_S)
                elif key.fileobj is listener:
                    self._accept(listener)
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock, _address = listener.accept()
            sock.setblocking(False)
            self._received[sock] = bytearray()
            self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, sock: socket.socket) -> None:
        received = self._received[sock]
        try:
            data = sock.recv(256 << 10)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        received += data
        sound = self._take(received)
        if not data or not sound:
            self._selector.unregister(sock)
            del self._received[sock]
            sock.close()

    def _take(self, received: bytearray) -> bool:
        """Hands on the whole frames; False when these are no frames."""
        at = 0
        while len(received) - at >= log_source.LENGTH.size:
            (size,) = log_source.LENGTH.unpack_from(received, at)
            if size > FRAME_BYTES_MAX:
                return False
            end = at + log_source.LENGTH.size + size
            if len(received) < end:
                break
            self._record(bytes(received[end - size : end]))
            at = end
        del received[:at]
        return True

    def _record(self, body: bytes) -> None:
        try:
            document = json.loads(body)
            document.setdefault("nodeName", self._plan.get("node"))
            record = logging.makeLogRecord(document)
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
            # What came from another node's log has been told to the leader already.
            if record.levelno >= logging.WARNING and not document.get("relayed"):
                for relay in self.relays:
                    relay(document)
        except Exception:
            # A record that cannot be read, or a handler that raises, ends nobody's log.
            traceback.print_exc()


def _find_code(client: Optional[Document], plan: log_source.Plan) -> None:
    """Makes importable what the configuration names."""
    entries = list(plan.get("path") or [])
    if client is not None:
        entries += [os.path.join(client["directory"], entry) for entry in client["sys_path"]]
        main_module.install(client.get("main"))
    sys.path.extend(entry for entry in entries if entry not in sys.path)
