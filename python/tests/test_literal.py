"""Who sends literals is answered with literals."""

import ast
import collections
import decimal
import enum
import pickle

import pytest
from conftest import FOO

from thespian.system import address, literal, trust, wire


class Colour(enum.IntEnum):
    RED = 1


class Silent:
    def __repr__(self):
        raise ValueError("no")


class Shown:
    def __repr__(self):
        return "<shown 'é' \ud800>"


VALUES = (
    None,
    True,
    -7,
    1.5,
    1 - 2j,
    'it\'s "quoted" \n \ud800 é',
    b"\x00\xff",
    (),
    (1,),
    [1, [2.0, {3}]],
    {"a": {b"b": (None,)}, 2: []},
)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_built_in_values_travel_as_they_are(value):
    text, is_literal = literal.encode(value)
    assert is_literal and ast.literal_eval(text.decode()) == value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def circle():
    value = []
    value.append(value)
    return value


OTHERS = (
    float("nan"),
    [float("inf")],
    set(),
    frozenset((1,)),
    Colour.RED,
    decimal.Decimal("1.5"),
    collections.OrderedDict(a=1),
    {"a": Shown()},
    nested(60),
    circle(),
    range(3),
)


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
def test_other_values_travel_as_what_they_look_like(value):
    text, is_literal = literal.encode(value)
    assert not is_literal and ast.literal_eval(text.decode()) == repr(value)


def test_a_repr_that_raises_is_told():
    text, is_literal = literal.encode(Silent())
    assert not is_literal and "Silent whose repr raises ValueError" in text.decode()


def test_the_address_of_a_literal_client_stays_known_where_it_is_passed_on():
    plain = address.restore_address(bytes(range(16)))
    known = address.restore_literal(plain._key)
    assert known == plain and hash(known) == hash(plain) and str(known) == str(plain)
    again = pickle.loads(pickle.dumps([known]))[0]
    assert type(again) is address.LiteralAddress and again == plain
    assert type(trust.Rule().loads(pickle.dumps(known))) is address.LiteralAddress


def test_an_actor_answers_a_literal_with_a_literal(node, system):
    echo = system.createActor("foo.acting.Echo", sourceHash=FOO)
    endpoint = system._core.endpoint
    seen = []
    forward = node.forward
    node.forward = lambda connection, frame: (seen.append(frame), forward(connection, frame))

    def tell(text):
        prefix = wire.prefix(0, wire.LITERAL, 0, endpoint.own, echo._key, endpoint.incarnation)
        size = wire.HEADER_BYTES - 4 + len(text)
        frame = wire.MESSAGE.pack(size, prefix, 1, wire.NO_SOURCE, wire.NO_TRACE) + text
        node.call(lambda: node.deliver(node.actors[echo._key].connection, frame))
        return system.listen(10), wire.HEADER.unpack_from(seen[-1])

    message, header = tell(b"[1, {'a': (2,)}]")
    assert message == [1, {"a": (2,)}]
    assert header[wire.PAYLOAD_KIND] == wire.LITERAL and header[wire.FLAGS] == 0
    message, header = tell(b"1e999")
    assert message == "inf"
    assert header[wire.PAYLOAD_KIND] == wire.LITERAL and header[wire.FLAGS] == wire.NO_LITERAL
