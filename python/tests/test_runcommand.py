"""Commands that an actor runs, on a node."""

import pickle
import sys
import time
from datetime import timedelta

import pytest

from thespian.actors import ActorTypeDispatcher
from thespian.runcommand import (
    Command,
    CommandAbort,
    CommandLog,
    CommandOutput,
    CommandResult,
    CommandStarted,
    RunCommand,
)
from thespian.system import trust

WAIT_S = 20


def python(text, **options):
    return Command(sys.executable, ["-u", "-c", text], logger=False, **options)


class Collector(ActorTypeDispatcher):
    """Keeps what it is told until it is asked."""

    def __init__(self):
        self.output, self.lines = b"", []

    def receiveMsg_CommandOutput(self, message, sender):
        self.output += message.output

    def receiveMsg_CommandLog(self, message, sender):
        self.lines.append((message.level, message.message))

    def receiveMsg_str(self, message, sender):
        self.send(sender, (self.output, self.lines))


def test_output_and_errors_come_with_the_result(system):
    runner = system.createActor(RunCommand)
    text = "import sys; print('out'); print('bad', file=sys.stderr); sys.exit(3)"
    result = system.ask(runner, python(text), WAIT_S)
    assert isinstance(result, CommandResult) and not result
    assert (result.exitcode, result.stdout, result.stderr) == (3, "out\n", "bad\n")
    assert timedelta() < result.duration < timedelta(seconds=WAIT_S)
    assert "FAILED" in str(result) and result.errorstr == "bad\n"


def test_commands_run_in_their_order_each_with_its_own_output(system):
    runner = system.createActor(RunCommand)
    for number in range(3):
        system.tell(runner, python("import time; time.sleep(0.1); print(%d)" % number))
    results = [system.listen(WAIT_S) for _ in range(3)]
    assert [result.stdout for result in results] == ["0\n", "1\n", "2\n"]
    assert [result.command.args[2][-2:-1] for result in results] == ["0", "1", "2"]


def test_a_command_that_ignores_its_end_is_killed(system):
    runner = system.createActor(RunCommand)
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    system.tell(runner, python(text, timeout=0.5))
    system.tell(runner, python("print('next')"))
    result = system.listen(WAIT_S)
    assert result.exitcode == -2
    assert result.duration < timedelta(seconds=10)
    assert system.listen(WAIT_S).stdout == "next\n"


def test_an_abort_ends_the_running_command(system):
    runner = system.createActor(RunCommand)
    text = "import time; print('on'); time.sleep(60)"
    started = system.ask(runner, python(text, report_on_start=True), WAIT_S)
    assert isinstance(started, CommandStarted) and started.pid > 0
    result = system.ask(runner, CommandAbort(), WAIT_S)
    assert result.exitcode == -15


def test_much_input_and_much_output_pass(system):
    runner = system.createActor(RunCommand)
    text = "import sys; data = sys.stdin.read(); print(len(data)); sys.stdout.write(data)"
    result = system.ask(runner, python(text, input_src="x" * 300_000, max_bufsize=1000), WAIT_S)
    head, tail = result.stdout
    assert result and head.startswith("300000\nxxx") and len(head) == len(tail) == 500


def test_updates_and_logs_go_to_actors_without_the_secret(system):
    runner, collector = system.createActor(RunCommand), system.createActor(Collector)
    command = Command(
        sys.executable,
        ["-c", "print('my secret')"],
        logger=collector,
        logtag="tag",
        omit_string="secret",
        output_updates=collector,
    )
    assert system.ask(runner, command, WAIT_S).stdout == "my secret\n"
    limit = time.monotonic() + WAIT_S
    output, lines = b"", []
    # Between different pairs of actors there is no order.
    while time.monotonic() < limit and len(lines) < 3:
        output, lines = system.ask(collector, "told?", WAIT_S)
    assert output == b"my secret\n"
    assert lines[0][1].startswith("tag CMD: ")
    assert lines[1:] == [("info", "tag success"), ("info", "tag OUT| my ...")]
    assert not any("secret" in line for _level, line in lines)


def test_a_command_that_is_not_there_fails(system):
    runner = system.createActor(RunCommand)
    result = system.ask(runner, Command("no-such-program", [], logger=False), WAIT_S)
    assert not result and result.exitcode == 2 and "no-such-program" in result.stderr


def test_messages_of_commands_hold_their_parts():
    command = python("")
    assert CommandOutput(command, b"x").command is command
    assert (
        CommandLog("info", "%s!", "a").message == "a!" and CommandLog("info", "%s").message == "%s"
    )


def test_commands_may_come_from_another_source():
    rule = trust.Rule()
    command = rule.loads(pickle.dumps(python("x", timeout=3)))
    assert type(command) is Command and command.timeout == timedelta(seconds=3)
    with pytest.raises(trust.Refused):
        rule.loads(pickle.dumps(RunCommand))
