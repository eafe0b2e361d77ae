"""The process of one actor: brings it up, hands it one message at a time, brings it down.

Not here: what the actor can do (``runtime``), forking (``forkserver``).
"""

import copy
import heapq
import logging
import os
import signal
import time
import traceback
from typing import Any, Dict, List, Optional

from thespian import actors
from thespian.system import (
    address,
    capable,
    control,
    link,
    log_source,
    naming,
    process,
    reading,
    runtime,
    trust,
    wire,
)
from thespian.system.messages import (
    ActorExitRequest,
    ChildActorExited,
    PoisonMessage,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
    status,
)

EXIT_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT)
# An actor that idles this long with unreported bytes reports them.
REPORT_AFTER_S = 0.05
# Messages to oneself that are handled between two looks at the socket.
LOCAL_RUN = 16
_log = logging.getLogger("thespian")


def main(spec: Dict[str, Any], socket_path: str, rule: trust.Rule) -> None:
    """Runs the actor of this specification to its end, and the process with it."""
    status = 1
    try:
        _take_output(socket_path, spec["token"])
        sock = process.connect(socket_path)
        sock.sendall(control.hello("worker", spec["token"]))
        ref = runtime.Runtime(spec, sock, rule)
        log_source.install(str(ref.address), socket_path)
        worker = Worker(ref)
        status = worker.run()
    except link.Closed:
        status = 1
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    log_source.close()
    process.end(status & 0xFF)


def _take_output(socket_path: str, token: str) -> None:
    """Makes a connection of its own this process's standard output and error."""
    output = process.connect(socket_path)
    output.sendall(control.hello("stdio", token))
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()


class Worker:
    """Main loop of one actor."""

    def __init__(self, ref: runtime.Runtime) -> None:
        self._ref = ref
        self._link = ref.link
        self._actor: Any = None
        self._watched: List[int] = []
        self._exit_signals = 0
        self._wake = -1
        # None while the actor runs; then whether it has to wait for its children.
        self._ending: Optional[bool] = None
        self._last_error: Optional[Exception] = None

    def run(self, own_process: bool = True) -> int:
        """Until the actor has ended; the process's exit status.

        Without a process of its own it leaves signals alone.
        """
        failure = self._construct()
        if failure is not None:
            self._link.send_now(control.notice("start_failed", **failure))
            return 1
        if own_process:
            self._listen_to_signals()
            os.register_at_fork(after_in_child=self._after_fork)
        self._link.send_now(control.notice("started"))
        self._loop()
        return 0

    def _construct(self) -> Optional[control.Document]:
        spec = self._ref.spec
        if spec.get("user") is not None:
            return control.failure("failure", "running as another user is not supported")
        os.environ.update(dict(spec.get("environment") or ()))
        try:
            cls = naming.resolve(spec["class"], actors.is_actor)
            requirements = capable.literal(spec.get("requirements"))
            check = getattr(cls, "actorSystemCapabilityCheck", None)
            if check is not None:
                capabilities = capable.literal(spec["capabilities"])
                if not capable.fits(cls, capabilities, requirements):
                    text = "`%s` does not accept this node's capabilities" % spec["class"]
                    return control.failure("no_compatible_system", text)
            self._actor = capable.construct(
                cls, lambda: capable.literal(spec["capabilities"]), lambda: requirements
            )
        except naming.NotFound as error:
            return error.failure
        except (Exception, SystemExit) as error:
            text = "the constructor of `%s` raised %s: %s" % (
                spec["class"],
                type(error).__name__,
                error,
            )
            return control.failure("constructor_failed", text, traceback.format_exc())
        self._actor._myRef = self._ref
        return None

    def _listen_to_signals(self) -> None:
        self._wake, write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._link.watch(self._wake)
        for number in EXIT_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._exit_signals += 1

    def _after_fork(self) -> None:
        # A process that the actor's own code forks has no part in the actor's connection.
        self._ref.forked = True
        signal.set_wakeup_fd(-1)
        for number in EXIT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._link.close()

    def _loop(self) -> None:
        ref, taking = self._ref, self._link.take
        locals_run = 0
        while self._ending is None:
            if self._exit_signals:
                self._exit_signals = 0
                self._handle(ActorExitRequest(), ref.address)
                continue
            if ref.timers and ref.timers[0][0] <= time.monotonic():
                _due, _order, period, payload = heapq.heappop(ref.timers)
                self._handle(WakeupMessage(period, payload), ref.address)
                continue
            frame = taking()
            if frame is not None:
                self._handle_frame(*frame)
            if ref.local and self._ending is None:
                self._handle_local(ref.local.popleft())
                locals_run += 1
                if locals_run < LOCAL_RUN:
                    continue
                locals_run = 0
                self._link.receive()
            elif frame is None:
                self._rest()
        self._leave()

    def _rest(self) -> None:
        """Waits for what comes next: frames, timers, watched descriptors, signals."""
        timeout = None
        if self._ref.timers:
            timeout = max(0.0, self._ref.timers[0][0] - time.monotonic())
        if self._link.owed and (timeout is None or timeout > REPORT_AFTER_S):
            timeout = REPORT_AFTER_S
        ready = self._link.wait(timeout)
        if not ready and self._link.owed:
            self._link.report_window()
            self._link.flush()
        watched = []
        for descriptor, _event in ready:
            if descriptor == self._wake:
                os.read(self._wake, 512)
            elif descriptor in self._watched:
                watched.append(descriptor)
            else:
                self._link.receive()
        if watched:
            self._handle(WatchMessage(watched), self._ref.address)

    def _handle_local(self, item: Any) -> None:
        if len(item) == 3:
            message, sender, marker = item
            if marker is not None:
                self._link.send_now(marker)
                return
        else:
            payload, self._ref.trace = item
            message, sender = runtime.pickle.loads(payload), self._ref.address
        self._handle(message, sender)

    def _handle_frame(self, header: wire.Header, payload: Any, counted: int) -> None:
        ref = self._ref
        if header[wire.KIND] == wire.MARKER:
            echo = wire.control_frame(wire.MARKER, header[wire.SEQUENCE], b"")
            ref.local.append((None, None, echo))
            return
        ref.trace = header[wire.TRACE]
        try:
            message = ref.reader.read(header, payload)
        except Exception as error:
            self._refuse(header, payload, error)
        else:
            key = header[wire.SENDER]
            if header[wire.PAYLOAD_KIND] == wire.LITERAL:
                sender = ref.answer_in_kind(key)
            else:
                sender = address.restore_address(key)
            self._link.held = payload
            ref.header = header
            self._handle(message, sender, header)
            ref.header = None
            self._link.held = None
        ref.trace = wire.NO_TRACE
        self._link.handled(counted)

    def _refuse(self, header: wire.Header, payload: Any, error: Exception) -> None:
        if isinstance(error, trust.Refused):
            details = str(error)
        else:
            details = "the message cannot be read: " + traceback.format_exc()
        _log.warning("a message of %s was refused: %s", header[wire.SENDER].hex(), details)
        self._return(header, payload, details)

    def _return(self, header: wire.Header, payload: Any, details: str) -> None:
        """Sends a message back to its sender as poison."""
        returned = header[wire.FLAGS] & wire.RETURNED
        if returned or header[wire.SENDER] in (wire.NOBODY, self._ref.own):
            return
        document = control.encode({"system": "poison_message", "details": details})
        body = wire.envelope(document, header, payload)
        flags = wire.SYSTEM | wire.RETURNED
        self._ref.send_system(header[wire.SENDER], wire.ENVELOPE_PAYLOAD, body, flags)
        self._ref.flush()

    def _handle(self, message: Any, sender: Any, header: Optional[wire.Header] = None) -> None:
        """Calls the actor; a second time with a copy if the first raises."""
        ref = self._ref
        if type(message) is status.Thespian_StatusReq:
            self._tell_status(sender)
            return
        if type(message) is reading.CapabilitiesChanged:
            self._check_again(message.capabilities)
            return
        self._forget_watches()
        if type(message) is ChildActorExited:
            ref.children.discard(message.childAddress)
        ref.begin()
        try:
            result = self._actor.receiveMessage(message, sender)
        except Exception as error:
            if isinstance(message, ActorExitRequest):
                # It exits whatever happens; who waits for that does not wait for the log as well.
                self._last_error, result = error, None
            else:
                result = self._again(message, sender, header)
        finally:
            if ref.forked:
                os._exit(0)
            ref.finish()
        if result is not None and isinstance(result, ThespianWatch):
            self._watch(result)
        if isinstance(message, ActorExitRequest) and self._ending is None:
            self._ending = message.isRecursive

    def _tell_status(self, sender: Any) -> None:
        """Answers a request for the actor's status, which the actor does not see."""
        ref = self._ref
        source = None if ref.source == wire.NO_SOURCE else ref.source.hex()
        admin = address.allot(ref.incarnation, address.NODE_SERIAL)
        parent = address.from_hex(ref.spec["parent"])
        # Who has no creator is the system's own.
        parent = admin if parent._key == wire.NOBODY else parent
        answer = status.Thespian_ActorStatus(ref.address, ref.spec["class"], admin, parent, source)
        answer.childActors = list(ref.children)
        answer.pendingWakeups = [(ref.address, timer[2]) for timer in sorted(ref.timers)]
        ref.begin()
        ref.send(sender, answer)
        ref.finish()

    def _check_again(self, capabilities: str) -> None:
        """Ends the actor if it does not fit its node any more."""
        spec = self._ref.spec
        spec["capabilities"] = capabilities
        own = type(self._actor)
        if getattr(own, "actorSystemCapabilityCheck", None) is None:
            return
        requirements = capable.literal(spec.get("requirements"))
        if not capable.fits(own, capable.literal(capabilities), requirements):
            _log.info("the capabilities have changed: the actor does not fit any more")
            self._handle(ActorExitRequest(), self._ref.address)

    def _again(self, message: Any, sender: Any, header: Optional[wire.Header]) -> Any:
        _log.warning("the handler raised; it is called again", exc_info=True)
        try:
            again = copy.deepcopy(message)
        except Exception:
            again = message
        try:
            return self._actor.receiveMessage(again, sender)
        except Exception:
            details = traceback.format_exc()
            _log.error("the handler raised again; the message goes back\n%s", details)
        if isinstance(message, PoisonMessage):
            return None
        if header is not None:
            self._return(header, self._link.held, details)
        elif sender == self._ref.address:
            self._ref.tell_self(PoisonMessage(message, details))
        return None

    def _watch(self, watch: ThespianWatch) -> None:
        for wanted in watch.filenos:
            descriptor = wanted if isinstance(wanted, int) else wanted.fileno()
            self._link.watch(descriptor)
            self._watched.append(descriptor)

    def _forget_watches(self) -> None:
        for descriptor in self._watched:
            try:
                self._link.unwatch(descriptor)
            except (KeyError, ValueError):
                continue
        if self._watched:
            self._watched = []

    def _leave(self) -> None:
        """Ends the children, waits for them, and says goodbye."""
        ref = self._ref
        if self._ending:
            ref.leaving = True
            for child in list(ref.children):
                ref.send(child, ActorExitRequest())
            ref.flush()
            while ref.children:
                self._await_children()
        self._link.queue(control.notice("exiting"))
        self._link.report_window()
        ref.flush()
        # The node need not wait for the rest of the process.
        self._link.close()
        if self._last_error is not None:
            text = "the handler of the exit request raised; the actor exits all the same"
            _log.warning(text, exc_info=self._last_error)

    def _await_children(self) -> None:
        frame = self._link.take()
        if frame is None:
            self._link.report_window()
            self._link.flush()
            for descriptor, _event in self._link.wait(None):
                if descriptor == self._wake:
                    os.read(self._wake, 512)
                else:
                    self._link.receive()
            return
        header, payload, counted = frame
        if header[wire.KIND] == wire.MESSAGE_KIND and header[wire.PAYLOAD_KIND] == wire.JSON:
            try:
                message = self._ref.reader.read(header, payload)
            except Exception as error:
                message = None
                self._refuse(header, payload, error)
            if isinstance(message, ChildActorExited):
                self._handle(message, address.restore_address(header[wire.SENDER]), header)
        self._link.handled(counted)
