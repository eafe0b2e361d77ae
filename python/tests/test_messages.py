"""Actors of a source, from creation to exit, through a real forkserver."""

import pytest
from conftest import BAR, FOO

from thespian.actors import (
    ActorExitRequest,
    ActorStartFailure,
    InvalidActorSpecification,
    NoCompatibleSystemForActor,
    PoisonMessage,
)
from thespian.system import wire


def teller(system):
    return system.createActor("foo.acting.Teller", sourceHash=FOO)


def seen(system, actor, count=1):
    """What the actor has seen, once it is so much."""
    while True:
        found = system.ask(actor, ("seen",), 10)
        if len(found) >= count:
            return found


def test_an_actor_answers(system):
    echo = system.createActor("foo.acting.Echo", sourceHash=FOO)
    for message in ("hello", 0, None, "", [1, {"a": (2,)}], b"x" * 100_000):
        if message is not None:
            assert system.ask(echo, message, 10) == message


def test_constructor_gets_capabilities_and_requirements(system):
    actor = system.createActor("foo.acting.Teller", {"need": 1}, "named", FOO)
    address, name, (capabilities, requirements), _pid = system.ask(actor, ("who",), 10)
    assert address == actor and hash(address) == hash(actor)
    assert name == "named"
    assert capabilities["Here"] is True and requirements == {"need": 1}


def test_a_module_with_one_actor_names_it(system):
    assert system.ask(system.createActor("single.Only", sourceHash=FOO), "who", 10) == "only"


def test_creation_failures_have_their_exceptions(system):
    with pytest.raises(ImportError, match="no_such_module"):
        system.createActor("broken.Class", sourceHash=FOO)
    with pytest.raises(InvalidActorSpecification):
        system.createActor("foo.acting.Missing", sourceHash=FOO)
    with pytest.raises(InvalidActorSpecification):
        system.createActor("Unqualified", sourceHash=FOO)
    with pytest.raises(NoCompatibleSystemForActor, match="No compatible ActorSystem"):
        system.createActor("foo.acting.Elsewhere", sourceHash=FOO)
    with pytest.raises(ActorStartFailure, match="cannot be built") as failure:
        system.createActor("foo.acting.Raises", sourceHash=FOO)
    assert "Traceback" in failure.value.traceback


def test_a_failing_handler_is_called_twice_then_the_message_returns(system):
    actor = teller(system)
    poison = system.ask(actor, "count", 10)
    assert isinstance(poison, PoisonMessage)
    assert poison.poisonMessage == "count" and "attempt 2" in poison.details
    assert system.ask(actor, ("calls",), 10) == 2


def test_wakeups_come_oldest_first(system):
    actor = teller(system)
    system.tell(actor, ("wake", 0.15, 0.05, 0.1, 0.01))
    system.tell(actor, ("burn", 0.3))
    expected = [("wakeup", period, True) for period in (0.01, 0.05, 0.1, 0.15)]
    assert seen(system, actor, 4) == expected


def test_children_get_what_was_sent_before_they_stood(system):
    actor = teller(system)
    child = system.ask(actor, ("child", "foo.acting.Teller", 1, 2, 3), 10)
    assert seen(system, child, 3) == [1, 2, 3]
    assert system.ask(child, ("who",), 10)[0] == child


def test_a_failed_child_is_reported_once_and_its_messages_return(system):
    actor = teller(system)
    child = system.ask(actor, ("child", "foo.acting.Raises", "first"), 10)
    found = seen(system, actor, 2)
    assert ("exited", child) in found and ("poison", "first", "Child Aborted") in found


def test_a_global_name_gives_the_same_actor(system):
    actor = teller(system)
    one = system.ask(actor, ("named", "foo.acting.Echo", "shared"), 10)
    two = system.ask(actor, ("named", "no.such.Class", "shared"), 10)
    assert one == two and system.ask(one, "x", 10) == "x"


def test_exit_is_recursive_and_waits_for_children(node, system):
    parent = system.createActor("foo.acting.Parent", sourceHash=FOO)
    child = system.ask(parent, "grow", 10)
    system.tell(parent, ActorExitRequest())
    actor = node.actors[parent._key]
    node.until(lambda: actor.ended and "child has ended True" in actor.output)
    node.until(lambda: "child is asked to end" in node.actors[child._key].output)
    assert system.ask(parent, "anyone", 10) is None


def test_a_message_that_is_none_does_not_end_the_wait_for_children(node, system):
    parent = teller(system)
    child = system.ask(parent, ("child", "foo.acting.Teller", ("burn", 0.5)), 10)
    actor = node.actors[parent._key]
    system.tell(parent, ActorExitRequest())
    for text in (b'{"system":"nonsense"}', b"[]", b"\xff"):
        system._core.endpoint._send(parent._key, text, wire.JSON, 0, 0)
    node.until(lambda: actor.ended)
    assert node.actors[child._key].ended
    assert actor.output.count("was refused") == 3


def test_a_non_recursive_exit_leaves_the_children(node, system):
    parent = teller(system)
    child = system.ask(parent, ("child_class",), 10)
    system.tell(parent, ActorExitRequest(recursive=False))
    node.until(lambda: node.actors[parent._key].ended)
    assert system.ask(child, "still here", 10) == "still here"


def test_a_dying_child_is_reported(system):
    actor = teller(system)
    child = system.ask(actor, ("child", "foo.acting.Teller", ("die", 3)), 10)
    assert seen(system, actor) == [("exited", child)]


def test_dead_letters_reach_their_handler(system):
    actor, other = teller(system), teller(system)
    assert system.ask(actor, ("dead",), 10) == "handling"
    child = system.ask(other, ("child", "foo.acting.Teller", ("die", 0)), 10)
    seen(system, other)
    system.tell(other, ("send", child, "late"))
    assert seen(system, actor) == [("dead", child, "late")]


def test_an_unpicklable_message_comes_back_to_its_sender(system):
    actor = teller(system)
    system.tell(actor, ("lambda",))
    ((kind, _message, details),) = seen(system, actor)
    assert kind == "poison" and "Traceback" in details


def test_classes_of_the_same_source_travel(system):
    one, two = teller(system), teller(system)
    system.tell(one, ("thing", two, 5))
    assert seen(system, two) == [("thing", 5)]


def test_classes_of_another_source_are_refused_and_named(system):
    one = teller(system)
    other = system.createActor("threaded.Threaded", sourceHash=BAR)
    system.tell(one, ("thing", other, 5))
    ((kind, _message, details),) = seen(system, one)
    assert kind == "poison" and "foo.things.Thing" in details
    assert system.ask(other, [1], 10) == [1]


def test_a_class_of_a_source_comes_to_a_client_as_poison(system):
    actor = teller(system)
    client = system._core.endpoint.own
    from thespian.system.address import restore_address

    answer = system.ask(actor, ("thing", restore_address(client), 5), 10)
    assert isinstance(answer, PoisonMessage) and "foo.things.Thing" in answer.details


def test_super_calls_each_inherited_handler_once(system):
    actor = system.createActor("foo.acting.Dispatching", sourceHash=FOO)
    assert system.ask(actor, "text", 10) == ["own", "base", "object"]
    assert system.ask(actor, 5, 10) == ["own", "base", "object"]


def test_a_watched_descriptor_wakes_the_actor(system):
    assert system.ask(teller(system), ("watch",), 10) == ("ready", True)


def test_output_goes_to_the_node(node, system):
    actor = teller(system)
    assert system.ask(actor, ("print", "to the log"), 10) == "printed"
    node.until(lambda: "to the log\n" in node.actors[actor._key].output)


def test_a_fork_inside_a_handler_does_no_harm(system):
    actor = teller(system)
    assert system.ask(actor, ("fork",), 10) == "forked"
    assert system.ask(actor, ("calls",), 10) == 0


def test_messages_stay_in_order_through_a_flood(system):
    one, two = teller(system), teller(system)
    assert system.ask(one, ("flood", two, 20_000), 30) == "flooded"
    assert seen(system, two, 20_000) == list(range(20_000))


def test_a_flood_to_oneself_is_handled_in_order(system):
    assert system.ask(teller(system), ("flood_self", 20_000), 30) is True


def test_two_actors_that_flood_each_other_both_finish(system):
    one, two = teller(system), teller(system)
    system.tell(one, ("flood", two, 3000, 4000))
    system.tell(two, ("flood", one, 3000, 4000))
    assert system.listen(20) == "flooded" and system.listen(20) == "flooded"
    for actor in (one, two):
        while len(system.ask(actor, ("numbers",), 10)) < 3000:
            continue
        assert system.ask(actor, ("numbers",), 10) == list(range(3000))


def test_what_a_long_handler_sends_leaves_before_it_ends(system):
    actor = teller(system)
    system.tell(actor, ("slow", 100, 5))
    got = [system.listen(2) for _ in range(100)]
    assert got == list(range(100))


def test_large_messages_pass_both_ways(system):
    echo = system.createActor("foo.acting.Echo", sourceHash=FOO)
    message = b"0123456789abcdef" * (512 << 10)
    for _ in range(3):
        assert system.ask(echo, message, 30) == message
        assert system.ask(echo, "and a small one", 30) == "and a small one"


def test_an_actor_that_leaves_has_no_more_children(node, system):
    parent = system.createActor("foo.acting.Restarting", sourceHash=FOO)
    child = system.ask(parent, "grow", 10)
    system.tell(parent, ActorExitRequest())
    node.until(lambda: node.actors[parent._key].ended and node.actors[child._key].ended)
    assert [actor.parent for actor in node.actors.values()].count(parent._key) == 1
