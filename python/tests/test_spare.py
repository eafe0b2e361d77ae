"""The process forked ahead: who becomes an actor, who ends, and when."""

import os
import signal

from conftest import FOO
from test_forkserver import alive, forkserver_pid, gone, pid_of, teller


def children(pid):
    path = "/proc/%d/task/%d/children" % (pid, pid)
    with open(path) as file:
        return [int(word) for word in file.read().split()]


def name(pid):
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()
    except OSError:
        return ""


def spare_of(node, server):
    """The spare of a forkserver, once it has one."""

    def spares():
        return [pid for pid in children(server) if name(pid) == "spare"]

    node.until(spares)
    return spares()[0]


def test_an_actor_comes_from_the_process_forked_ahead(node, system):
    server = forkserver_pid(pid_of(system, teller(system)))
    spare = spare_of(node, server)
    actor = teller(system)
    assert pid_of(system, actor) == spare
    assert name(spare) == "Teller" and os.getpgid(spare) == spare


def test_a_spare_that_nobody_wants_ends(node, system):
    pid = pid_of(system, teller(system))
    server = forkserver_pid(pid)
    spare = spare_of(node, server)
    gone(spare)
    assert children(server) == [pid]


def test_an_actor_is_created_although_the_spare_was_killed(node, system):
    server = forkserver_pid(pid_of(system, teller(system)))
    spare = spare_of(node, server)
    os.kill(spare, signal.SIGKILL)
    gone(spare)
    assert pid_of(system, teller(system)) != spare


def test_what_is_prepared_later_is_not_left_to_an_older_spare(node, system):
    server = forkserver_pid(pid_of(system, teller(system)))
    spare = spare_of(node, server)
    node.prepare(FOO, ["foo.acting.Echo"])
    gone(spare)
    assert pid_of(system, teller(system)) != spare


def test_a_spare_ends_with_its_forkserver(node, system):
    server = forkserver_pid(pid_of(system, teller(system)))
    spare = spare_of(node, server)
    os.kill(server, signal.SIGKILL)
    gone(server, spare)
    assert not alive(spare)
