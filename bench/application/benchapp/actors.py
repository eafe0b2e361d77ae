"""Actors that echo, count, send and fan out.

Not here: what drives them and takes the time (``client``).
"""

import time

from thespian.actors import Actor, requireCapability

VERSION = "1"


class Echo(Actor):
    """Answers texts and bytes with themselves, and ``version`` with the version of its source."""

    def receiveMessage(self, message, sender):
        if message == "version":
            self.send(sender, VERSION)
        elif isinstance(message, (str, bytes)):
            self.send(sender, message)


@requireCapability("far")
class Far(Echo):
    """Echoes where the capability ``far`` is: on one member of a convention."""


class Sink(Actor):
    """Counts bytes; ``window`` is acknowledged, ``("report", tag)`` tells count and last time."""

    count = 0
    last = 0.0

    def receiveMessage(self, message, sender):
        if isinstance(message, bytes):
            self.count += 1
            self.last = time.time()
        elif message == "window":
            self.send(sender, "acknowledged")
        elif isinstance(message, tuple):
            self.send(sender, (*message, self.count, self.last))


class Sender(Actor):
    """Sends to a sink, all in one handler or a window at a time; answers with its start time."""

    def receiveMessage(self, message, sender):
        if isinstance(message, tuple) and message[0] == "burst":
            _, (sink, tag), count, size = message
            payload = b"x" * size
            started = time.time()
            for _ in range(count):
                self.send(sink, payload)
            self.send(sender, ("started", tag, started))
        elif isinstance(message, tuple) and message[0] == "windows":
            _, (self.sink, self.tag), self.left, size, self.window = message
            self.payload, self.asker, self.started = b"x" * size, sender, time.time()
            self.send_window()
        elif message == "acknowledged":
            self.send_window()

    def send_window(self):
        if not self.left:
            self.send(self.asker, ("started", self.tag, self.started))
            return
        count = min(self.window, self.left)
        self.left -= count
        for _ in range(count):
            self.send(self.sink, self.payload)
        self.send(self.sink, "window")


class Fan(Actor):
    """``("make", n)`` creates n children; each ``round`` sends to all and answers with the time."""

    def receiveMessage(self, message, sender):
        if isinstance(message, tuple) and message[0] == "make":
            self.children = [self.createActor(Echo) for _ in range(message[1])]
            self.begin(sender)
        elif message == "round":
            self.begin(sender)
        elif message == "x":
            self.left -= 1
            if not self.left:
                self.send(self.asker, time.perf_counter() - self.started)

    def begin(self, asker):
        self.asker, self.left, self.started = asker, len(self.children), time.perf_counter()
        for child in self.children:
            self.send(child, "x")
