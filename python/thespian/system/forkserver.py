"""Forkservers: the root one, which has ``thespian`` up, and one for each origin of code.

Each is a single thread that answers the node's requests and reaps its children. Workers are
forked from the one of their origin, which has imported their classes and frozen its heap.
Everything that ``thespian`` needs is imported here, before a source's folder is on ``sys.path``:
a ``logging.py`` or ``json.py`` of a source does not take the place of the standard one.
Not here: what is looked at (``preparing``), what a worker does (``worker``).
"""

import gc
import json
import os
import select
import signal
import site
import socket
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Set

import thespian
from thespian.system import (
    control,
    log_source,
    main_module,
    preloading,
    preparing,
    process,
    spare,
    trust,
    warmup,
    wire,
    worker,
)

# Given on the command line after an exec: the descriptor that holds the state to go on with.
RESUME = "resume"
# How the node's request to fork a worker begins.
_SPAWN = b'{"op":"spawn"'
# How long a process waits for an actor to become; who creates several does so within that.
SPARE_MS = 1000


def main(socket_path: str, token: str, folder: str, parent: Optional[str] = None) -> None:
    """Runs the root forkserver; its arguments are those of the bootstrap."""
    sys.argv[1:] = []
    process.name("forkserver")
    if token == RESUME:
        _resume(int(socket_path), folder)
        return
    extra = trust.additions(os.environ.pop(trust.ALLOW_VARIABLE, None))
    log_source.take_plan(os.environ, socket_path)
    sys.path.remove(folder)
    _add_packages()
    warmup.run()
    process.die_with(int(parent) if parent else os.getppid())
    server = Forkserver(socket_path, folder, extra)
    server.connect(token)
    server.keep_log()
    server.run()


def _add_packages() -> None:
    """Makes the interpreter's own packages importable."""
    site.main()


def _extend_package(entries: List[str]) -> None:
    """Lets a program's own additions to the package ``thespian`` be found, behind ours."""
    for entry in entries:
        folder = os.path.join(entry, thespian.__name__)
        if os.path.isdir(folder) and folder not in thespian.__path__:
            thespian.__path__.append(folder)


class Forkserver:
    """One forkserver; without an origin it is the root one."""

    def __init__(self, socket_path: str, folder: str, extra: Any) -> None:
        self._socket_path = socket_path
        self._folder = folder
        self._extra = extra
        self._origin: Optional[Dict[str, Any]] = None
        self._path: List[str] = []
        # Why each actor imports for itself, once that is known.
        self._per_actor: Optional[str] = None
        self._children: Set[int] = set()
        self._spare: Optional[spare.Spare] = None
        self._spare_is_due = False
        self._preloaded: Optional[preloading.Preloaded] = None
        self._finishing = False
        self._keeper: Any = None
        self._received = bytearray()

    def connect(self, token: str) -> None:
        """Dials the node."""
        self._adopt(process.connect(self._socket_path))
        self._sock.sendall(control.hello("forkserver", token))

    def keep_log(self) -> None:
        """Has the node's log process run for as long as this one does."""
        if log_source.plan is not None:
            # Here, because most nodes have none, and its imports take a while.
            from thespian.system import log_process

            log_source.plan = log_process.prepare(log_source.plan)
            self._keeper = log_process.Keeper(log_source.plan)
            self._keeper.start(lambda: self._fork(None))

    def _adopt(self, sock: socket.socket) -> None:
        self._sock = sock
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_write, False)
        self._watch_children()
        process.freeze()

    def _watch_children(self) -> None:
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def run(self) -> None:
        """Answers requests until the node goes, or says that it is enough."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        self._take_requests()
        while not (self._finishing and not self._children):
            ready = poll.poll(self._patience_ms())
            if not ready:
                self._renew_spare()
            for descriptor, _event in ready:
                if descriptor == self._wake:
                    self._reap()
                elif not self._receive():
                    process.end(0)
        self._drop_spare()
        process.end(0)

    # Frames

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(64 << 10)
        except ConnectionError:
            return False
        self._received += data
        self._take_requests()
        return bool(data)

    def _take_requests(self) -> None:
        while len(self._received) >= wire.HEADER_BYTES:
            header = wire.HEADER.unpack_from(self._received, 0)
            size = wire.check(header)
            if len(self._received) < size:
                break
            payload = bytes(self._received[wire.HEADER_BYTES : size])
            del self._received[:size]
            if header[wire.KIND] == wire.REQUEST:
                self._request(header[wire.SEQUENCE], payload)

    def _request(self, sequence: int, payload: bytes) -> None:
        # What is written here between two forks is lost to the memory that workers share:
        # a worker reads its own specification.
        if payload.startswith(_SPAWN):
            if self._preloaded is not None and self._per_actor is None:
                self._preload(self._preloaded, sequence, payload)
            try:
                self._spawn(sequence, payload)
            except OSError as error:
                self._fail(sequence, "no process could be forked: %s" % error)
        else:
            self._answer(sequence, control.decode(payload))

    def _answer(self, sequence: int, request: control.Document) -> None:
        op = request.get("op")
        try:
            if op == "fork":
                self._fork_origin(sequence, request)
            elif op == "spawn":
                self._spawn(sequence, control.encode(request))
            elif op == "prepare":
                self._prepare(sequence, request)
            elif op == "finish":
                self._finishing = True
            else:
                self._fail(sequence, "the forkserver does not know the request `%s`" % op)
        except Exception as error:
            text = "the forkserver could not carry out `%s`: %s" % (op, error)
            self._fail(sequence, text, traceback.format_exc())

    def _fail(self, sequence: int, text: str, trace: Optional[str] = None) -> None:
        failure = control.failure("failure", text, trace)
        self._sock.sendall(control.answer(sequence, "failed", **failure))

    # Children

    def _fork_origin(self, sequence: int, request: control.Document) -> None:
        pid = self._fork(sequence)
        if pid:
            return
        server = Forkserver(self._socket_path, self._folder, self._extra)
        try:
            server.become(request["origin"], request["path"])
            server.connect(request["token"])
            server.run()
        except BaseException:
            traceback.print_exc()
        process.end(1)

    def _spawn(self, sequence: int, payload: bytes) -> None:
        ahead, self._spare = self._spare, None
        if ahead is not None and ahead.give(payload):
            self._children.add(ahead.pid)
            self._sock.sendall(control.answer(sequence, "forked", pid=ahead.pid))
        else:
            if ahead is not None:
                ahead.end()
            pid = self._fork(sequence)
            if not pid:
                self._become_worker(lambda: payload)
        self._spare_is_due = True

    def _become_worker(self, specification: Callable[[], Optional[bytes]]) -> None:
        """In the child, which does not go on as a forkserver, whatever happens."""
        try:
            os.setpgid(0, 0)
            process.seed_afresh()
            payload = specification()
            if payload is not None:
                spec = control.decode(payload)
                process.name(spec["class"].rpartition(".")[2])
                source = self._path[0] if self._path and "source" in spec["origin"] else None
                worker.main(spec, self._socket_path, trust.Rule(self._extra, source))
        except BaseException:
            traceback.print_exc()
        process.end(1)

    def _fork(self, sequence: Optional[int]) -> int:
        """Forks; the parent has answered then, the child has left what is the parent's."""
        parent = os.getpid()
        pid = os.fork()
        if pid:
            if sequence is not None:
                self._children.add(pid)
                self._sock.sendall(control.answer(sequence, "forked", pid=pid))
            return pid
        try:
            process.die_with(parent)
            process.reset_signals()
            self._sock.close()
            os.close(self._wake)
            os.close(self._wake_write)
            if self._keeper is not None and self._keeper.pid:
                os.close(self._keeper.write)
            gc.enable()
        except BaseException:
            os._exit(1)
        return 0

    # The process that is forked ahead

    def _patience_ms(self) -> Optional[int]:
        """How long the loop waits for something to come before it looks after the spare."""
        if self._spare_is_due:
            return 0
        return SPARE_MS if self._spare is not None else None

    def _renew_spare(self) -> None:
        """Forks a spare after an actor was created; ends one that nobody wanted."""
        if not self._spare_is_due:
            self._drop_spare()
            return
        self._spare_is_due = False
        try:
            read, write = os.pipe()
        except OSError:
            return
        try:
            pid = self._fork(None)
        except OSError:
            os.close(read)
            os.close(write)
            return
        if not pid:
            os.close(write)
            process.name("spare")
            self._become_worker(lambda: spare.wait(read))
        os.close(read)
        self._spare = spare.Spare(pid, write)

    def _drop_spare(self) -> None:
        ahead, self._spare, self._spare_is_due = self._spare, None, False
        if ahead is not None:
            ahead.end()

    def _reap(self) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            return
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and pid == self._spare.pid:
                os.close(self._spare.write)
                self._spare = None
            elif self._keeper is not None and pid == self._keeper.pid:
                self._keeper.pid = 0
                self._keeper.start(lambda: self._fork(None))
            elif pid in self._children:
                self._children.remove(pid)
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self._sock.sendall(control.notice("child_ended", pid=pid, status=code))

    # An origin

    def become(self, origin: Dict[str, Any], path: List[str]) -> None:
        """Makes this process the forkserver of an origin."""
        self._origin = origin
        client = origin.get("client")
        entries = list(path)
        if client is not None:
            self._preloaded = preloading.Preloaded()
            directory = client["directory"]
            entries += [os.path.join(directory, entry) for entry in client["sys_path"]]
            main_module.install(client.get("main"))
            _extend_package(entries)
        self._path = list(dict.fromkeys(entries))
        sys.path[:] = self._path + [entry for entry in sys.path if entry not in self._path]

    def _prepare(self, sequence: int, request: control.Document) -> None:
        if self._preloaded is not None:
            # A client's own modules change while it is written; its actors import them anew.
            classes = preparing.look_in_child(request)
            self._sock.sendall(
                control.answer(sequence, "prepared", classes=classes, per_actor=self._per_actor)
            )
            return
        self._drop_spare()
        before = process.open_descriptors()
        if self._per_actor is None and request["preload"]:
            classes = preparing.look(request)
            self._per_actor = process.traces_of_import(before)
            replace = self._per_actor is not None
            self._watch_children()
        else:
            self._per_actor = self._per_actor or "'Preload' is False"
            classes, replace = preparing.look_in_child(request), False
        self._sock.sendall(
            control.answer(sequence, "prepared", classes=classes, per_actor=self._per_actor)
        )
        if replace:
            self._start_over()
        process.freeze()
        # What is prepared is about to be created.
        self._spare_is_due = True

    def _preload(self, known: preloading.Preloaded, sequence: int, payload: bytes) -> None:
        """Imports what an actor of a client's own modules needs before it is forked."""
        name = preloading.class_of(payload)
        over = known.is_old()
        if not over:
            if name is None or known.knows(name):
                return
            self._drop_spare()
            before = process.open_descriptors()
            came = known.look(name)
            self._watch_children()
            self._per_actor = process.traces_of_import(before)
            over = self._per_actor is not None
            if came and not over:
                process.freeze()
        if over:
            self._drop_spare()
            self._received[:0] = wire.control_frame(wire.REQUEST, sequence, payload)
            self._start_over()

    def _start_over(self) -> None:
        """Replaces this process's image: threads and descriptors of the import go with it.

        The process id, the children and the connection stay.
        """
        state = {
            "socket_path": self._socket_path,
            "extra": list(self._extra),
            "log_plan": log_source.plan,
            "origin": self._origin,
            "path": self._path,
            "per_actor": self._per_actor,
            "children": sorted(self._children),
            "sock": self._sock.fileno(),
            "received": self._received.hex(),
        }
        place = os.memfd_create("director-forkserver")
        os.write(place, json.dumps(state).encode())
        keep = [place, self._sock.fileno()]
        process.close_all_but(keep)
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        text = (
            "import sys; sys.path.insert(0, sys.argv[3]); "
            "from thespian.system import forkserver; forkserver.main(*sys.argv[1:4])"
        )
        command = ["-I", "-S", "-c", text, str(place), RESUME, self._folder]
        os.execv(sys.executable, [sys.executable, *command])

    def restore(self, state: Dict[str, Any]) -> None:
        """Goes on where ``_start_over`` left off."""
        self._per_actor = state["per_actor"]
        self._children = set(state["children"])
        self._received = bytearray.fromhex(state["received"])
        os.set_inheritable(state["sock"], False)
        self._adopt(socket.socket(fileno=state["sock"]))
        # A child may have ended between the two images.
        os.kill(os.getpid(), signal.SIGCHLD)


def _resume(descriptor: int, folder: str) -> None:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        state = json.load(file)
    sys.path.remove(folder)
    _add_packages()
    warmup.run()
    log_source.plan = state["log_plan"]
    server = Forkserver(state["socket_path"], folder, state["extra"])
    server.become(state["origin"], state["path"])
    server.restore(state)
    server.run()
