"""Troupes, transient actors, initializing messages: in-process, so that nothing depends on load."""

import time

import pytest

from thespian.actors import (
    Actor,
    ActorExitRequest,
    ActorSystem,
    ActorSystemMessage,
    ActorTypeDispatcher,
    PoisonMessage,
)
from thespian.initmsgs import initializing_messages
from thespian.transient import transient, transient_idle
from thespian.troupe import UpdateTroupeSettings, troupe


@pytest.fixture
def local():
    system = ActorSystem("simpleSystemBase", transientUnique=True)
    yield system
    system.shutdown()


class Echo(Actor):
    def receiveMessage(self, message, sender):
        if not isinstance(message, ActorSystemMessage):
            self.send(sender, ("got", message))


@transient(0.05)
class Short(Echo):
    pass


@transient_idle(0.3)
class Idle(Echo):
    pass


def test_a_transient_actor_ends_after_its_first_message(local):
    actor = local.createActor(Short)
    time.sleep(0.1)
    assert local.ask(actor, 1, 1) == ("got", 1)
    time.sleep(0.1)
    assert local.listen(0) is None
    assert local.ask(actor, 2, 1) is None


def test_an_idle_transient_actor_lives_on_while_messages_come(local):
    actor = local.createActor(Idle)
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert local.ask(actor, 1, 1) == ("got", 1)
        time.sleep(0.02)
    assert local.listen(1) is None
    assert local.ask(actor, 2, 1) is None


@initializing_messages([("number", int, True), ("text", str)], initdone="ready")
class Prepared(ActorTypeDispatcher):
    def ready(self):
        self.send(self.number_sender, ("ready", self.number, self.text))

    def receiveMsg_float(self, message, sender):
        self.send(sender, message)

    def receiveMsg_int(self, message, sender):
        self.send(sender, ("int", message))


def test_messages_wait_for_the_initializing_ones(local):
    actor, other = local.createActor(Prepared), local.createActor(Prepared)
    for message in (1.5, 2.5, 3, 4, "text"):
        local.tell(actor, message)
    assert [local.listen(0) for _ in range(4)] == [("ready", 3, "text"), 1.5, 2.5, ("int", 4)]
    assert local.ask(other, 1.5, 0) is None


def test_a_missing_initdone_is_told_at_the_class():
    with pytest.raises(TypeError, match="no method `gone`"):

        @initializing_messages([("text", str)], initdone="gone")
        class _Wrong(Actor):
            pass


@initializing_messages([("text", str)], init_passthru=True)
class PassThrough(Echo):
    pass


def test_with_passthru_nothing_waits(local):
    actor = local.createActor(PassThrough)
    assert local.ask(actor, 1, 0) == ("got", 1)
    assert local.ask(actor, "a", 0) is None
    assert local.ask(actor, "b", 0) == ("got", "b")


@troupe(max_count=3, idle_count=1)
class Team(Actor):
    def receiveMessage(self, message, sender):
        if message == "who":
            self.send(sender, str(self.myAddress))
        elif message == "start":
            self.troupe_work_in_progress = True
            self.asker = sender
            self.send(sender, self.myAddress)
        elif message == "finish":
            self.troupe_work_in_progress = False
            self.send(self.asker, "finished")
        elif message == "raise":
            raise ValueError("on purpose")
        elif not isinstance(message, ActorSystemMessage):
            self.send(sender, ("got", message))


def test_a_troupe_works_on_falsy_messages_too(local):
    team = local.createActor(Team)
    for message in (0, "", None, False):
        assert local.ask(team, message, 0) == ("got", message)


def test_busy_workers_make_new_ones_up_to_the_maximum(local):
    team = local.createActor(Team)
    busy = [local.ask(team, "start", 0) for _ in range(3)]
    assert len(set(busy)) == 3 and team not in busy
    assert local.ask(team, "who", 0) is None
    assert "3 busy, 1 waiting" in local.ask(team, "troupe:status?", 0)
    local.tell(busy[1], "finish")
    assert local.listen(0) == "finished"
    assert local.listen(0) == str(busy[1])
    assert "2 busy, 0 waiting" in local.ask(team, "troupe:status?", 0)


def test_surplus_workers_are_dismissed(local, monkeypatch):
    monkeypatch.setattr("thespian.troupe.DISMISS_EXTRA_PERIOD", 0.05)
    team = local.createActor(Team)
    for worker in [local.ask(team, "start", 0) for _ in range(3)]:
        local.tell(worker, "finish")
    assert [local.listen(0) for _ in range(3)] == ["finished"] * 3
    assert "3 idle, 0 busy" in local.ask(team, "troupe:status?", 0)
    assert local.listen(0.2) is None
    assert "1 idle, 0 busy" in local.ask(team, "troupe:status?", 0)


def test_the_work_of_a_worker_that_exits_goes_to_another(local):
    team = local.createActor(Team)
    worker = local.ask(team, "start", 0)
    local.tell(worker, ActorExitRequest())
    again = local.listen(0)
    assert again is not None and again != worker
    local.tell(again, ActorExitRequest())
    last = local.listen(0)
    local.tell(last, ActorExitRequest())
    assert isinstance(local.listen(0), PoisonMessage)
    assert local.ask(team, "x", 0) == ("got", "x")


def test_poison_of_a_worker_reaches_the_sender_of_the_work(local):
    team = local.createActor(Team)
    poison = local.ask(team, "raise", 0)
    assert isinstance(poison, PoisonMessage) and poison.poisonMessage == "raise"
    assert "on purpose" in poison.details
    assert local.ask(team, "x", 0) == ("got", "x")


def test_settings_of_a_troupe_change_and_are_not_work(local):
    team = local.createActor(Team)
    now = local.ask(team, UpdateTroupeSettings(max_count=1), 0)
    assert (now.max_count, now.idle_count) == (1, 1) and local.listen(0) is None
    assert local.ask(team, "troupe:set_idle_count=4", 0) == "Set troupe idle_count to 4"
    assert "Error changing max_count" in local.ask(team, "troupe:set_max_count=nine", 0)
    assert "Error changing max_count" in local.ask(team, "troupe:set_max_count=0", 0)
    assert "Idle=4, Max=1," in local.ask(team, "troupe:status?", 0)
    with pytest.raises(TypeError):
        UpdateTroupeSettings(max_count="nine")
