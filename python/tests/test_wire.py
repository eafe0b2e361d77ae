"""Bytes of frames against the golden files of the protocol."""

import json
import os

import pytest

from thespian.system import address, program, wire

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../protocol/tests/golden")


def golden(name):
    with open(os.path.join(GOLDEN, name)) as file:
        return [bytes.fromhex(line) for line in file.read().split()]


def sample():
    role = address.restore_role("foo", "MainFoo")
    sender = address.allot(0x01020304, 5)
    prefix = wire.prefix(wire.ASK, wire.PICKLE, 10_000, sender._key, role._key, 6)
    return wire.MESSAGE.pack(wire.HEADER_BYTES - 4 + 3, prefix, 9, b"\7" * 32, b"\10" * 16)


def test_a_message_header_is_golden():
    assert [sample()] == golden("header-message.hex")


def test_credit_and_window_are_golden():
    credit, window, _path = golden("flow-frames.hex")
    assert wire.CREDIT.pack(1, b"\3" * 16, 2048, 1 << 33) == credit
    assert wire.CREDIT.unpack(credit) == (1, b"\3" * 16, 2048, 1 << 33)
    assert wire.WINDOW.pack(65_536) == window


def test_an_envelope_opens_to_what_was_put_in():
    header = wire.HEADER.unpack(sample())
    payload = wire.envelope(b"{}", header, b"abc")
    assert wire.open_envelope(payload) == (b"{}", header, b"abc")
    with pytest.raises(wire.ProtocolError):
        wire.open_envelope(payload[:-1])


def test_frames_of_impossible_length_or_version_are_refused():
    header = list(wire.HEADER.unpack(sample()))
    for place, value in ((wire.LENGTH, 3), (wire.LENGTH, 0xFFFFFFFF), (wire.VERSION, 9)):
        wrong = list(header)
        wrong[place] = value
        with pytest.raises(wire.ProtocolError):
            wire.check(tuple(wrong))


def test_a_program_has_the_id_that_nodes_compute():
    with open(os.path.join(GOLDEN, "worker-spec-client.json")) as file:
        client = json.load(file)["origin"]["client"]
    with open(os.path.join(GOLDEN, "program-id.txt")) as file:
        assert program.identity(client) == file.read().strip()
