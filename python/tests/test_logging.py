"""Log records from actors to the log process: which, where to, how many, and never in the way."""

import json
import logging
import os
import socket
import subprocess
import sys
import time

import pytest
from fake_node import FakeNode

from thespian.actors import ActorSystem
from thespian.director import ActorAddressLogFilter
from thespian.system import log_definitions, log_process, log_source

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sources")
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOO = "ab" * 32
# The configuration of the Director's documentation, its braces mended.
DOCUMENTED = {
    "version": 1,
    "formatters": {
        "normal": {
            "fmt": "%(asctime)s,%(msecs)d %(actorAddress)s/PID:%(process)d %(name)s "
            "%(levelname)s %(message)s",
            "datefmt": "%Y-%m-%d %H:%M:%S",
        }
    },
    "root": {"level": 20, "handlers": ["foo_log_handler"]},
    "loggers": {"subsysA": {"level": 30, "propagate": 0, "handlers": ["foo_log_handler"]}},
    "handlers": {
        "foo_log_handler": {
            "filename": "fooapp.log",
            "class": "logging.handlers.TimedRotatingFileHandler",
            "formatter": "normal",
            "level": 20,
            "backupCount": 3,
            "filters": ["isActorLog"],
            "when": "midnight",
        }
    },
    "filters": {"isActorLog": {"()": "thespian.director.ActorAddressLogFilter"}},
}


def plan(folder, config=None):
    text = None if config is None else repr(config)
    given = {"config": text, "folder": str(folder), "path": [str(folder)], "node": "a"}
    return json.dumps(given)


@pytest.fixture
def logging_node(tmp_path, monkeypatch):
    """Makes a node that logs by a configuration into the test's folder."""
    running = []

    def make(config=None):
        fake = FakeNode(tmp_path, environment={log_source.PLAN_VARIABLE: plan(tmp_path, config)})
        fake.sources = {FOO: os.path.join(SOURCES, "foo")}
        running.append(fake.start())
        monkeypatch.setenv("DIRECTOR_SOCKET", fake.path)
        return ActorSystem("multiprocTCPBase", transientUnique=True)

    yield make
    for fake in running:
        fake.stop()


def until_text(path, wanted, seconds=20):
    """The text of a file once it holds what is wanted."""
    limit = time.monotonic() + seconds
    while True:
        text = path.read_text() if path.exists() else ""
        if wanted in text:
            return text
        assert time.monotonic() < limit, "no %r in %r" % (wanted, text[-2000:])
        time.sleep(0.02)


def logs(system, *calls):
    """Has an actor log so."""
    actor = system.createActor("foo_app.Logging", sourceHash=FOO)
    assert system.ask(actor, ("log", calls), 20) == "logged"
    return actor


def test_the_documented_configuration_works_as_it_stands(logging_node, tmp_path):
    actor = logs(
        logging_node(DOCUMENTED),
        ("", logging.INFO, "usual"),
        ("", logging.DEBUG, "not wanted"),
        ("subsysA", logging.INFO, "too low"),
        ("subsysA", logging.WARNING, "high enough"),
        ("other", logging.ERROR, "last"),
    )
    text = until_text(tmp_path / "fooapp.log", "last")
    lines = text.splitlines()
    assert len(lines) == 3, text
    for line, (name, level, message) in zip(
        lines,
        [
            ("root", "INFO", "usual"),
            ("subsysA", "WARNING", "high enough"),
            ("other", "ERROR", "last"),
        ],
    ):
        moment, rest = line.split(" ", 2)[:2], line.split(" ", 2)[2]
        assert len(moment[0]) == 10 and "," in moment[1]
        assert rest.startswith("%s/PID:" % actor)
        assert rest.endswith(" %s %s %s" % (name, level, message))


def test_levels_are_filtered_where_the_actor_is(logging_node):
    system = logging_node(DOCUMENTED)
    actor = system.createActor("foo_app.Logging", sourceHash=FOO)
    assert system.ask(actor, "enabled", 20) == {
        "root": logging.INFO,
        "subsysA": logging.WARNING,
        "other": logging.INFO,
    }


def test_a_flood_is_bounded_counted_and_stops_nobody(logging_node, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import logging, time\n"
        "class Slow(logging.FileHandler):\n"
        "    def emit(self, record):\n"
        "        time.sleep(0.0003)\n"
        "        super().emit(record)\n"
    )
    config = {
        "version": 1,
        "handlers": {"slow": {"()": "slow.Slow", "filename": str(tmp_path / "slow.log")}},
        "root": {"level": "INFO", "handlers": ["slow"]},
    }
    system = logging_node(config)
    actor = system.createActor("foo_app.Logging", sourceHash=FOO)
    started = time.monotonic()
    assert system.ask(actor, ("flood", 20000), 60) == "logged"
    assert time.monotonic() - started < 15
    # While nothing more is taken, these are dropped and counted as well.
    sent, text = 20000, ""
    while "flood and more" not in text:
        assert time.monotonic() - started < 100
        logged = ("log", [("", logging.ERROR, "flood and more")])
        assert system.ask(actor, logged, 20) == "logged"
        sent += 1
        time.sleep(0.1)
        text = (tmp_path / "slow.log").read_text()
    written, told = _accounted(tmp_path / "slow.log", sent)
    assert written + told == sent and told > 0 and written > 0


def _accounted(path, sent):
    """Records written, and records told to be dropped, once they make up what was sent."""
    limit = time.monotonic() + 60
    while True:
        lines = path.read_text().splitlines()
        dropped = [line for line in lines if "records were dropped" in line]
        told = sum(int(line.split(" ", 1)[0]) for line in dropped)
        written = sum(line.startswith("flood ") for line in lines)
        if written + told >= sent or time.monotonic() > limit:
            return written, told
        time.sleep(0.05)


def test_records_of_an_actor_that_ends_at_once_arrive(logging_node, tmp_path):
    system = logging_node(DOCUMENTED)
    actor = system.createActor("foo_app.Logging", sourceHash=FOO)
    system.tell(actor, ("log and exit", "the last word"))
    until_text(tmp_path / "fooapp.log", "the last word")


def test_a_traceback_and_extras_arrive(logging_node, tmp_path):
    config = dict(DOCUMENTED, formatters={"normal": {"format": "%(message)s %(mine)s"}})
    system = logging_node(config)
    actor = system.createActor("foo_app.Logging", sourceHash=FOO)
    assert system.ask(actor, "trace", 20) == "logged"
    text = until_text(tmp_path / "fooapp.log", "ZeroDivisionError")
    assert "it failed 17" in text and "Traceback" in text


class Relay:
    """The node's socket for what its leader is to have."""

    def __init__(self, folder):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(20)
        self._listener.bind(str(folder / "node.sock.relay.sock"))
        self._listener.listen(8)

    def records(self, count):
        """So many records of the next process that sends some."""
        stream = self._listener.accept()[0]
        stream.settimeout(20)
        with stream.makefile("rb") as file:
            read = [file.read(*log_source.LENGTH.unpack(file.read(4))) for _ in range(count)]
        return [json.loads(record) for record in read]


def test_warnings_go_to_the_node_too_but_those_of_other_nodes(logging_node, tmp_path):
    relay = Relay(tmp_path)
    actor = logs(
        logging_node(DOCUMENTED),
        ("", logging.INFO, "usual"),
        ("", logging.WARNING, "worth telling"),
        ("subsysA", logging.ERROR, "worse"),
    )
    until_text(tmp_path / "fooapp.log", "worse")
    # As the node writes what another node's actor logged.
    there = {"name": "x", "levelno": 40, "levelname": "ERROR", "msg": "elsewhere"}
    told = json.dumps(dict(there, actorAddress="there", nodeName="b", relayed=True)).encode()
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(tmp_path / "node.sock.log.sock"))
        stream.sendall(log_source.LENGTH.pack(len(told)) + told)
    assert " x ERROR elsewhere" in until_text(tmp_path / "fooapp.log", "elsewhere")
    logs(ActorSystem("multiprocTCPBase", transientUnique=True), ("", logging.WARNING, "last"))
    first, second, last = relay.records(3)
    assert (first["msg"], first["nodeName"], first["actorAddress"]) == (
        "worth telling",
        "a",
        str(actor),
    )
    assert (second["msg"], second["name"]) == ("worse", "subsysA")
    assert last["msg"] == "last"


def test_without_a_log_process_warnings_are_shown_and_go_to_the_node(tmp_path, monkeypatch):
    relay = Relay(tmp_path)
    fake = FakeNode(tmp_path)
    fake.sources = {FOO: os.path.join(SOURCES, "foo")}
    fake.start()
    try:
        monkeypatch.setenv("DIRECTOR_SOCKET", fake.path)
        system = ActorSystem("multiprocTCPBase", transientUnique=True)
        actor = logs(system, ("", logging.INFO, "usual"), ("a.b", logging.WARNING, "worth telling"))
        (record,) = relay.records(1)
        shown = (record["name"], record["msg"], record["actorAddress"])
        assert shown == ("a.b", "worth telling", str(actor))
    finally:
        fake.stop()


def test_a_log_process_that_dies_is_replaced(logging_node, tmp_path):
    (tmp_path / "deadly.py").write_text(
        "import logging, os\n"
        "class Deadly(logging.FileHandler):\n"
        "    def emit(self, record):\n"
        "        if record.getMessage() == 'die': os._exit(1)\n"
        "        super().emit(record)\n"
    )
    config = {
        "version": 1,
        "handlers": {"deadly": {"()": "deadly.Deadly", "filename": str(tmp_path / "a.log")}},
        "root": {"level": "INFO", "handlers": ["deadly"]},
    }
    system = logging_node(config)
    logs(system, ("", logging.INFO, "before"))
    until_text(tmp_path / "a.log", "before")
    logs(system, ("", logging.INFO, "die"))
    limit = time.monotonic() + 20
    while "after" not in (tmp_path / "a.log").read_text():
        assert time.monotonic() < limit
        logs(system, ("", logging.INFO, "after"))
        time.sleep(0.2)


SERVES = """
import json, sys
from thespian.system import log_process
log_process.LogProcess(json.loads(sys.argv[1]), 0).run()
"""


def test_of_two_log_processes_of_a_node_one_serves_and_the_other_takes_its_place(tmp_path):
    given = dict(json.loads(plan(tmp_path)), socket=str(tmp_path / "a.log.sock"))
    given["relay"] = str(tmp_path / "a.relay.sock")
    command = [sys.executable, "-c", SERVES, json.dumps(given)]
    environment = dict(os.environ, PYTHONPATH=PACKAGE)

    def start():
        return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)

    def log(text):
        handler = log_source.LogHandler(given["socket"], None)
        record = logging.LogRecord("a", logging.WARNING, "", 0, text, (), None)
        handler.handle(record)
        until_text(tmp_path / "thespian.log", text)
        handler.close()

    first = start()
    log("by the first")
    second = start()
    log("still by the first")
    assert second.poll() is None and os.path.exists(given["socket"])
    first.kill()
    first.wait()
    log("by the second")
    # Whoever started it has gone: it ends by itself, and leaves no socket.
    second.stdin.close()
    assert second.wait(20) is not None and not os.path.exists(given["socket"])


def test_what_is_dropped_counts_for_what_it_stands_for(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "a.sock"))
    listener.listen(1)
    handler = log_source.LogHandler(str(tmp_path / "a.sock"), None)
    text = "x" * (60 << 10)
    sent = 0
    while not handler.dropped:
        handler.pass_on({"msg": text})
        sent += 1
    handler.pass_on({"msg": text, "n_dropped": 40})
    assert handler.dropped == 41
    # Whoever read them dies: what was on the way is counted as well, each once.
    taken = listener.accept()[0]
    size = len(log_source._framed({"msg": text}))
    arrived = len(taken.recv(3 * size, socket.MSG_WAITALL)) // size
    taken.close()
    listener.close()
    handler.pass_on({"msg": "last"})
    limit = time.monotonic() + 20
    while True:
        with handler.lock:
            kept = sum(worth for _left, worth in handler._frames)
            lost = handler.dropped + kept
        # Some more lay in the socket.
        gone = sent + len(["last"]) + 40 - lost
        if gone in range(arrived, arrived + 12):
            break
        assert time.monotonic() < limit, (sent, lost)
        time.sleep(0.02)
    handler.close()
    assert arrived == 3


def test_a_configuration_that_cannot_be_used_is_told(tmp_path, capfd, logging_node):
    logs(
        logging_node({"version": 1, "handlers": {"x": {"class": "no.such.Handler"}}}),
    )
    limit = time.monotonic() + 20
    told = ""
    while "cannot be used" not in told:
        assert time.monotonic() < limit
        told += capfd.readouterr().err
        time.sleep(0.05)
    assert "thesplog.cfg" in told


def test_without_a_configuration_the_files_of_the_original_are_written(logging_node, tmp_path):
    logs(logging_node(None), ("", logging.DEBUG, "small"), ("", logging.WARNING, "large"))
    debug = until_text(tmp_path / "thespian_debug.log", "large")
    assert "small" in debug
    assert "small" not in until_text(tmp_path / "thespian.log", "large")


def test_the_filter_gives_an_empty_address_outside_of_actors():
    record = logging.LogRecord("a", logging.INFO, "", 0, "text", (), None)
    assert ActorAddressLogFilter().filter(record) and record.actorAddress == ""
    record.actorAddress = "there"
    assert ActorAddressLogFilter().filter(record) and record.actorAddress == "there"


def test_relative_file_names_lie_in_the_folder_and_others_stay():
    handlers = {"a": {"filename": "x.log"}, "b": {"filename": "/tmp/y.log"}, "c": {}}
    mended = log_process.mended({"handlers": handlers}, "/logs")
    names = [handler.get("filename") for handler in mended["handlers"].values()]
    assert names == ["/logs/x.log", "/tmp/y.log", None]
    assert handlers["a"]["filename"] == "x.log"


class OwnFilter(logging.Filter):
    """One that a program gives by reference."""


def test_definitions_of_a_program_name_what_they_refer_to(monkeypatch):
    given = {"version": 1, "filters": {"own": {"()": OwnFilter}}, "handlers": {}}
    given["handlers"]["out"] = {"class": "logging.StreamHandler", "stream": sys.stdout}
    monkeypatch.setattr(log_definitions, "given", given)
    text = eval(log_definitions.text())
    assert text["filters"]["own"]["()"] == "test_logging.OwnFilter"
    assert text["handlers"]["out"]["stream"] == "ext://sys.stdout"
    assert text[log_process.CLIENT_KEY]["directory"] == os.getcwd()
    monkeypatch.setattr(log_definitions, "given", {"x": lambda: None})
    with pytest.raises(ValueError, match="import by its name"):
        log_definitions.text()
    monkeypatch.setattr(log_definitions, "given", False)
    assert log_definitions.text() is None
