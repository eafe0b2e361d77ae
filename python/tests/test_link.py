"""Framing, window and credit over a socket pair."""

import socket
import threading
import time

import pytest

from thespian.system import flow, link, wire


def frame(payload, sequence=1, kind=wire.MESSAGE_KIND):
    prefix = wire.prefix(0, wire.PICKLE, 0, b"a" * 16, b"b" * 16, 1)
    prefix = prefix[:1] + bytes([kind]) + prefix[2:]
    size = wire.HEADER_BYTES - 4 + len(payload)
    return wire.MESSAGE.pack(size, prefix, sequence, wire.NO_SOURCE, wire.NO_TRACE) + payload


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    controls = []
    made = link.Link(near, lambda header, payload: controls.append((header[2], bytes(payload))))
    made.controls = controls
    yield made, far
    near.close()
    far.close()


def taken(made, count):
    """The payloads of the next frames."""
    found = []
    while len(found) < count:
        got = made.take()
        if got is not None:
            found.append(bytes(got[1]))
            made.handled(got[2])
        elif made.wait(5):
            made.receive()
    return found


@pytest.mark.parametrize("step", [1, 7, 112, 5000, 400_000])
def test_frames_are_cut_wherever_the_bytes_are_split(pair, step):
    made, far = pair
    payloads = [b"x" * size for size in (0, 1, 1000, 0, 3000)]
    if step >= 5000:
        payloads += [b"y" * 300_000, b"z", b"w" * 900_000, b"v"]
    data = b"".join(frame(payload) for payload in payloads)

    def write():
        for at in range(0, len(data), step):
            far.sendall(data[at : at + step])

    writer = threading.Thread(target=write)
    writer.start()
    assert taken(made, len(payloads)) == payloads
    writer.join()


def test_control_frames_pass_between_messages(pair):
    made, far = pair
    far.sendall(frame(b"1") + frame(b"{}", kind=wire.NOTICE) + frame(b"2"))
    assert taken(made, 2) == [b"1", b"2"]
    assert made.controls == [(wire.NOTICE, b"{}")]


def test_handled_bytes_are_reported_at_half_a_window(pair):
    made, far = pair
    made.handled(flow.WINDOW_BYTES // 2 - 1)
    made.handled(1)
    header = wire.HEADER.unpack(far.recv(wire.HEADER_BYTES))
    assert header[wire.KIND] == wire.WINDOW_KIND
    assert wire.WINDOW.unpack(far.recv(8)) == (flow.WINDOW_BYTES // 2,)


def test_a_full_socket_is_read_while_it_is_written(pair):
    made, far = pair
    count = 200
    payload = b"p" * 50_000

    def other_end():
        # Writes everything before it reads anything.
        for n in range(count):
            far.sendall(frame(payload, n))
        seen = 0
        while seen < count * len(frame(payload)):
            seen += len(far.recv(1 << 20))

    other = threading.Thread(target=other_end)
    other.start()
    for n in range(count):
        made.queue(frame(payload, n))
    made.flush()
    other.join(10)
    assert not other.is_alive()
    assert len(made.inbox) + len(taken(made, count - len(made.inbox))) == count


def test_a_wait_for_credit_ends_with_the_credit(pair):
    made, far = pair
    lane = made.lanes.open(b"t" * 16, b"a" * 16, 1)
    lane.messages = flow.CREDIT_MESSAGES
    blocked = []

    def give():
        far.sendall(frame(b"meanwhile"))
        payload = wire.CREDIT.pack(wire.ACTOR, b"t" * 16, 2048, 0)
        far.sendall(wire.control_frame(wire.CREDIT_KIND, 0, payload, wire.RAW))

    def on_blocked(full):
        blocked.append(full)
        give()

    made._on_control = lambda _header, payload: made.lanes.credit(payload)
    assert made.await_credit(lane, on_blocked) is True
    assert blocked == [False] and lane.messages == 2048
    assert taken(made, 1) == [b"meanwhile"]


def test_a_wait_after_one_that_was_given_up_is_told_at_once(pair):
    made, far = pair
    lane = made.lanes.open(b"t" * 16, b"a" * 16, 1)
    lane.messages = flow.CREDIT_MESSAGES
    took = []

    def on_blocked(_full):
        far.sendall(frame(b"{}", kind=wire.NOTICE))

    def given_up():
        return len(made.controls) > len(took)

    for _ in range(2):
        before = time.monotonic()
        assert made.await_credit(lane, on_blocked, given_up) is False
        took.append(time.monotonic() - before)
    assert took[1] < flow.BLOCKED_AFTER_S <= took[0] and lane.stuck
    lane.give_back(1, 0)
    assert not lane.stuck


def test_a_closed_connection_is_told(pair):
    made, far = pair
    far.sendall(frame(b"last"))
    far.close()
    assert taken(made, 1) == [b"last"]
    with pytest.raises(link.Closed):
        made.receive()


def test_forgotten_targets_keep_ascending_numbers(monkeypatch):
    monkeypatch.setattr(flow, "LANES_MAX", 8)
    lanes = flow.Lanes()
    for n in range(8):
        lanes.open(bytes([n]) * 16, b"a" * 16, 1).sequence = n + 1
    lanes.open(b"x" * 16, b"a" * 16, 1)
    assert lanes.get(b"\0" * 16) is None
    assert lanes.open(b"\0" * 16, b"a" * 16, 1).sequence == 2


def test_a_full_inbox_reports_nothing_more(pair, monkeypatch):
    made, far = pair
    monkeypatch.setattr(flow, "INBOX_BYTES_MAX", 1000)
    size = len(frame(b"x" * 388))
    far.sendall(frame(b"x" * 388) * 4)
    made.wait(5)
    made.pump()
    assert made.owed == 2 * size and made.inbox_bytes == 4 * size
    assert [made.take()[2] for _ in range(4)] == [0, 0, size, size]
    assert made.inbox_bytes == 0
