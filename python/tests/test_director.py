"""The Director's commands from Python; the program is a stand-in that shows how it was called."""

import os
import subprocess
import sys
from datetime import datetime

import pytest

from thespian.director import Director, DirectorControl, GroupLoadableFiles
from thespian.system import address

PROGRAM = """#!%s
import os, sys
print(os.environ["THESPIAN_DIRECTOR_DIR"], sys.argv[1:])
print("told", file=sys.stderr)
sys.exit(len(sys.argv) - 2)
"""
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A Director directory, and a program in place of `director`."""
    program = tmp_path / "director"
    program.write_text(PROGRAM % sys.executable)
    program.chmod(0o700)
    monkeypatch.setenv("DIRECTOR_BIN", str(program))
    folder = tmp_path / "directory"
    folder.mkdir()
    (folder / "adminport.cfg").write_text("2345\n")
    monkeypatch.setenv("THESPIAN_DIRECTOR_DIR", str(folder))
    return folder


def test_a_command_runs_the_program_and_returns_its_status(directory, capfd):
    control = DirectorControl()
    assert control.cmd_avail() == 0
    assert control.cmd_load("foo", "bar") == 2
    out, errors = capfd.readouterr()
    assert out.splitlines() == [
        "%s ['avail']" % directory,
        "%s ['load', 'foo', 'bar']" % directory,
    ]
    assert errors == "told\ntold\n"


def test_output_goes_where_the_program_prints(directory, capsys):
    assert DirectorControl().cmd_start("stay") == 1
    out, errors = capsys.readouterr()
    assert "['start', '--foreground']" in out and errors == "told\n"


def test_every_command_of_the_original_says_what_it_does():
    names = "help config gensrc avail tlsinfo load refresh start list unload shutdown bootstart"
    for name in names.split():
        assert getattr(DirectorControl, "cmd_" + name).__doc__


def test_every_message_of_the_director_says_what_it_is():
    for name in ["DefineGroup", "LoadSource", "RetrieveAll", "RetrieveRole", "RequestNotification"]:
        assert "'DirectorOp': '%s'" % name in getattr(Director, name).__doc__


def test_the_old_command_line_is_a_door_to_the_program(directory):
    done = subprocess.run(
        [sys.executable, "-m", "thespian.director", "list", "foo"],
        env=dict(os.environ, PYTHONPATH=PACKAGE),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1 and b"['list', 'foo']" in done.stdout


def test_settings_that_cannot_be_are_refused(directory, monkeypatch, capsys):
    assert DirectorControl(admin_port=2345).admin_port == 2345
    with pytest.raises(ValueError, match="is 2345, not 1"):
        DirectorControl(admin_port=1)
    with pytest.raises(ValueError, match="no Director"):
        DirectorControl(system_base="simpleSystemBase")
    monkeypatch.setenv("DIRECTOR_BIN", str(directory / "none"))
    assert DirectorControl().cmd_list() == 5
    assert "cannot be run" in capsys.readouterr().err


def test_a_role_is_found_with_both_of_its_addresses(directory, node, capsys):
    actor = address.allot(7, 99)
    node.matches = [
        {
            "kind": "role",
            "group": "foo",
            "role": "MainFoo",
            "role_address": "00" * 16,
            "actor": actor._key.hex(),
            "class": "foo.Main",
            "source": "ab" * 32,
            "started": 1000,
        }
    ]
    found = DirectorControl().get_role_address("MainFoo")
    assert found == {
        "DirectorResponse": "RoleAddress",
        "Success": True,
        "Group": "foo",
        "SourceHash": "ab" * 32,
        "ActorClass": "foo.Main",
        "Role": "MainFoo",
        "ActorAddress": actor,
        "RoleAddress": address.restore_role("foo", "MainFoo"),
        "StartTime": datetime.fromtimestamp(1),
    }
    assert capsys.readouterr().err == ""


def test_an_unknown_role_is_none_and_told_unless_silent(directory, node, capsys):
    control = DirectorControl()
    assert control.get_role_address("unknown", silent=True) is None
    assert capsys.readouterr().err == ""
    assert control.get_role_address("unknown") is None
    assert capsys.readouterr().err.startswith("RoleAddress ERROR: {'DirectorResponse'")


def test_without_a_node_no_role_is_found(directory, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DIRECTOR_SOCKET", str(tmp_path / "none.sock"))
    assert DirectorControl().get_role_address("MainFoo") is None
    assert "does not answer" in capsys.readouterr().err


def test_package_files_are_sorted_by_the_version_in_their_names():
    ordered = "foo.tls foo0.tls foo-0.tls foo-1.tls foo-05.tls foo-15.tls foo-15.1.tls foo-15.2.tls"
    ordered += " foo-15.2.1.tls foo-15a.tls foo-15a1.tls foo-15a5beta4.tls foo-15a5gamma1.tls"
    ordered += " foo-201601251202.tls foo-201601280945.tls"
    key = GroupLoadableFiles.versionExtract("foo")
    assert sorted(reversed(ordered.split()), key=key) == ordered.split()
    assert [part() for part in key("/some/foo-3.053a9-test.tls")] == [
        *("-", 3, ".", 53, "a", 9, "-test"),
    ]
