"""The in-process system of unit tests behaves as a node does."""

import time

import pytest

from thespian.actors import (
    Actor,
    ActorExitRequest,
    ActorSystem,
    ActorTypeDispatcher,
    ChildActorExited,
    DeadEnvelope,
    InvalidActorAddress,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    PoisonMessage,
    WakeupMessage,
    requireCapability,
)


@pytest.fixture
def local():
    system = ActorSystem("simpleSystemBase", {"Here": 1}, transientUnique=True)
    yield system
    system.shutdown()


class Many(ActorTypeDispatcher):
    """Does what a message names."""

    def __init__(self, capabilities, requirements=None):
        self.told = []
        self.given = capabilities.get("Here"), requirements

    def receiveMsg_tuple(self, message, sender):
        getattr(self, message[0])(sender, *message[1:])

    def tell(self, sender):
        self.send(sender, list(self.told))
        self.told.clear()

    def given_to_me(self, sender):
        self.send(sender, self.given)

    def make(self, sender, what, name=None):
        self.child = self.createActor(what, globalName=name)
        self.send(self.child, ("tell",))
        self.send(sender, self.child)

    def end(self, sender):
        self.send(self.child, ActorExitRequest())

    def fail(self, sender):
        self.told.append("tried")
        raise ValueError("on purpose")

    def wake(self, sender, *seconds):
        for each in seconds:
            self.wakeupAfter(each, each)

    def letters(self, sender):
        self.handleDeadLetters()

    def stop(self, sender):
        self.actorSystemShutdown()

    def receiveMsg_ChildActorExited(self, message, sender):
        self.told.append(message)

    def receiveMsg_PoisonMessage(self, message, sender):
        self.told.append(message)

    def receiveMsg_DeadEnvelope(self, message, sender):
        self.told.append(message)

    def receiveMsg_WakeupMessage(self, message, sender):
        self.told.append(message)


@requireCapability("Nowhere")
class Elsewhere(Actor):
    pass


class Broken(Actor):
    def __init__(self):
        raise ValueError("broken on purpose")


def test_constructors_are_given_what_they_name(local):
    actor = local.createActor(Many, {"a": 1})
    assert local.ask(actor, ("given_to_me",), 0) == (1, {"a": 1})


def test_creation_raises_what_is_wrong(local):
    with pytest.raises(NoCompatibleSystemForActor, match="No compatible ActorSystem"):
        local.createActor(Elsewhere)
    with pytest.raises(ImportError):
        local.createActor("no.such.module.Thing")
    for spec in ("Unqualified", "os.path.Missing", int):
        with pytest.raises(InvalidActorSpecification):
            local.createActor(spec)
    with pytest.raises(Exception, match="broken on purpose"):
        local.createActor(Broken)
    with pytest.raises(ImportError):
        ActorSystem("noSuchBase")


def test_names_are_unique_and_free_again(local):
    first = local.createActor(Many, globalName="N")
    assert local.createActor("no.such.Class", globalName="N") == first
    local.tell(first, ActorExitRequest())
    assert local.createActor(Many, globalName="N") != first


def test_a_child_that_cannot_be_created_exits(local):
    actor = local.createActor(Many)
    child = local.ask(actor, ("make", Elsewhere), 0)
    assert ChildActorExited(child) in local.ask(actor, ("tell",), 0)


def test_parents_hear_of_the_end_once_and_descendants_end_too(local):
    actor = local.createActor(Many)
    child = local.ask(actor, ("make", Many), 0)
    grandchild = local.ask(child, ("make", Many), 0)
    local.tell(actor, ("tell",))
    local.listen(0)
    local.tell(actor, ("end",))
    assert local.ask(actor, ("tell",), 0) == [ChildActorExited(child)]
    assert local.ask(grandchild, ("tell",), 0) is None


def test_a_handler_that_raises_is_called_twice_and_poisons(local):
    actor = local.createActor(Many)
    poison = local.ask(actor, ("fail",), 0)
    assert isinstance(poison, PoisonMessage) and "on purpose" in poison.details
    assert poison.poisonMessage == ("fail",)
    assert local.ask(actor, ("tell",), 0) == ["tried", "tried"]


def test_what_cannot_be_delivered_goes_to_the_handler(local):
    handler, gone = local.createActor(Many), local.createActor(Many)
    local.tell(handler, ("letters",))
    local.tell(gone, ActorExitRequest())
    assert local.ask(gone, "late", 0) is None
    assert local.ask(handler, ("tell",), 0) == [DeadEnvelope(gone, "late")]


def test_wakeups_come_in_the_order_of_their_times(local):
    actor = local.createActor(Many)
    local.tell(actor, ("wake", 0.06, 0.02, 0.04))
    assert local.listen(0.3) is None
    told = local.ask(actor, ("tell",), 0)
    assert told == [WakeupMessage(s, s) for s in (0.02, 0.04, 0.06)]


def test_listening_ends_at_its_limit(local):
    actor = local.createActor(Many)
    local.tell(actor, ("wake", 60))
    began = time.monotonic()
    assert local.listen(0.05) is None
    assert time.monotonic() - began < 5


def test_an_actor_can_end_the_system(local):
    actor = local.createActor(Many)
    local.tell(actor, ("stop",))
    assert local.ask(actor, ("tell",), 0) is None


def test_a_lost_capability_ends_actors_that_need_it(local):
    local.updateCapability("Nowhere", True)
    actor = local.createActor(Elsewhere)
    assert isinstance(local.ask(actor, 1, 0), PoisonMessage)
    local.updateCapability("Nowhere")
    assert local.ask(actor, 1, 0) is None
    with pytest.raises(NoCompatibleSystemForActor):
        local.createActor(Elsewhere)


def test_private_endpoints_hear_only_their_own(local):
    actor = local.createActor(Many)
    with local.private() as inner:
        inner.tell(actor, ("tell",))
        assert local.listen(0) is None
        assert inner.listen(0) == []


def test_wrong_addresses_are_refused(local):
    with pytest.raises(ValueError):
        local.tell("x", 1)
    actor = local.createActor(Many)
    from thespian.system.simple import SimpleSystem

    assert isinstance(local._core, SimpleSystem)
    with pytest.raises(InvalidActorAddress):
        local._core.instance(actor).send("x", 1)


def test_after_shutdown_the_object_is_of_no_use(local):
    local.shutdown()
    local.shutdown()
    with pytest.raises(AttributeError):
        local.createActor(Many)


def test_without_a_node_the_default_is_the_previous_base(monkeypatch, tmp_path):
    monkeypatch.setenv("DIRECTOR_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setenv("THESPIAN_DIRECTOR_DIR", str(tmp_path / "none"))
    first = ActorSystem()
    assert first.capabilities["Thespian ActorSystem Name"] == "simpleSystem"
    assert ActorSystem()._core is first._core
    first.shutdown()
