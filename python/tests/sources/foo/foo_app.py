"""An actor that logs what it is told to."""

import logging
import os

from thespian.actors import Actor, ActorExitRequest


class Logging(Actor):
    """Logs."""

    def receiveMessage(self, message, sender):
        if isinstance(message, ActorExitRequest):
            return
        if message == "enabled":
            names = ("root", "subsysA", "other")
            found = {name: logging.getLogger(name).getEffectiveLevel() for name in names}
            self.send(sender, found)
            return
        if message == "trace":
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError:
                logging.exception("it failed", extra={"mine": 17})
            self.send(sender, "logged")
            return
        what, value = message
        if what == "log":
            for name, level, text in value:
                logging.getLogger(name).log(level, text, extra={"mine": ""})
        elif what == "flood":
            for number in range(value):
                logging.warning("flood %d of %s", number, "x" * 200)
        elif what == "log and exit":
            logging.warning(value)
            os.kill(os.getpid(), 15)
            return
        self.send(sender, "logged")
