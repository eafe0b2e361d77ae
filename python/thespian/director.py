"""The Director from Python: its actor, ``DirectorControl``, and what logging configurations import.

``python -m thespian.director COMMAND ARGUMENTS`` is the program ``director`` by its old name.
``createActor('thespian.director', globalName='Director')`` finds the actor ``Director``; the
messages that it takes are told by the methods of that class.
Not here: the commands themselves; the program has them.
"""

import contextlib
import io
import logging
import os
import subprocess
import sys
from typing import Any, Dict, List, Optional

from thespian.system.director_actor import Director, no_role, role_address
from thespian.system.errors import ActorSystemFailure, ActorSystemStartupFailure
from thespian.system.versions import GroupLoadableFiles

__all__ = ["ActorAddressLogFilter", "Director", "DirectorControl", "GroupLoadableFiles"]

DIRECTORY_VARIABLE = "THESPIAN_DIRECTOR_DIR"
DEFAULT_DIRECTORY = "/opt/thespian/director"
REQUEST_LIMIT_S = 5.0


class ActorAddressLogFilter(logging.Filter):
    """Gives every record an ``actorAddress``; it is empty outside of actors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        if not hasattr(record, "actorAddress"):
            record.actorAddress = ""
        return True


class DirectorControl:
    """The commands of the Director as methods: they print, and return the exit status.

    ``sources_dir`` is the Director directory, by default that of ``THESPIAN_DIRECTOR_DIR``.
    ``system_base`` may be any ``multiproc*`` name; ``admin_port`` has to be the directory's own.
    """

    def __init__(
        self,
        sources_dir: Optional[str] = None,
        system_base: Optional[str] = None,
        admin_port: Optional[int] = None,
    ) -> None:
        named = sources_dir or os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY
        self.sources_dir = os.path.abspath(named)
        self.system_base = system_base or "multiprocQUICBase"
        if not self.system_base.startswith("multiproc"):
            raise ValueError("`%s` has no Director: use `multiprocTCPBase`" % system_base)
        self.admin_port = self._admin_port()
        if admin_port is not None and int(admin_port) != self.admin_port:
            raise ValueError(
                "the admin port of `%s` is %d, not %s: write it into `adminport.cfg`"
                % (self.sources_dir, self.admin_port, admin_port)
            )

    def _admin_port(self) -> int:
        try:
            with open(os.path.join(self.sources_dir, "adminport.cfg")) as file:
                return int(file.read().strip())
        except (OSError, ValueError):
            return 1900

    # Commands

    def cmd_help(self, *words: str) -> int:
        """Shows the commands and the current settings, or how one command is used."""
        return self._run("help", *words)

    def cmd_config(self, *words: str) -> int:
        """Shows where the settings are read from and what they are."""
        return self._run("config", *words)

    def cmd_gensrc(self, *words: str) -> int:
        """Builds a signed package: group, key file, sources directory, options, sources."""
        return self._run("gensrc", *words)

    def cmd_avail(self, *words: str) -> int:
        """Lists the packages that can be loaded, newest first, with their hashes."""
        return self._run("avail", *words)

    def cmd_tlsinfo(self, *words: str) -> int:
        """Says whether a package is valid and with which key, lists it, or prints a member."""
        return self._run("tlsinfo", *words)

    def cmd_load(self, *words: str) -> int:
        """Loads the newest package of a group, or the named file."""
        return self._run("load", *words)

    def cmd_refresh(self, *words: str) -> int:
        """Loads the newest package of every group where it is higher than the active version."""
        return self._run("refresh", *words)

    def cmd_start(self, *words: str) -> int:
        """Starts the node and refreshes; with any word it stays until the node ends."""
        return self._run("start", *(["--foreground"] if words else []))

    def cmd_list(self, *words: str) -> int:
        """Lists the loaded sources and their actors, of all groups or of one."""
        return self._run("list", *words)

    def cmd_unload(self, *words: str) -> int:
        """Unloads the source with this hash."""
        return self._run("unload", *words)

    def cmd_shutdown(self, *words: str) -> int:
        """Stops the node and all its actors."""
        return self._run("shutdown", *words)

    def cmd_bootstart(self, *words: str) -> int:
        """Has the node started with the machine, where the program offers that."""
        return self._run("bootstart", *words)

    def cmd_verbose(self, *words: str) -> int:
        """The command that follows, telling what it does."""
        return self._run("verbose", *words)

    def run(self, words: List[str]) -> int:
        """Any command line of the program."""
        return self._run(*words)

    def _run(self, *words: Any) -> int:
        from thespian.system import starting

        program = starting.binary()
        if program is None:
            sys.stderr.write(
                "no `director` program was found: set DIRECTOR_BIN or put it on PATH\n"
            )
            return 5
        environment = dict(os.environ, **{DIRECTORY_VARIABLE: self.sources_dir})
        environment.setdefault("DIRECTOR_PYTHON", sys.executable or "")
        command = [program, *map(str, words)]
        out, errors = _stream(sys.stdout), _stream(sys.stderr)
        try:
            done = subprocess.run(command, env=environment, stdout=out, stderr=errors, check=False)
        except OSError as error:
            sys.stderr.write("`%s` cannot be run: %s\n" % (program, error))
            return 5
        for stream, told in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
            if told:
                stream.write(told.decode(errors="replace"))
        return done.returncode

    # Roles

    def get_role_address(
        self, role: str, group: Optional[str] = None, silent: bool = False
    ) -> Optional[Dict[str, Any]]:
        """The active actor that plays a role, as a dictionary, or None.

        ``ActorAddress`` is that actor; ``RoleAddress`` is whichever actor plays the role when a
        message arrives. Unless ``silent``, a failure is told on standard error.
        """
        why = None
        try:
            found = self._resolve(role, group)
        except (ActorSystemFailure, ActorSystemStartupFailure) as error:
            found, why = [], str(error)
        if found:
            return role_address(found[0], role)
        if not silent:
            failure = no_role(role, group)
            sys.stderr.write("RoleAddress ERROR: %s%s\n" % (failure, " (%s)" % why if why else ""))
        return None

    def _resolve(self, role: str, group: Optional[str]) -> List[Dict[str, Any]]:
        from thespian.system import endpoint

        connection = endpoint.Endpoint(self.admin_port, start=False)
        try:
            answer = connection.request(REQUEST_LIMIT_S, "resolve", target=role, group=group)
        finally:
            connection.close()
        if answer.get("answer") != "resolved":
            raise ActorSystemFailure(str(answer.get("message") or answer))
        return [match for match in answer["matches"] if match["kind"] == "role" and match["actor"]]


def _stream(stream: Any) -> Optional[int]:
    """What a child process writes to instead of this stream; PIPE if there is no descriptor."""
    with contextlib.suppress(AttributeError, ValueError):
        stream.flush()
    try:
        return stream.fileno()
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return subprocess.PIPE


if __name__ == "__main__":
    sys.exit(DirectorControl().run(sys.argv[1:]))
