"""What may be unpickled from elsewhere, and what may not."""

import collections
import datetime
import decimal
import fractions
import ipaddress
import os
import pathlib
import pickle
import uuid

import pytest

from thespian import runcommand
from thespian.actors import (
    ActorExitRequest,
    ChildActorExited,
    InvalidActorSourceHash,
    PoisonMessage,
    WakeupMessage,
)
from thespian.system import address, reading, trust, wire

HERE = address.allot(1, 2)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, (3 + 4j), b"x", None, True, ...]},
        {frozenset({1}), "x"},
        [bytearray(b"x"), range(3), slice(1, 2), int],
        datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.timedelta(1),
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        collections.OrderedDict(a=1),
        collections.Counter("abba"),
        collections.defaultdict(list, {1: [2]}),
        collections.deque([1, 2], 5),
        pathlib.PurePosixPath("/a/b"),
        pathlib.Path("/a/b"),
        ipaddress.ip_network("10.0.0.0/8"),
        HERE,
        address.restore_role("foo", "Main"),
        ActorExitRequest(False),
        ChildActorExited(HERE),
        WakeupMessage(datetime.timedelta(1), "x"),
        PoisonMessage("x", "y"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_built_in_data_passes(value):
    for protocol in (4, 5):
        assert trust.Rule().loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("error", [ValueError("x"), OSError(2, "no"), InvalidActorSourceHash("h")])
def test_exceptions_pass(error):
    back = trust.Rule().loads(pickle.dumps(error, 5))
    assert type(back) is type(error) and str(back) == str(error)


class Calls:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, getattr, __import__, open, pickle.loads, address.from_hex],
    ids=lambda function: function.__name__,
)
def test_functions_are_refused(function):
    with pytest.raises(trust.Refused) as refused:
        trust.Rule().loads(pickle.dumps(Calls(function, "x"), 5))
    assert function.__name__ in str(refused.value)


def test_dotted_names_do_not_lead_out_of_the_list():
    payload = b"\x80\x04\x8c\x08builtins\x8c\x0bint.__new__\x93."
    with pytest.raises(trust.Refused):
        trust.Rule().loads(payload)


def set_on_class(module, name, state):
    """A pickle that sets attributes of a class itself."""
    return (
        b"\x80\x04"
        + pickle.dumps(module, 4)[2:-1]
        + pickle.dumps(name, 4)[2:-1]
        + b"\x93N"
        + pickle.dumps(state, 4)[2:-1]
        + b"\x86b."
    )


def test_a_pickle_cannot_change_a_class():
    before = dict(vars(fractions.Fraction))
    for state in ({"__eq__": int}, {"fresh": 1}, {"__slots__": ()}):
        with pytest.raises(trust.Refused):
            trust.Rule().loads(set_on_class("fractions", "Fraction", state))
    assert dict(vars(fractions.Fraction)) == before
    function = address.restore_address
    trust.Rule().loads(
        set_on_class("thespian.system.address", "restore_address", {"__defaults__": (b"",)})
    )
    assert address.restore_address is function and function.__defaults__ is None


def test_the_operator_may_allow_more():
    payload = pickle.dumps(pytest.Item, 5)
    name = "%s.%s" % (pytest.Item.__module__, pytest.Item.__name__)
    for allowed in (name, pytest.Item.__module__ + ".*"):
        assert trust.Rule(trust.additions("a.b, " + allowed)).loads(payload) is pytest.Item
    with pytest.raises(trust.Refused):
        trust.Rule(["other.Name"]).loads(payload)


def test_own_classes_pass_from_the_same_source_on_another_node(tmp_path, monkeypatch):
    (tmp_path / "ownthings.py").write_text("class Own:\n    pass\n\ndef run():\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import ownthings

    rule = trust.Rule((), str(tmp_path))
    payload = pickle.dumps(ownthings.Own(), 5)
    assert isinstance(rule.loads(payload, same_source=True), ownthings.Own)
    with pytest.raises(trust.Refused):
        rule.loads(payload)
    for other in (ownthings.run, os.system, collections.abc.Mapping):
        with pytest.raises(trust.Refused):
            rule.loads(pickle.dumps(other, 5), same_source=True)


def header(source, incarnation=1, sender=None, kind=wire.PICKLE, flags=0):
    key = sender or address.allot(1, 50)._key
    return (108, 1, 3, flags, kind, 1, 0, 0, key, HERE._key, incarnation, 1, source, wire.NO_TRACE)


def test_only_the_same_source_on_the_same_node_is_read_freely():
    source = b"s" * 32
    reader = reading.Reader(HERE._key, 1, source, trust.Rule())
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    assert reader.read(header(source), payload) == "b"
    for other in (header(b"o" * 32), header(wire.NO_SOURCE), header(source, 2)):
        with pytest.raises(trust.Refused):
            reader.read(other, payload)


def test_an_envelope_of_another_source_does_not_lend_the_own_one():
    source = b"s" * 32
    reader = reading.Reader(HERE._key, 1, source, trust.Rule())
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    told = b'{"system":"poison_message","details":"why"}'
    inner = (108 + len(payload), *header(source)[1:])
    body = wire.envelope(told, inner, payload)
    forged = reader.read(header(b"o" * 32, kind=wire.ENVELOPE_PAYLOAD), body)
    assert "basename" in forged.poisonMessage and forged.details == "why"
    by_node = header(wire.NO_SOURCE, 1, address.allot(1, 1)._key, wire.ENVELOPE_PAYLOAD)
    assert reader.read(by_node, body).poisonMessage == "b"


def test_a_foreign_pickle_is_read_with_care_whatever_source_it_names():
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    for source in (b"s" * 32, wire.NO_SOURCE):
        reader = reading.Reader(HERE._key, 1, source, trust.Rule())
        assert reader.read(header(source), payload) == "b"
        with pytest.raises(trust.Refused, match="basename"):
            reader.read(header(source, flags=wire.FOREIGN | wire.ASK), payload)
        data = pickle.dumps({"built": "in"}, 5)
        assert reader.read(header(source, flags=wire.FOREIGN), data) == {"built": "in"}


def test_what_is_foreign_stays_foreign_inside_an_envelope():
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, trust.Rule())
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    told = b'{"system":"poison_message","details":"why"}'
    size = 108 + len(payload)
    node = address.allot(1, 1)._key
    for sender, outer, inner in (
        (None, wire.FOREIGN, 0),
        (None, 0, wire.FOREIGN),
        (node, 0, wire.FOREIGN),
    ):
        body = wire.envelope(told, (size, *header(wire.NO_SOURCE, flags=inner)[1:]), payload)
        head = header(wire.NO_SOURCE, sender=sender, kind=wire.ENVELOPE_PAYLOAD, flags=outer)
        assert "basename" in reader.read(head, body).poisonMessage


def own_thing(tmp_path, monkeypatch, name):
    """A class of a source in this folder, by the name of its module, and the source's rule."""
    (tmp_path / (name + ".py")).write_text("class Own:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(name).Own, trust.Rule((), str(tmp_path))


def test_another_node_sends_built_in_types_and_the_classes_of_the_same_source(
    tmp_path, monkeypatch
):
    own, rule = own_thing(tmp_path, monkeypatch, "remotethings")
    source, remote = b"s" * 32, wire.REMOTE
    reader = reading.Reader(HERE._key, 1, source, rule)
    assert isinstance(reader.read(header(source, 2, flags=remote), pickle.dumps(own(), 5)), own)
    data = pickle.dumps([1, HERE], 5)
    for other in (source, b"o" * 32, wire.NO_SOURCE):
        assert reader.read(header(other, flags=remote), data) == [1, HERE]
    for other in (b"o" * 32, wire.NO_SOURCE):
        with pytest.raises(trust.Refused, match="remotethings.Own"):
            reader.read(header(other, flags=remote), pickle.dumps(own(), 5))
    # It may say that it is this node and this source: it calls nothing here all the same.
    with pytest.raises(trust.Refused, match="basename"):
        payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
        reader.read(header(source, flags=remote), payload)


def test_a_clients_own_classes_do_not_pass_from_another_node(tmp_path, monkeypatch):
    own, rule = own_thing(tmp_path, monkeypatch, "clientthings")
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, rule)
    payload = pickle.dumps(own(), 5)
    assert isinstance(reader.read(header(wire.NO_SOURCE), payload), own)
    with pytest.raises(trust.Refused, match="clientthings.Own"):
        reader.read(header(wire.NO_SOURCE, flags=wire.REMOTE), payload)


def test_the_own_program_on_another_node_of_the_user_sends_all_that_it_has(tmp_path, monkeypatch):
    own, rule = own_thing(tmp_path, monkeypatch, "programthings")
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, rule)
    marked = wire.REMOTE | wire.PROGRAM
    payload = pickle.dumps(own(), 5)
    assert isinstance(reader.read(header(wire.NO_SOURCE, 2, flags=marked), payload), own)
    with pytest.raises(trust.Refused, match="programthings.Own"):
        reader.read(header(wire.NO_SOURCE, 2, flags=marked | wire.FOREIGN), payload)
    # An envelope says of what is in it no more than it may say of itself.
    told = b'{"system":"poison_message","details":"why"}'
    for outer, inner, passes in (
        (marked, 0, True),
        (marked, marked, True),
        (marked, wire.REMOTE, False),
        (marked, marked | wire.FOREIGN, False),
        (marked | wire.FOREIGN, marked, False),
        (wire.REMOTE, marked, False),
        (wire.REMOTE, wire.PROGRAM, False),
    ):
        frame = (108 + len(payload), *header(wire.NO_SOURCE, 2, flags=inner)[1:])
        body = wire.envelope(told, frame, payload)
        head = header(wire.NO_SOURCE, 2, kind=wire.ENVELOPE_PAYLOAD, flags=outer)
        found = reader.read(head, body).poisonMessage
        assert isinstance(found, own) == passes, (outer, inner)
        if not passes:
            assert "programthings.Own" in found


@pytest.mark.parametrize("flags", [0, wire.REMOTE, wire.FOREIGN])
def test_nobody_is_the_node_by_the_name_of_a_sender_inside_an_envelope(flags):
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, trust.Rule())
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    told = b'{"system":"poison_message","details":"why"}'
    for node in (wire.NOBODY, HERE._key, address.allot(1, 1)._key):
        # Two layers: the inner one is said to be the node's, and to hold what is this program's.
        inmost = (108 + len(payload), *header(wire.NO_SOURCE, flags=wire.PROGRAM)[1:])
        body = wire.envelope(told, inmost, payload)
        middle = header(b"o" * 32, 1, node, wire.ENVELOPE_PAYLOAD, wire.PROGRAM)
        middle = (108 + len(body), *middle[1:])
        body = wire.envelope(told, middle, body)
        other = address.allot(1, 77)._key
        for sender in (other, node) if flags == wire.REMOTE else (other,):
            head = header(b"o" * 32, 1, sender, wire.ENVELOPE_PAYLOAD, flags)
            found = reader.read(head, body).poisonMessage.poisonMessage
            assert "basename" in str(found), (sender, node)


def test_another_node_speaks_for_no_node_here():
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, trust.Rule())
    told = b'{"system":"capabilities","capabilities":"{}"}'
    head = header(wire.NO_SOURCE, 1, wire.NOBODY, wire.JSON, wire.REMOTE)
    with pytest.raises(ValueError, match="only the node"):
        reader.read(head, told)


def test_what_came_from_another_node_stays_so_inside_an_envelope():
    payload = pickle.dumps(Calls(os.path.basename, "/a/b"), 5)
    told = b'{"system":"poison_message","details":"why"}'
    node = address.allot(1, 1)._key
    for source in (b"s" * 32, wire.NO_SOURCE):
        reader = reading.Reader(HERE._key, 1, source, trust.Rule())
        for sender, outer, inner in ((None, 64, 0), (None, 0, 64), (node, 64, 0), (node, 0, 64)):
            frame = (108 + len(payload), *header(source, flags=inner)[1:])
            body = wire.envelope(told, frame, payload)
            head = header(source, sender=sender, kind=wire.ENVELOPE_PAYLOAD, flags=outer)
            assert "basename" in reader.read(head, body).poisonMessage


def test_a_stranger_on_another_node_is_both():
    source = b"s" * 32
    reader = reading.Reader(HERE._key, 1, source, trust.Rule())
    payload = pickle.dumps(ChildActorExited(HERE), 5)
    assert reader.read(header(b"o" * 32, flags=wire.REMOTE), payload) == ChildActorExited(HERE)
    with pytest.raises(trust.Refused, match="ChildActorExited"):
        reader.read(header(b"o" * 32, flags=wire.REMOTE | wire.FOREIGN), payload)


def test_a_module_that_the_operator_allows_lends_nothing_that_it_imported(tmp_path, monkeypatch):
    text = "import os\nfrom subprocess import Popen\n\nclass Own:\n    class Inner:\n        pass\n"
    (tmp_path / "allowedthings.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import allowedthings

    rule = trust.Rule(trust.additions("allowedthings.*"))
    for cls in (allowedthings.Own, allowedthings.Own.Inner):
        assert rule.loads(pickle.dumps(cls, 5)) is cls
    for name in ("os.system", "os", "Popen", "missing", "Own.missing"):
        with pytest.raises(trust.Refused):
            rule.find("allowedthings", name, False)


def test_literals_execute_nothing_and_are_bounded():
    reader = reading.Reader(HERE._key, 1, wire.NO_SOURCE, trust.Rule())
    head = header(wire.NO_SOURCE, kind=wire.LITERAL)
    assert reader.read(head, b"{'a': [1, (2.5, None)]}") == {"a": [1, (2.5, None)]}
    for text in (b"__import__('os')", b"open('/etc/passwd')", b"[x for x in (1,)]", b"1 .real"):
        with pytest.raises(ValueError):
            reader.read(head, text)
    for text in (
        b"[" * 100_000,
        b"-" * 100_000 + b"1",
        b"1+" * 100_000 + b"1j",
        b"\xff",
        b"9" * 6_000,
    ):
        with pytest.raises((ValueError, SyntaxError, MemoryError, RecursionError)):
            reader.read(head, text)
    with pytest.raises(ValueError, match="longer than"):
        reader.read(head, b"'" + b"x" * wire.LITERAL_BYTES_MAX + b"'")


def test_a_stranger_gives_no_commands_to_a_runner_of_commands():
    payload = pickle.dumps(runcommand.Command("id", []), 5)
    reader = reading.Reader(HERE._key, 1, b"s" * 32, trust.Rule())
    assert isinstance(reader.read(header(b"o" * 32), payload), runcommand.Command)
    for source in (wire.NO_SOURCE, b"o" * 32):
        with pytest.raises(trust.Refused, match="Command"):
            reader.read(header(source, flags=wire.FOREIGN), payload)


def test_a_stranger_speaks_for_no_part_of_the_actor_system():
    reader = reading.Reader(HERE._key, 1, b"s" * 32, trust.Rule())
    for message in (ChildActorExited(HERE), WakeupMessage(datetime.timedelta(1)), PoisonMessage(1)):
        payload = pickle.dumps(message, 5)
        assert reader.read(header(b"o" * 32), payload) == message
        with pytest.raises(trust.Refused):
            reader.read(header(wire.NO_SOURCE, flags=wire.FOREIGN), payload)


def test_only_the_node_tells_of_a_childs_end():
    reader = reading.Reader(HERE._key, 1, b"s" * 32, trust.Rule())
    told = b'{"system":"child_actor_exited","child":"%s"}' % HERE._key.hex().encode()
    node = address.allot(1, 1)._key
    found = reader.read(header(wire.NO_SOURCE, sender=node, kind=wire.JSON), told)
    assert found == ChildActorExited(HERE)
    with pytest.raises(ValueError, match="only the node"):
        reader.read(header(wire.NO_SOURCE, kind=wire.JSON), told)
    exit_request = b'{"system":"actor_exit_request","recursive":false}'
    read = reader.read(header(wire.NO_SOURCE, kind=wire.JSON), exit_request)
    assert read == ActorExitRequest(False)
