"""The fixtures of the original's test suite, for one base: laid out as its ``conftest.py``.

The suite's files star-import the fixtures from ``thespian.test``, so they are replaced there,
before pytest collects anything. Not here: fetching and laying out the suite (``run``).
"""

import os
import time

import pytest

import thespian.test as suite
from thespian.actors import ActorSystem

BASE = os.environ.get("DIRECTOR_UPSTREAM_BASE", "multiprocTCPBase")
JOIN_S = 0.25
CAPABILITIES = {
    "Foo Allowed": True,
    "Cows Allowed": True,
    "Dogs Allowed": True,
    "dog": "food",
}


def pytest_addoption(parser):
    parser.addoption("--unstable", action="store_true", default=False)


def _system(capabilities, port, leader):
    if BASE.startswith("multiproc"):
        capabilities["Admin Port"] = port
        if leader:
            capabilities["Convention Address.IPv4"] = "", leader
    logs = suite.simpleActorTestLogging() if BASE.startswith("multiproc") else False
    system = ActorSystem(BASE, capabilities, logDefs=logs, transientUnique=True)
    system.base_name = BASE
    system.port_num = port if BASE.startswith("multiproc") else None
    system.txonly = False
    return system


@pytest.fixture(params=[BASE])
def asys(request):
    port = suite.get_free_admin_port()
    system = _system(dict(CAPABILITIES), port, port)
    request.addfinalizer(lambda: system.shutdown())
    return system


def similar_asys(asys, in_convention=True, start_wait=True, capabilities=None):
    leader = asys.port_num if in_convention else None
    system = _system(capabilities or {}, suite.get_free_admin_port(), leader)
    if in_convention and start_wait:
        # What the suite grants two systems to get together.
        time.sleep(JOIN_S)
    return system


@pytest.fixture
def asys2(request, asys):
    second = similar_asys(asys, in_convention=False)
    request.addfinalizer(lambda: second.shutdown())
    return second


@pytest.fixture
def asys_pair(request, asys):
    second = similar_asys(asys, in_convention=True)
    request.addfinalizer(lambda: second.shutdown())
    return asys, second


for replacement in (asys, similar_asys, asys2, asys_pair):
    name = getattr(replacement, "__name__", None) or replacement.name
    setattr(suite, name, replacement)
