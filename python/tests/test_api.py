"""The names, texts and equalities that applications rely on."""

import copy
import pickle

import pytest

import thespian.actors as api
from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorSystemConventionUpdate,
    ActorTypeDispatcher,
    ChildActorExited,
    DeadEnvelope,
    InvalidActorAddress,
    InvalidActorSourceHash,
    InvalidActorSpecification,
    LoadedSource,
    NoCompatibleSystemForActor,
    PoisonMessage,
    UnloadedSource,
    ValidatedSource,
    ValidateSource,
    WakeupMessage,
    requireCapability,
)
from thespian.director import ActorAddressLogFilter
from thespian.system import address


def test_the_star_import_gives_what_sources_rely_on():
    names = {}
    exec("from thespian.actors import *", names)
    for name in ("logging", "inspect", "contextmanager", "Actor", "ActorSystem", "ThespianWatch"):
        assert name in names
    assert names["Actor"] is api.Actor


def test_addresses_are_values_made_by_the_runtime_only():
    one, same, other = address.allot(7, 9), address.allot(7, 9), address.allot(7, 10)
    assert one == same and one != other and len({one, same, other}) == 2
    assert pickle.loads(pickle.dumps(one)) == one and copy.deepcopy([one]) == [one]
    assert str(one) == "ActorAddr-(D|00000000000000070000000000000009)"
    assert one.addressDetails == one.actorAddressString == "(D|00000000000000070000000000000009)"
    assert one != "x" and one is not None
    for wrong in (lambda: ActorAddress(), lambda: address.restore_address(b"short")):
        with pytest.raises((TypeError, ValueError)):
            wrong()


def test_a_role_is_equal_only_to_itself():
    role = address.restore_role("a", "bc")
    assert role == address.restore_role("a", "bc")
    assert role != address.restore_role("ab", "c")
    assert role != address.restore_address(role._key[1:])


def test_exceptions_have_their_texts():
    assert str(InvalidActorAddress("x", "bad")) == "x is bad"
    assert "abc" in str(InvalidActorSourceHash("abc"))
    assert str(InvalidActorSpecification("s", "why")).endswith("(why)")
    assert str(NoCompatibleSystemForActor("C", "No system")) == "No system for Actor C"
    for error in (InvalidActorAddress("x", "bad"), InvalidActorSpecification("s", "why")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_messages_compare_as_documented():
    one, two = address.allot(1, 2), address.allot(1, 3)
    assert ActorExitRequest(True) == ActorExitRequest(False)
    request = ActorExitRequest()
    request.notRecursive()
    assert not request.isRecursive
    assert ChildActorExited(one) == ChildActorExited(one) != ChildActorExited(two)
    assert PoisonMessage(1, "a") == PoisonMessage(1, "b") != PoisonMessage(2)
    assert DeadEnvelope(one, 1) == DeadEnvelope(one, 1) != DeadEnvelope(two, 1)
    assert WakeupMessage(1, "a") == WakeupMessage(1, "a") != WakeupMessage(1, "b")
    assert ValidateSource("h", b"x") == ValidateSource("h", b"y")
    assert ValidatedSource("h", None) != ValidatedSource("i", None)
    assert LoadedSource("h", "i") == LoadedSource("h", "i") != UnloadedSource("h", "i")
    update = ActorSystemConventionUpdate(one, {"a": 1})
    assert update.remoteAdded and update == ActorSystemConventionUpdate(one, {"a": 1}, True)


def test_required_capabilities_add_up():
    @requireCapability("a")
    @requireCapability("b", 5)
    class Both:
        @staticmethod
        def actorSystemCapabilityCheck(capabilities, requirements):
            return requirements.get("ok")

    check = Both.actorSystemCapabilityCheck
    assert check({"a": 1, "b": 5}, {"ok": 1})
    for capabilities, requirements in (
        ({"a": 1, "b": 5}, {}),
        ({"a": 0, "b": 5}, {"ok": 1}),
        ({"a": 1, "b": 6}, {"ok": 1}),
        ({"a": 1}, {"ok": 1}),
    ):
        assert not check(capabilities, requirements)


class Seen(ActorTypeDispatcher):
    def __init__(self):
        self.calls = []

    def receiveMsg_int(self, message, sender):
        self.calls.append("int")
        return self.SUPER

    def receiveMsg_NoneType(self, message, sender):
        self.calls.append("none")
        return "result"

    def receiveUnrecognizedMessage(self, message, sender):
        self.calls.append("unrecognized")


def test_dispatch_follows_the_message_classes():
    actor = Seen()
    actor.receiveMessage(True, None)
    assert actor.receiveMessage(None, None) == "result"
    actor.receiveMessage("text", None)
    assert actor.calls == ["int", "unrecognized", "none", "unrecognized"]


def test_log_records_outside_of_actors_have_an_empty_address():
    record = api.logging.LogRecord("n", 20, "f", 1, "m", (), None)
    assert ActorAddressLogFilter().filter(record) and record.actorAddress == ""
