"""Whom a program takes for its node."""

import os
import socket
import stat

from thespian.system import locate


def listen(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen(1)
    return sock


def listen_as_another(folder, path, monkeypatch):
    """A socket at the path behind which another user listens."""
    if os.getuid():
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        return listen(path), None
    os.chmod(folder, 0o777)
    for above in folder.parents:
        if above != above.parent and not os.stat(above).st_mode & stat.S_IXOTH:
            os.chmod(above, os.stat(above).st_mode | stat.S_IXOTH)
    ready, told = os.pipe()
    end, stop = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(stop)
        os.setgid(12345)
        os.setuid(12345)
        listen(path)
        os.write(told, b"1")
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    assert os.read(ready, 1) == b"1"
    return stop, pid


def test_a_node_of_the_own_user_is_dialled(tmp_path, monkeypatch):
    path = tmp_path / "node.sock"
    monkeypatch.setenv(locate.SOCKET_VARIABLE, str(path))
    assert locate.dial(1900) is None
    node = listen(path)
    sock = locate.dial(1900)
    assert sock is not None
    sock.close()
    node.close()


def test_another_users_socket_is_not_dialled_however_late_it_is_put_there(tmp_path, monkeypatch):
    path = tmp_path / "node.sock"
    monkeypatch.setenv(locate.SOCKET_VARIABLE, str(path))
    node, pid = listen_as_another(tmp_path, path, monkeypatch)
    try:
        assert locate.dial(1900) is None
        # As when the path was swapped behind the look at it.
        monkeypatch.setattr(locate, "_trustworthy", lambda _path: True)
        assert locate.dial(1900) is None
    finally:
        if pid is None:
            node.close()
        else:
            os.close(node)
            os.waitpid(pid, 0)
