"""Capabilities and sources of applications, as clients and actors ask their node for them."""

import hashlib
import io

import pytest
from conftest import FOO

from thespian.actors import ActorSystemFailure, ValidatedSource, ValidateSource
from thespian.system import control, reading, runtime, sourcefile, trust, wire
from thespian.system.address import allot

BOGUS = "this is no hash"


def test_a_capability_goes_to_the_node_as_literals_and_is_shown_here(node, system):
    system.updateCapability("Colors", ["Red", ("Blue", 1)])
    system.updateCapability("Here")
    told = [(ask["name"], ask["value"]) for ask in node.applications]
    assert told == [("'Colors'", "['Red', ('Blue', 1)]"), ("'Here'", None)]
    assert system.capabilities["Colors"] == ["Red", ("Blue", 1)]
    assert "Here" not in system.capabilities


def test_a_capability_that_is_no_literal_is_refused_here(node, system):
    with pytest.raises(ValueError):
        system.updateCapability("Thing", object())
    assert node.applications == []


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 3 << 20])
def test_a_source_arrives_whole_whatever_its_size(node, system, tmp_path, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    path = tmp_path / "some.zip"
    path.write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert system.loadActorSource(str(path)) == expected
    assert node.applications[-1]["info"] == str(path)
    file = io.BytesIO(data)
    assert system.loadActorSource(file) == expected
    assert file.closed


def test_a_source_that_cannot_be_opened_raises_as_open_does(system):
    with pytest.raises(OSError):
        system.loadActorSource("no such file here")
    with pytest.raises(TypeError):
        system.loadActorSource(io.StringIO("text"))


def test_an_unload_of_what_is_no_hash_is_ignored(node, system):
    system.unloadActorSource(BOGUS)
    assert node.applications == []
    system.unloadActorSource(FOO)
    assert node.applications == [{"op": "application", "ask": "unload_source", "hash": FOO}]


def test_what_the_node_refuses_is_an_error_with_its_hint(system, monkeypatch):
    refused = {"answer": "failed", "message": "not you", "hint": "ask root"}
    monkeypatch.setattr(system._core.endpoint, "upload", lambda *_args, **_fields: refused)
    with pytest.raises(ActorSystemFailure, match="not you .ask root."):
        system.updateCapability("x", 1)


def test_the_authority_answers_the_node_with_a_document_and_the_zip():
    for zipped, accepted in ((b"PK", True), (None, False), (b"", True)):
        payload = runtime._to_node(ValidatedSource("ab", zipped, "info"))
        length = wire.ENVELOPE.unpack_from(payload)[0]
        document = control.decode(payload[4 : 4 + length])
        expected = {"delivery": "validated_source", "hash": "ab", "info": "info"}
        assert document == dict(expected, accepted=accepted)
        assert payload[4 + length :] == (zipped or b"")
    assert runtime._to_node("anything else") == b""


def header(sender, own):
    prefix = wire.prefix(wire.SYSTEM, wire.JSON, 0, sender, own, 7)
    return wire.HEADER.unpack(wire.MESSAGE.pack(108, prefix, 1, wire.NO_SOURCE, wire.NO_TRACE))


def test_only_the_node_asks_for_a_validation_or_changes_capabilities(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"bytes")
    own, node, other = (allot(7, number)._key for number in (5, 1, 6))
    reader = reading.Reader(own, 7, wire.NO_SOURCE, trust.Rule())
    asking = {"system": "validate_source", "hash": "ab", "path": str(path), "info": "a.zip"}
    message = reader.read(header(node, own), control.encode(asking))
    assert message == ValidateSource("ab", b"bytes", "a.zip")
    assert (message.sourceData, message.sourceInfo) == (b"bytes", "a.zip")
    changed = {"system": "capabilities", "capabilities": "{}"}
    assert reader.read(header(node, own), control.encode(changed)).capabilities == "{}"
    for document in (asking, changed):
        with pytest.raises(ValueError):
            reader.read(header(other, own), control.encode(document))


def test_a_file_object_without_a_name_is_told_by_its_text():
    data, info = sourcefile.read(io.BytesIO(b"x"))
    assert data == b"x" and "BytesIO" in info
