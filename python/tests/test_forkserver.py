"""Forkservers: what they find out, what they fork, and how everything ends."""

import os
import signal
import time

from conftest import BAR, FOO
from fake_node import FakeNode

from thespian.actors import ActorSystem
from thespian.system import wire


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(*pids):
    limit = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.005)


def pid_of(system, actor):
    return system.ask(actor, ("who",), 10)[3]


def teller(system):
    return system.createActor("foo.acting.Teller", sourceHash=FOO)


def forkserver_pid(pid):
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_prepare_resolves_classes_and_checks_capabilities(node):
    names = ["foo.acting.Echo", "single", "foo.acting.Elsewhere", "broken.Any", "foo.things.Thing"]
    answer = node.prepare(FOO, names + ["foo.acting", "foo.acting.None"], [{}, {"Elsewhere": 1}])
    assert answer["answer"] == "prepared" and answer["per_actor"] is None
    echo, single, elsewhere, broken, thing, several, missing = answer["classes"]
    assert (echo["class"], echo["fits"]) == ("foo.acting.Echo", [True, True])
    assert single["class"] == "single.Only"
    assert elsewhere["fits"] == [False, True]
    assert broken["failure"]["code"] == "import_error"
    assert "no_such_module" in broken["failure"]["traceback"]
    for wrong in (thing, several, missing):
        assert wrong["failure"]["code"] == "invalid_specification"


def test_prepared_actors_share_the_import(node, system):
    node.prepare(FOO, ["foo.acting.Teller"])
    one, two = teller(system), teller(system)
    pids = pid_of(system, one), pid_of(system, two)
    assert len(set(pids)) == 2
    assert forkserver_pid(pids[0]) == forkserver_pid(pids[1])
    assert os.getpgid(pids[0]) == pids[0]


def test_an_import_with_threads_and_files_is_done_per_actor(node, system):
    answer = node.prepare(BAR, ["threaded.Threaded"])
    assert answer["classes"][0]["class"] == "threaded.Threaded"
    assert "thread" in answer["per_actor"]
    actor = system.createActor("threaded.Threaded", sourceHash=BAR)
    pid, threads = system.ask(actor, "who", 10)
    assert threads == 2
    server = forkserver_pid(pid)
    assert len(os.listdir("/proc/%d/task" % server)) == 1
    assert node.origins[next(iter(node.origins))].pid == server
    again = node.prepare(BAR, ["threaded.Threaded"])
    assert again["per_actor"] == answer["per_actor"] and again["classes"] == answer["classes"]
    os.kill(pid, signal.SIGKILL)
    node.until(lambda: {"notice": "child_ended", "pid": pid, "status": -9} in node.notices)


def test_without_preload_nothing_is_imported_in_the_forkserver(node, system):
    answer = node.prepare(BAR, ["threaded.Threaded"], preload=False)
    assert answer["classes"][0]["class"] == "threaded.Threaded"
    assert answer["per_actor"] == "'Preload' is False"
    server = node.origins[next(iter(node.origins))].pid
    assert len(os.listdir("/proc/%d/task" % server)) == 1


def test_the_end_of_a_child_is_told_with_its_status(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    assert system.ask(actor, ("die", 7), 10) is None
    node.until(lambda: {"notice": "child_ended", "pid": pid, "status": 7} in node.notices)


def test_terminate_is_an_exit_request(node, system):
    pid = pid_of(system, teller(system))
    os.kill(pid, signal.SIGTERM)
    node.until(lambda: {"notice": "child_ended", "pid": pid, "status": 0} in node.notices)
    assert {"notice": "exiting"} in node.notices


def test_killing_a_forkserver_ends_its_workers(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    system.tell(actor, ("burn", 60))
    os.kill(forkserver_pid(pid), signal.SIGKILL)
    gone(pid)


def test_killing_the_root_ends_everything(node, system):
    pid = pid_of(system, teller(system))
    server = forkserver_pid(pid)
    node.root_process.kill()
    gone(pid, server)


def test_forkservers_finish_when_no_child_is_left(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    server = forkserver_pid(pid)
    connection = node.origins[next(iter(node.origins))]
    node.call(lambda: node.to_server(connection, "finish", {}, None))
    assert pid_of(system, actor) == pid and alive(server)
    os.kill(pid, signal.SIGTERM)
    gone(server)


def test_workers_have_random_numbers_of_their_own(node, system):
    node.prepare(FOO, ["foo.acting.Teller"])
    drawn = {system.ask(teller(system), ("random",), 10) for _ in range(3)}
    assert len(drawn) == 3


def test_the_path_of_a_worker_has_the_source_but_no_current_directory(node, system):
    path = system.ask(teller(system), ("path",), 10)
    assert path[0] == node.sources[FOO]
    assert "" not in path and os.getcwd() not in path
    assert any("site-packages" in entry for entry in path)


def test_workers_hold_no_descriptors_of_their_forkserver(node, system):
    first, second = (pid_of(system, teller(system)) for _ in range(2))

    def kinds(pid):
        links = [
            os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)
        ]
        return sorted(link.split(":")[0] for link in links)

    # Standard input, output and error, the connection, a pipe for signals.
    assert kinds(first) == kinds(second) == ["/dev/null", "pipe", "pipe"] + ["socket"] * 3


def test_a_hung_actor_shows_where_it_stands(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    system.tell(actor, ("burn", 60))
    process = node.actors[actor._key]

    def asked():
        os.kill(pid, signal.SIGUSR1)
        return "do_burn" in process.output

    node.until(asked)


def test_a_marker_is_echoed_when_all_before_it_is_handled(node, system):
    actor = teller(system)
    system.tell(actor, ("burn", 0.1))
    system.tell(actor, ("count_self", 3))
    system.ask(actor, ("calls",), 10)
    frame = wire.control_frame(wire.MARKER, 77, b"")
    connection = node.actors[actor._key].connection
    node.call(lambda: node.put(connection, frame))
    node.until(lambda: (actor._key, 77) in node.markers)


def test_a_wait_for_credit_is_told_and_can_be_ended(tmp_path, monkeypatch):
    node = FakeNode(tmp_path, give_credit=False)
    node.sources = {FOO: os.path.join(os.path.dirname(__file__), "sources/foo")}
    node.start()
    monkeypatch.setenv("DIRECTOR_SOCKET", node.path)
    try:
        system = ActorSystem(transientUnique=True)
        one, two = teller(system), teller(system)
        system.tell(one, ("flood", two, 4097))
        blocked = {"notice": "blocked", "target": two._key.hex(), "inbox_full": False}
        node.until(lambda: blocked in node.notices)
        # Blocked, it goes on receiving.
        system.tell(one, ("calls",))
        from thespian.system import control

        frame = control.notice("unblock", reason="it cannot end")
        connection = node.actors[one._key].connection
        node.call(lambda: node.put(connection, frame))
        assert system.listen(10) == "flooded"
        assert system.listen(10) == 0
        assert system.ask(one, ("seen",), 10) == [("poison", 4096, "it cannot end")]
        assert system.ask(two, ("seen",), 10) == list(range(4096))
        unblocked = {"notice": "blocked", "target": None, "inbox_full": False}
        assert unblocked in node.notices
        system._core.endpoint.close()
    finally:
        node.stop()


def test_the_operator_allows_classes_by_the_environment(tmp_path, monkeypatch):
    node = FakeNode(tmp_path, environment={"DIRECTOR_PICKLE_ALLOW": "foo.things.Thing"})
    folder = os.path.join(os.path.dirname(__file__), "sources/foo")
    other = "ef" * 32
    node.sources = {FOO: folder, other: folder}
    node.start()
    monkeypatch.setenv("DIRECTOR_SOCKET", node.path)
    try:
        system = ActorSystem(transientUnique=True)
        one = teller(system)
        two = system.createActor("foo.acting.Teller", sourceHash=other)
        system.tell(one, ("thing", two, 5))
        found = []
        while not found:
            found = system.ask(two, ("seen",), 10)
        assert found == [("thing", 5)]
        assert system.ask(two, ("variable", "DIRECTOR_PICKLE_ALLOW"), 10) is False
        system._core.endpoint.close()
    finally:
        node.stop()


def test_a_worker_ends_when_its_connection_does(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    connection = node.actors[actor._key].connection
    node.call(lambda: connection.sock.shutdown(2))
    gone(pid)


def test_a_handler_may_end_the_process(node, system):
    actor = teller(system)
    pid = pid_of(system, actor)
    assert system.ask(actor, ("quit", 5), 10) == "bye"
    node.until(lambda: {"notice": "child_ended", "pid": pid, "status": 5} in node.notices)


def test_processes_show_what_they_are(node, system):
    pid = pid_of(system, teller(system))

    def name(pid):
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()

    assert name(pid) == "Teller"
    assert name(forkserver_pid(pid)) == "forkserver"


def test_a_failed_worker_leaves_its_forkserver_as_it_was(node, system):
    server = forkserver_pid(pid_of(system, teller(system)))
    for _ in range(3):
        answer = node.prepare(FOO, ["foo.acting.Raises"])
        assert answer["classes"][0]["class"] == "foo.acting.Raises"
        system.ask(teller(system), ("child", "foo.acting.Raises"), 10)
    assert forkserver_pid(pid_of(system, teller(system))) == server


def test_idle_actors_report_what_they_took(node, system):
    actor = teller(system)
    system.ask(actor, ("calls",), 10)
    connection = node.actors[actor._key].connection
    node.until(lambda: connection.outstanding == 0)
