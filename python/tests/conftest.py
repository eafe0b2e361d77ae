"""Fixtures: a node, a folder of sources, a client."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake_node import FakeNode

from thespian.actors import ActorSystem

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sources")
FOO, BAR = "ab" * 32, "cd" * 32


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A running node with the sources ``foo`` and ``bar``."""
    fake = FakeNode(tmp_path)
    fake.sources = {
        FOO: os.path.join(SOURCES, "foo"),
        BAR: os.path.join(SOURCES, "bar"),
    }
    fake.start()
    monkeypatch.setenv("DIRECTOR_SOCKET", fake.path)
    yield fake
    fake.stop()


@pytest.fixture
def system(node):
    """A client of the node."""
    client = ActorSystem("multiprocTCPBase", transientUnique=True)
    yield client
    client._core.endpoint.close()
