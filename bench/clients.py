"""The client side of Director and of Thespian under one shape, for `worker.py`."""

import contextlib
import importlib
import io
import os
import time
from datetime import timedelta

from thespian.actors import ActorExitRequest, ActorSystem


def connect(side, port):
    """The client of a side whose node runs with this admin port."""
    return (DirectorClient if side == "director" else ThespianClient)(port)


class _Client:
    source = None

    def __init__(self, port):
        self.system = ActorSystem("multiprocTCPBase", {"Admin Port": port})

    def ask(self, target, message, seconds):
        return self.system.ask(target, message, timedelta(seconds=seconds))

    def tell(self, target, message):
        self.system.tell(target, message)

    def listen(self, seconds):
        return self.system.listen(timedelta(seconds=seconds))

    def end(self, target):
        self.system.tell(target, ActorExitRequest())


class DirectorClient(_Client):
    """Actors come by name from the loaded source; roles have addresses."""

    def create(self, name):
        return self.system.createActor("benchapp.actors." + name, sourceHash=self.source)

    def role(self):
        from thespian.system import address

        return address.restore_role("bench", "Echo")

    def switched(self):
        """The role's address: one for all versions."""
        return self.role()

    def load(self, path, version, name="Echo"):
        """The upload and the request that `director load` makes, without its process."""
        from thespian.system import control, wire

        endpoint = self.system._endpoint()
        number = next(endpoint._requests)
        with open(path, "rb") as file:
            while True:
                piece = file.read(256 << 10)
                endpoint.link.send_now(wire.control_frame(wire.UPLOAD, number, piece, wire.RAW))
                if len(piece) < 256 << 10:
                    break
        request = {
            "request": os.urandom(16).hex(),
            "group": "bench",
            "version": version,
            "path": path,
            "definition": _definition(name),
            "by": "bench",
            "no_wait": False,
            "upwards_only": False,
        }
        endpoint.link.send_now(control.request(number, "load", **request))
        while number not in endpoint._answers:
            endpoint._receive(time.monotonic() + 60)
        answer = endpoint._answers.pop(number)
        if answer.get("answer") != "loaded":
            raise RuntimeError(str(answer))


def _definition(name):
    """The `.tli` of the application as the program evaluates it, with this class as its role."""
    actor = {
        "class": "benchapp.actors." + name,
        "role": "Echo",
        "global_name": None,
        "on_load": None,
        "on_deactivate": None,
        "on_reactivate": None,
        "placement": "One",
        "requirements": None,
        "preload": "Once",
        "on_lost_lease": "Keep",
    }
    return {"actors": [actor], "auto_unload": {"Keep": 1}, "keep_limit": None}


class ThespianClient(_Client):
    """Actors are imported classes; a role is looked up at its Director actor each time."""

    def create(self, name):
        return self.system.createActor(getattr(importlib.import_module("benchapp.actors"), name))

    def __init__(self, port):
        super().__init__(port)
        self.director = None
        self.hash = None

    def _control(self):
        if self.director is None:
            from thespian.director import DirectorControl

            self.director = DirectorControl()
        return self.director

    def switched(self):
        """The address of the role's actor, once it is of another source than the last time.

        An ask to the actor of an unloaded source would wait until its limit.
        """
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            found = self._control().get_role_address("Echo", silent=True)
            if found and found["ActorAddress"] and found["SourceHash"] != self.hash:
                self.hash = found["SourceHash"]
                return found["ActorAddress"]
            time.sleep(0.002)
        raise TimeoutError("the role has no new actor")

    def source_reply(self, path, name):
        """Loads a package inside this process, creates an actor of it, asks it for its version."""
        made = self.system.createActor(
            "benchapp.actors." + name, sourceHash=self.system.loadActorSource(path)
        )
        return self.ask(made, "version", 60), made

    def members(self):
        """How many systems have joined the convention of this one."""
        from thespian.system.messages.status import Thespian_StatusReq

        status = self.ask(self.system._systemBase.adminAddr, Thespian_StatusReq(), 5)
        return len(getattr(status, "conventionAttendees", ()))

    def load(self, path, version):
        with contextlib.redirect_stdout(io.StringIO()):
            self._control()("load", path)
