"""External programs: asking, listening, threads, failures, actors of their own modules."""

import io
import os
import pickle
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from conftest import FOO

from thespian.actors import (
    ActorExitRequest,
    ActorSystem,
    ActorSystemFailure,
    ActorSystemStartupFailure,
    InvalidActorSourceHash,
    PoisonMessage,
)
from thespian.system import address, locate, wire
from thespian.system.messages.status import (
    Thespian_ActorStatus,
    Thespian_StatusReq,
    formatStatus,
)

TESTS = os.path.dirname(os.path.abspath(__file__))


def echo(system):
    return system.createActor("foo.acting.Echo", sourceHash=FOO)


def test_ask_waits_no_longer_than_it_may(system):
    actor = system.createActor("foo.acting.Teller", sourceHash=FOO)
    for limit in (0.05, timedelta(milliseconds=50)):
        before = time.monotonic()
        assert system.ask(actor, "ignored", limit) is None
        assert 0.04 < time.monotonic() - before < 2
    assert system.ask(actor, "ignored", 0) is None
    assert system.listen(0) is None


def test_ask_to_the_dead_ends_at_once(system):
    actor = echo(system)
    system.tell(actor, ActorExitRequest())
    while system.ask(actor, "x", 30) is not None:
        continue
    before = time.monotonic()
    assert system.ask(actor, "x", 30) is None
    assert time.monotonic() - before < 5


def test_ask_returns_what_comes_from_anyone(system):
    slow = system.createActor("foo.acting.Teller", sourceHash=FOO)
    system.tell(slow, ("calls",))
    assert system.ask(echo(system), "later", 10) in (0, "later")
    assert system.listen(10) in (0, "later")


def test_what_is_no_address_is_a_value_error(system):
    for operation in (system.ask, system.tell):
        with pytest.raises(ValueError):
            operation(None, "x")
    with pytest.raises((pickle.PicklingError, AttributeError)):
        system.tell(echo(system), lambda: None)


def test_a_message_longer_than_any_frame_is_refused_where_it_is_sent(system, monkeypatch):
    monkeypatch.setattr(wire, "FRAME_BYTES_MAX", 2 << 20)
    actor = echo(system)
    with pytest.raises(ValueError, match="longer than the 2097040"):
        system.tell(actor, b"x" * (2 << 20))
    assert system.ask(actor, b"x" * (1 << 20), 10) == b"x" * (1 << 20)


def test_private_endpoints_get_only_their_own_answers(system):
    actor = echo(system)
    wrong = []

    def ask(mine):
        with system.private() as own:
            for n in range(100):
                if own.ask(actor, (mine, n), 10) != (mine, n):
                    wrong.append((mine, n))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_one_endpoint_may_be_used_from_threads(system):
    actor = echo(system)
    answers = []

    def ask(mine):
        answers.extend(system.ask(actor, mine, 10) for _ in range(50))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == sorted(list(range(4)) * 50)


def test_a_role_is_asked_like_an_actor(node, system):
    role = address.restore_role("group", "Main")
    node.roles[role._key[1:]] = echo(system)._key
    assert system.ask(role, "hello", 10) == "hello"
    again = pickle.loads(pickle.dumps(role))
    assert again == role and hash(again) == hash(role) and str(again) == str(role)
    assert str(role) == "ActorAddr-(R|group|Main)"


def test_literals_of_the_node_are_read(node, system):
    actor = system.createActor("foo.acting.Teller", sourceHash=FOO)
    node.call(lambda: node.system(actor._key, wire.LITERAL, b"[1, {'a': (2,)}]", 0))
    while not system.ask(actor, ("seen",), 10):
        continue
    assert system.ask(actor, ("seen",), 10) == [[1, {"a": (2,)}]]


def test_a_broken_pickle_comes_back_as_poison(node, system):
    actor = system.createActor("foo.acting.Teller", sourceHash=FOO)
    endpoint = system._core.endpoint
    sequence = endpoint._send(actor._key, b"\x80\x05broken", wire.PICKLE, wire.ASK, 1000)
    assert sequence
    answer = system.listen(10)
    assert isinstance(answer, PoisonMessage) and "cannot be read" in answer.details
    assert system.ask(actor, ("calls",), 10) == 0


def test_a_lost_node_ends_asks_and_a_new_one_is_found(node, system):
    actor = echo(system)
    assert system.ask(actor, 1, 10) == 1

    def drop():
        for connection in list(node.clients.values()):
            connection.sock.shutdown(2)

    node.call(drop)
    assert system.listen(10) is None
    assert system.ask(actor, 2, 10) == 2


def test_a_forked_client_gets_an_endpoint_of_its_own(system):
    actor = echo(system)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(system.ask(actor, "child", 10)).encode())
        finally:
            os._exit(0)
    assert system.ask(actor, "parent", 10) == "parent"
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"child"


def test_no_node_and_no_program_to_start_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DIRECTOR_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DIRECTOR_BIN", raising=False)
    with pytest.raises(ActorSystemStartupFailure, match="DIRECTOR_BIN"):
        ActorSystem("multiprocTCPBase", transientUnique=True)
    program = tmp_path / "director"
    program.write_text("#!/bin/sh\necho cannot $@; exit 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("DIRECTOR_BIN", str(program))
    with pytest.raises(ActorSystemStartupFailure, match="cannot start --port 1901"):
        ActorSystem("multiprocTCPBase", {"Admin Port": 1901}, transientUnique=True)


def test_sockets_are_looked_for_where_nodes_put_them(monkeypatch):
    monkeypatch.delenv("DIRECTOR_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/5")
    paths = locate.socket_paths(1900)
    assert paths[:2] == ["/run/director/1900.sock", "/run/user/5/director/1900.sock"]
    assert paths[2].endswith("/director-%d/1900.sock" % os.getuid())


def test_the_shared_system_is_found_again_until_it_is_shut_down(node):
    one = ActorSystem("multiprocQUICBase", {"My": 1})
    two = ActorSystem()
    assert one._core is two._core
    assert two.capabilities["My"] == 1 and two.capabilities["Here"] is True
    assert two.systemUpdate("anything") is None
    one.shutdown()
    assert node.stopping
    with pytest.raises((AttributeError, ActorSystemFailure)):
        one.listen(0)
    with pytest.raises(ImportError):
        ActorSystem("noSuchBase")


PROGRAM = """
import os
from thespian.actors import *
import ownmodule

class Mine(Actor):
    def receiveMessage(self, message, sender):
        if isinstance(message, Question):
            self.asker, self.number = sender, message.number
            self.send(self.createActor("ownmodule.Other"), "to a child")
        elif message == "to a child":
            self.send(self.asker, Answer(self.number + 1))

class Question:
    def __init__(self, number):
        self.number = number

class Answer(Question):
    pass

if __name__ == "__main__":
    system = ActorSystem("multiprocTCPBase")
    answer = system.ask(system.createActor(Mine), Question(4), 10)
    assert type(answer) is Answer, answer
    other = system.createActor("ownmodule.Other")
    back = system.ask(other, Question(7), 10)
    assert type(back) is Question, back
    print(answer.number, back.number, __name__)
"""

OWN_MODULE = """
from thespian.actors import Actor

class Other(Actor):
    def receiveMessage(self, message, sender):
        self.send(sender, message)
"""


def run_program(node, folder, text):
    (folder / "ownmodule.py").write_text(OWN_MODULE)
    program = folder / "program.py"
    program.write_text(text)
    environment = dict(os.environ, DIRECTOR_SOCKET=node.path, PYTHONPATH=os.path.dirname(TESTS))
    return subprocess.run(
        [sys.executable, str(program)],
        cwd=str(folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )


def test_actors_of_main_and_of_own_modules(node, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    done = run_program(node, folder, PROGRAM)
    assert (done.returncode, done.stdout.decode()) == (0, "5 7 __main__\n")


def test_a_program_without_a_guard_is_told(node, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    text = PROGRAM.replace('if __name__ == "__main__":', "if True:")
    done = run_program(node, folder, text)
    assert done.returncode == 1 and "if __name__ ==" in done.stdout.decode()


SLOW_MODULE = """
import os
from thespian.actors import Actor

IMPORTED_BY = os.getpid()

class Where(Actor):
    def receiveMessage(self, message, sender):
        self.send(sender, (VERSION, IMPORTED_BY, os.getpid()))
"""


def test_own_modules_are_imported_once_and_again_when_edited(system, tmp_path, monkeypatch):
    module = tmp_path / "edited.py"
    module.write_text("VERSION = 1\n" + SLOW_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    told = [system.ask(system.createActor("edited.Where"), "?", 10) for _ in range(2)]
    assert [version for version, _by, _own in told] == [1, 1]
    assert told[0][1] == told[1][1] != told[1][2]
    module.write_text("VERSION = 2 # longer\n" + SLOW_MODULE)
    # The file is looked at again after a moment only.
    time.sleep(0.1)
    assert system.ask(system.createActor("edited.Where"), "?", 10)[0] == 2


def test_a_module_that_starts_a_thread_is_imported_by_each_actor(system, tmp_path, monkeypatch):
    text = "VERSION = 1\nimport threading\nthreading.Thread(target=input, daemon=True).start()\n"
    text = text.replace("input", "threading.Event().wait")
    (tmp_path / "threading_one.py").write_text(text + SLOW_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        _version, by, own = system.ask(system.createActor("threading_one.Where"), "?", 20)
        assert by == own


def test_an_actor_tells_its_status_without_being_disturbed(system):
    actor = system.createActor("foo.acting.Echo", sourceHash=FOO)
    answer = system.ask(actor, Thespian_StatusReq(), 10)
    assert isinstance(answer, Thespian_ActorStatus) and answer.actorAddress == actor
    assert (answer.childActors, answer.pendingWakeups, answer.pendingMessages) == ([], [], [])
    text = io.StringIO()
    formatStatus(answer, tofd=text)
    assert "foo.acting.Echo" in text.getvalue()


def test_what_is_no_hash_is_refused_as_one(system):
    for wrong in ("this is bogus", "ab" * 31, "zz" * 32, 7):
        with pytest.raises(InvalidActorSourceHash):
            system.createActor("foo.acting.Echo", sourceHash=wrong)


def test_a_node_of_the_version_before_is_spoken_to(node):
    node.protocol = wire.PROTOCOL_VERSION_OLDEST
    assert wire.PROTOCOL_VERSION_OLDEST == wire.PROTOCOL_VERSION - 1
    system = ActorSystem("multiprocTCPBase", transientUnique=True)
    actor = system.createActor("foo.acting.Echo", sourceHash=FOO)
    assert system.ask(actor, "hallo", 20) == "hallo"


@pytest.mark.parametrize(
    "spoken", [wire.PROTOCOL_VERSION + 1, wire.PROTOCOL_VERSION_OLDEST - 1], ids=["newer", "older"]
)
def test_a_node_of_a_foreign_version_is_named(node, spoken):
    node.protocol = spoken
    with pytest.raises(ActorSystemStartupFailure, match="speaks protocol %d" % spoken):
        ActorSystem("multiprocTCPBase", transientUnique=True)


def test_a_node_that_refuses_a_program_says_why(node):
    node.refusal = {"error": "forbidden", "message": "not you", "hint": "ask root"}
    with pytest.raises(ActorSystemStartupFailure, match=r"not you \(ask root\)"):
        ActorSystem("multiprocTCPBase", transientUnique=True)
