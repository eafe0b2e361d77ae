"""Defines exactly one actor."""

from foo.acting import Echo  # noqa: F401  imported, not defined

from thespian.actors import Actor


class Only(Actor):
    def receiveMessage(self, message, sender):
        if message == "who":
            self.send(sender, "only")
