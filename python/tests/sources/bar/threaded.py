"""Starts a thread and opens a file when it is imported."""

import os
import threading
import time

from thespian.actors import Actor

file = open(__file__)
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


class Threaded(Actor):
    def receiveMessage(self, message, sender):
        if message == "who":
            self.send(sender, (os.getpid(), threading.active_count()))
        elif isinstance(message, (str, int, list)):
            self.send(sender, message)
