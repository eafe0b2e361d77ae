"""Actors for the tests."""

import os
import random
import sys
import time

from foo.things import Thing
from thespian.actors import *


class Echo(Actor):
    def receiveMessage(self, message, sender):
        if not isinstance(message, ActorSystemMessage):
            self.send(sender, message)


class Teller(Actor):
    """Does what the first item of a tuple says."""

    def __init__(self, capabilities, requirements):
        self.given = (capabilities, requirements)
        self.seen = []
        self.calls = 0
        self.asker = None
        self.watched = None

    def receiveMessage(self, message, sender):
        if isinstance(message, tuple):
            getattr(self, "do_" + message[0])(sender, *message[1:])
        elif message == "count":
            self.calls += 1
            raise ValueError("attempt %d" % self.calls)
        else:
            self.seen.append(self.shown(message, sender))
            if isinstance(message, WatchMessage):
                os.read(message.ready[0], 100)
                self.send(self.asker, ("ready", message.ready == [self.watched]))
        if isinstance(message, tuple) and message[0] == "watch":
            return ThespianWatch([self.watched])

    def shown(self, message, sender):
        if isinstance(message, WakeupMessage):
            return ("wakeup", message.payload, sender == self.myAddress)
        if isinstance(message, ChildActorExited):
            return ("exited", message.childAddress)
        if isinstance(message, PoisonMessage):
            poison = message.poisonMessage
            return ("poison", repr(poison) if callable(poison) else poison, message.details)
        if isinstance(message, DeadEnvelope):
            return ("dead", message.deadAddress, message.deadMessage)
        if isinstance(message, Thing):
            return ("thing", message.value)
        return message

    def do_who(self, sender):
        self.send(sender, (self.myAddress, self.globalName, self.given, os.getpid()))

    def do_seen(self, sender):
        self.send(sender, list(self.seen))

    def do_numbers(self, sender):
        self.send(sender, [item[0] for item in self.seen])

    def do_random(self, sender):
        self.send(sender, random.random())

    def do_path(self, sender):
        self.send(sender, list(sys.path))

    def do_variable(self, sender, name):
        self.send(sender, name in os.environ)

    def do_count_self(self, sender, count):
        if count:
            self.send(self.myAddress, ("count_self", count - 1))

    def do_quit(self, sender, status):
        self.send(sender, "bye")
        sys.exit(status)

    def do_calls(self, sender):
        self.send(sender, self.calls)

    def do_wake(self, sender, *periods):
        for period in periods:
            self.wakeupAfter(period, period)

    def do_burn(self, sender, seconds):
        time.sleep(seconds)

    def do_child(self, sender, name, *messages, **options):
        child = self.createActor(name, **options)
        for message in messages:
            self.send(child, message)
        self.send(sender, child)

    def do_named(self, sender, name, global_name):
        self.send(sender, self.createActor(name, globalName=global_name))

    def do_child_class(self, sender):
        self.send(sender, self.createActor(Echo))

    def do_thing(self, sender, target, value):
        self.send(target, Thing(value))

    def do_send(self, sender, target, message):
        self.send(target, message)

    def do_lambda(self, sender):
        self.send(sender, lambda: None)

    def do_flood(self, sender, target, count, size=0):
        for n in range(count):
            self.send(target, [n, b"x" * size] if size else n)
        self.send(sender, "flooded")

    def do_flood_self(self, sender, count):
        for n in range(count):
            self.send(self.myAddress, n)
        self.send(self.myAddress, ("done", sender))

    def do_done(self, sender, asker):
        self.send(asker, len(self.seen) and self.seen == list(range(len(self.seen))))

    def do_exit(self, sender, target, recursive):
        self.send(target, ActorExitRequest(recursive))

    def do_dead(self, sender):
        self.handleDeadLetters()
        self.send(sender, "handling")

    def do_die(self, sender, status):
        os._exit(status)

    def do_watch(self, sender):
        self.asker = sender
        self.watched, self.writing = os.pipe()
        os.write(self.writing, b"x")

    def do_print(self, sender, text):
        print(text)
        self.send(sender, "printed")

    def do_fork(self, sender):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            self.send(sender, "forked")

    def do_slow(self, sender, count, seconds):
        for n in range(count):
            self.send(sender, n)
        time.sleep(seconds)


class Raises(Actor):
    def __init__(self):
        raise RuntimeError("cannot be built")


@requireCapability("Elsewhere")
class Elsewhere(Actor):
    pass


class Base(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.trail = getattr(self, "trail", []) + ["base"]
        return self.SUPER

    def receiveMsg_object(self, message, sender):
        self.send(sender, getattr(self, "trail", []) + ["object"])


class Middle(Base):
    pass


class Dispatching(Middle):
    def receiveMsg_str(self, message, sender):
        self.trail = ["own"]
        return self.SUPER


class Parent(Actor):
    """Exits take a while; counts its children's ends."""

    def receiveMessage(self, message, sender):
        if message == "grow":
            self.kid = self.createActor("foo.acting.Slow")
            self.send(sender, self.kid)
        elif isinstance(message, ChildActorExited):
            print("child has ended", message.childAddress == self.kid)
        elif isinstance(message, ActorExitRequest):
            print("parent is asked to end")
            raise ValueError("does not matter")


class Slow(Actor):
    def receiveMessage(self, message, sender):
        if isinstance(message, ActorExitRequest):
            time.sleep(0.2)
            print("child is asked to end")


class Restarting(Actor):
    """Replaces each child that ends."""

    def receiveMessage(self, message, sender):
        if message == "grow" or isinstance(message, ChildActorExited):
            self.kid = self.createActor("foo.acting.Echo")
            self.send(self.kid, "hello")
            if message == "grow":
                self.send(sender, self.kid)
