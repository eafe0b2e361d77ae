"""An actor that runs external commands, one after the other, and stays responsive meanwhile.

Send ``Command`` to a ``RunCommand`` actor; the answer is a ``CommandResult``. Further commands wait
for their turn; ``CommandAbort`` ends the running one.
Not here: one command's process and its pipes (``system.subprocesses``).
"""

import collections
import logging
import os
from datetime import timedelta
from typing import Any, Deque, Dict, List, Optional, Tuple, Union

from thespian.actors import ActorAddress, ActorExitRequest, ActorTypeDispatcher, ThespianWatch
from thespian.system import subprocesses
from thespian.system.timing import toTimeDeltaOrNone

# Lines of each output that a result's log shows at its beginning and at its end.
HALF_NUM_LINES_LOGGED = 5
KILL_AFTER = timedelta(seconds=2)
# How often a command's end is looked for once its outputs are closed, or cannot be watched.
_LOOK_EVERY = timedelta(milliseconds=50)
TIMED_OUT = -2
Output = Union[str, Tuple[str, str]]


class Command:
    """A command to run.

    ``exe`` and the list ``args``; ``use_shell`` runs it through the shell; ``omit_string`` never
    shows in logs; ``error_ok`` logs a failure as information. ``logger``: None for the ordinary
    log, False for none, or the address of an actor that gets ``CommandLog``. ``input_src``: text
    for its standard input. ``output_updates``: address of an actor that gets ``CommandOutput`` and
    ``CommandError`` as output comes. Of more than ``max_bufsize`` characters of output the
    beginning and the end are kept. ``timeout``: timedelta or seconds, then SIGTERM, two seconds
    later SIGKILL. With ``report_on_start`` the sender gets ``CommandStarted``.
    """

    def __init__(
        self,
        exe: str,
        args: List[str],
        use_shell: bool = False,
        omit_string: Optional[str] = None,
        error_ok: bool = False,
        logger: Any = None,
        logtag: Optional[str] = None,
        input_src: Any = None,
        output_updates: Optional[ActorAddress] = None,
        max_bufsize: int = 1024 * 1024,
        env: Optional[Dict[str, str]] = None,
        timeout: Any = None,
        report_on_start: bool = False,
    ) -> None:
        self.exe = exe
        self.args = args
        self.use_shell = use_shell
        self.omit_string = omit_string or ""
        self.error_ok = error_ok
        self.logger = logger
        self.logtag = logtag or str(exe)
        self.input_src = input_src
        self.output_updates = output_updates
        self.max_bufsize = max_bufsize
        self.env = env
        self.timeout = toTimeDeltaOrNone(timeout) if timeout else None
        self.report_on_start = report_on_start

    def shown(self) -> str:
        """The command as logs may show it."""
        text = " ".join([str(self.exe), *map(str, self.args)])
        return self.hidden(text)

    def hidden(self, text: str) -> str:
        """A text without ``omit_string``."""
        return text.replace(self.omit_string, "...") if self.omit_string else text


class CommandStarted:
    """The command's process runs."""

    def __init__(self, command: Command, pid: int) -> None:
        self.command = command
        self.pid = pid


class CommandAbort:
    """Ends the running command, as its timeout would; its ``CommandResult`` follows."""


class CommandLog:
    """A line for the actor that is named as ``logger``; the level is "info" or "error"."""

    def __init__(self, level: str, msg: str, *args: Any) -> None:
        self.level = level
        self.message = msg % args if args else msg


class CommandOutput:
    """Bytes of a command's standard output."""

    def __init__(self, command: Command, output: bytes) -> None:
        self.command = command
        self.output = output


class CommandError:
    """Bytes of a command's standard error."""

    def __init__(self, command: Command, error_output: bytes) -> None:
        self.command = command
        self.error_output = error_output


class CommandResult:
    """How a command ended; true if its exit code is 0.

    ``stdout`` and ``stderr`` are texts, or tuples of beginning and end if they were too long. The
    exit code is -2 if the time was over, minus the number of the signal that ended the command, or
    the number of the error that prevented its start.
    """

    def __init__(
        self,
        command: Command,
        exitcode: int,
        stdout: Output = "",
        stderr: Output = "",
        duration: Optional[timedelta] = None,
    ) -> None:
        self.command = command
        self.exitcode = exitcode
        self.stdout = stdout
        self.stderr = stderr
        self.duration = duration

    def __bool__(self) -> bool:
        return self.exitcode == 0

    @property
    def errorstr(self) -> Output:
        """The error output; FAILED if there is none and the command failed."""
        return self.stderr or ("" if self else "FAILED")

    def __str__(self) -> str:
        name = type(self).__name__
        if self:
            return name + " success"
        errors = " [...] ".join(self.stderr) if isinstance(self.stderr, tuple) else self.stderr
        return "%s FAILED Error #%d %s" % (name, self.exitcode, errors)


class _Tick:
    """Payload of this actor's wakeups; each belongs to one run."""

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        self.what = what


class RunCommand(ActorTypeDispatcher):
    """Runs commands in the order in which they come."""

    def __init__(self, capabilities: Optional[Dict[str, Any]] = None) -> None:
        self._can_watch = bool((capabilities or {}).get("Thespian Watch Supported"))
        self._waiting: Deque[Tuple[Command, ActorAddress]] = collections.deque()
        self._run: Optional[subprocesses.Run] = None
        self._asker: Any = None
        self._number = 0
        self._ending: Optional[str] = None
        self._looking = False

    def receiveMsg_Command(self, message: Command, sender: ActorAddress) -> Any:
        """Runs it now or later."""
        self._waiting.append((message, sender))
        if self._run is None:
            self._start_next()
        return self._watched()

    def receiveMsg_CommandAbort(self, _message: CommandAbort, _sender: ActorAddress) -> Any:
        """Ends the running command."""
        if self._run is not None:
            self._end("aborted")
        return self._watched()

    def receiveMsg_WatchMessage(self, _message: Any, _sender: ActorAddress) -> Any:
        """Output has come."""
        return self._look()

    def receiveMsg_WakeupMessage(self, message: Any, _sender: ActorAddress) -> Any:
        """A time is over, or it is time to look again."""
        tick = message.payload
        if self._run is None or not isinstance(tick, _Tick) or tick.number != self._number:
            return self._watched()
        if tick.what == "timeout" and self._ending is None:
            self._end("timed out")
        elif tick.what == "kill":
            self._run.kill()
        elif tick.what == "look":
            self._looking = False
        return self._look()

    def receiveMsg_ActorExitRequest(self, _message: ActorExitRequest, _sender: Any) -> None:
        """No command outlives its actor."""
        if self._run is not None:
            self._run.kill()
            self._run.close()
            self._run = None

    # One command

    def _start_next(self) -> None:
        while self._run is None and self._waiting:
            command, self._asker = self._waiting.popleft()
            self._number += 1
            self._ending = None
            self._log(command, "info", "%s CMD: %s" % (command.logtag, command.shown()))
            try:
                self._run = subprocesses.Run(command)
            except (OSError, ValueError) as error:
                number = getattr(error, "errno", None) or 1
                self._answer(CommandResult(command, number, "", "%s\n" % error, timedelta()))
                continue
            if command.report_on_start:
                self.send(self._asker, CommandStarted(command, self._run.pid))
            if command.timeout:
                self.wakeupAfter(command.timeout, _Tick(self._number, "timeout"))
            self._looking = False
            self._look_soon()

    def _end(self, why: str) -> None:
        assert self._run is not None
        self._ending = self._ending or why
        self._run.terminate()
        self.wakeupAfter(KILL_AFTER, _Tick(self._number, "kill"))

    def _look(self) -> Any:
        """Takes output, feeds input, and sees whether the command has ended."""
        run = self._run
        if run is None:
            return None
        run.feed()
        for is_error, data in run.read():
            if run.command.output_updates is not None:
                kind = CommandError if is_error else CommandOutput
                self.send(run.command.output_updates, kind(run.command, data))
        code = run.ended()
        if code is not None:
            self._run = None
            if self._ending == "timed out":
                code = TIMED_OUT
            out, errors = run.outputs()
            self._answer(CommandResult(run.command, code, out, errors, run.duration()))
            self._start_next()
        else:
            self._look_soon()
        return self._watched()

    def _look_soon(self) -> None:
        """Sets a wakeup where watching does not tell all: no watch, input left, outputs closed."""
        run = self._run
        if run is None or self._looking:
            return
        if not self._can_watch or not run.is_fed() or not run.descriptors():
            self._looking = True
            self.wakeupAfter(_LOOK_EVERY, _Tick(self._number, "look"))

    def _watched(self) -> Optional[ThespianWatch]:
        if self._run is None or not self._can_watch:
            return None
        return ThespianWatch(self._run.descriptors())

    # Telling

    def _answer(self, result: CommandResult) -> None:
        command = result.command
        self.send(self._asker, result)
        level = "info" if result or command.error_ok else "error"
        state = "success" if result else "FAILED with %d" % result.exitcode
        self._log(command, level, "%s %s" % (command.logtag, state))
        for name, output in (("OUT", result.stdout), ("ERR", result.stderr)):
            for line in _lines_to_log(output):
                self._log(
                    command, level, command.hidden("%s %s| %s" % (command.logtag, name, line))
                )

    def _log(self, command: Command, level: str, text: str) -> None:
        if isinstance(command.logger, ActorAddress):
            self.send(command.logger, CommandLog(level, "%s", text))
        elif command.logger is None:
            getattr(logging, level)("%s", text)


def _lines_to_log(output: Output) -> List[str]:
    parts = output if isinstance(output, tuple) else (output,)
    lines = os.linesep.join(parts).splitlines()
    if len(lines) <= 2 * HALF_NUM_LINES_LOGGED:
        return lines
    return [*lines[:HALF_NUM_LINES_LOGGED], "...", *lines[-HALF_NUM_LINES_LOGGED:]]
