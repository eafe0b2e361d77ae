"""Nodes that are started for a program: their directory, their end. The program is a stand-in."""

import os
import socket
import stat
import sys
import textwrap

import pytest

from thespian.actors import ActorSystem, ActorSystemStartupFailure
from thespian.system import locate, starting

HERE = os.path.dirname(os.path.abspath(__file__))
# Serves as `director start` does: in the background, found by its admin port, which it holds.
PROGRAM = """
    import json, os, socket, sys
    sys.path[:0] = [%(here)r, %(package)r]
    port = int(sys.argv[sys.argv.index("--port") + 1])
    directory = os.environ["THESPIAN_DIRECTOR_DIR"]
    with open(%(told)r, "a") as file:
        file.write(json.dumps([sys.argv[1:], directory, os.environ["DIRECTOR_PYTHON"]]) + "\\n")
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        os.read(read, 1)
        sys.exit(0)
    os.setsid()
    from fake_node import FakeNode
    from thespian.system import locate
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind(("127.0.0.1", port))
    node = FakeNode(directory).start(forkserver=False)
    place = os.path.join(%(folder)r, "%%d.sock" %% port)
    os.symlink(node.path, place)
    os.close(write)
    for descriptor in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    node.thread.join(60)
    os.unlink(place)
    held.close()
    node.stop()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A runtime folder of our own, and a program that starts stand-ins for nodes."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setattr(starting, "_user_folder", lambda: str(runtime))
    monkeypatch.setattr(
        locate, "socket_paths", lambda port: [os.path.join(str(runtime), "%d.sock" % port)]
    )
    names = {
        "here": HERE,
        "package": os.path.dirname(HERE),
        "told": str(tmp_path / "told"),
        "folder": str(runtime),
    }
    program = tmp_path / "director"
    program.write_text("#!%s\n%s" % (sys.executable, textwrap.dedent(PROGRAM) % names))
    program.chmod(0o700)
    monkeypatch.setenv("DIRECTOR_BIN", str(program))
    monkeypatch.setenv("THESPIAN_DIRECTOR_DIR", str(tmp_path / "no-directory"))
    monkeypatch.delenv("THESPLOG_FILE", raising=False)
    return runtime


@pytest.fixture
def port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read(*parts):
    with open(os.path.join(*map(str, parts))) as file:
        return file.read()


def test_a_node_is_started_found_again_and_stopped(folder, port, tmp_path):
    capabilities = {"Admin Port": port, "color": ("red", 1)}
    first = ActorSystem("multiprocTCPBase", capabilities, transientUnique=True)
    second = ActorSystem("multiprocUDPBase", {"Admin Port": port}, transientUnique=True)
    directory = folder / ("%d.d" % port)
    assert read(directory, "adminport.cfg") == "%d\n" % port
    assert read(directory, "othercaps.cfg") == "{'color': ('red', 1)}\n"
    assert read(directory, "python.cfg").strip() == sys.executable
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert first.capabilities["color"] == ("red", 1)
    assert len(read(tmp_path, "told").splitlines()) == 1
    second._core.endpoint.close()
    first.shutdown()
    assert not directory.exists() and starting._is_free(port)
    again = ActorSystem("multiprocTCPBase", capabilities, transientUnique=True)
    again.shutdown()
    assert len(read(tmp_path, "told").splitlines()) == 2


def test_the_director_directory_is_used_where_its_port_is_asked_for(
    folder, port, tmp_path, monkeypatch
):
    directory = tmp_path / "director.d"
    directory.mkdir()
    (directory / "adminport.cfg").write_text("%d\n" % port)
    monkeypatch.setenv("THESPIAN_DIRECTOR_DIR", str(directory))
    assert starting.shared_directory(port) == str(directory)
    assert starting.shared_directory(1900) is None
    system = ActorSystem("multiprocTCPBase", {"Admin Port": port}, transientUnique=True)
    assert str(directory) in read(tmp_path, "told")
    system.shutdown()
    assert (directory / "adminport.cfg").exists()


def test_a_port_of_something_else_is_refused(folder, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(ActorSystemStartupFailure, match="in use by something"):
            ActorSystem("multiprocTCPBase", {"Admin Port": port}, transientUnique=True)


def test_a_failing_start_shows_what_was_said(folder, port, tmp_path, monkeypatch):
    program = tmp_path / "failing"
    program.write_text("#!/bin/sh\necho the disk is full >&2\nexit 4\n")
    program.chmod(0o700)
    monkeypatch.setenv("DIRECTOR_BIN", str(program))
    with pytest.raises(ActorSystemStartupFailure, match="ended with 4: the disk is full"):
        ActorSystem("multiprocTCPBase", {"Admin Port": port}, transientUnique=True)
    monkeypatch.setenv("DIRECTOR_BIN", str(tmp_path / "none"))
    with pytest.raises(ActorSystemStartupFailure, match="DIRECTOR_BIN"):
        ActorSystem("multiprocTCPBase", {"Admin Port": port}, transientUnique=True)


def test_capabilities_without_a_literal_are_refused_by_name(folder, port):
    with pytest.raises(ValueError, match="of `thing` is none"):
        ActorSystem("multiprocTCPBase", {"Admin Port": port, "thing": object()})


def test_a_folder_of_others_is_not_used(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for wrong in (open_to_all, tmp_path / "link"):
        if not wrong.exists():
            wrong.symlink_to(tmp_path)
        with pytest.raises(ActorSystemStartupFailure, match="only user"):
            starting._private_folder(str(wrong), 0o700)


def test_what_was_not_made_here_is_not_removed(folder, port):
    directory = folder / ("%d.d" % port)
    directory.mkdir()
    (directory / "mine").write_text("x")
    assert starting.clear(port)
    assert (directory / "mine").exists()


def test_nothing_is_cleared_while_another_program_starts(folder, port):
    with starting._turn():
        assert not starting.clear(port, 0.05)
    assert starting.clear(port, 0.05)


def test_the_convention_address_names_the_nodes_to_join(folder):
    def files(port, given):
        directory = starting._fresh_directory(port, {"Convention Address.IPv4": given})
        found = {}
        for name in ("convleader.cfg", "voter.cfg", "listen.cfg"):
            path = os.path.join(directory, name)
            if os.path.exists(path):
                with open(path) as file:
                    found[name] = file.read().strip()
        return found

    here = "['127.0.0.1:1901']"
    assert files(1901, ("", 1901)) == {"convleader.cfg": here}
    joins = {"convleader.cfg": here, "voter.cfg": "False"}
    for given in (("", 1901), ":1901", ["127.0.0.1:1901"]):
        assert files(1902, given) == joins
    assert files(1902, "a.example")["convleader.cfg"] == "['a.example:1900']"
    several = files(1902, [("a", 7), "b:8"])
    assert several["convleader.cfg"] == "['a:7', 'b:8']"
    for nothing in (None, ""):
        assert files(1902, nothing) == {"listen.cfg": "127.0.0.1"}
