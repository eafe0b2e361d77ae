"""The cases that are commands run to their end: start, list, tlsinfo, gensrc, 200 MB."""

import json
import time
from pathlib import Path
from typing import Callable, Dict, Iterator

from figures import DIRECTOR, THESPIAN, Figure, Samples
from places import Place, Run
from sides import Bench

MB = 1_000_000
_MODULE = """from thespian.actors import ActorTypeDispatcher


class Actor%d(ActorTypeDispatcher):
"""
_METHOD = """    def receiveMsg_t%d(self, message, sender):
        self.send(sender, message + %d)
"""


def start(bench: Bench) -> Iterator[Figure]:
    started = Figure("start to a successful list", "ms", {}, target=5)
    listed = Figure("list", "ms", {}, target=20)
    stopped = Figure("shutdown", "ms", {})
    with bench.places() as places:
        for _ in range(bench.times(10, 3)):
            for name, place in places.items():
                begun = time.perf_counter()
                place.start()
                _put(started, name, time.perf_counter() - begun)
                for _ in range(5):
                    _put(listed, name, place.run("list").seconds)
                _put(stopped, name, place.run("shutdown").seconds)
    yield from (started, listed, stopped)


def validate(bench: Bench) -> Iterator[Figure]:
    for size, label, target in ((1, "1", None), (9.9, "9.9", None), (50, "50", 20)):
        name = "tlsinfo of %s MB" % label
        figure, peak = Figure(name, "ms", {}, target=target), Figure(name + ", peak", "MiB", {})
        with bench.places() as places:
            packages = {}
            for name, place in places.items():
                # Thespian reads no package of its own default format beyond 10,000,000 bytes.
                words = {"fmt": "ViceroyFMT2"} if name == THESPIAN and size > 9.9 else {}
                packages[name] = place.package(payload_bytes=int(size * MB) - 30_000, **words)
            for _ in range(bench.times(7, 3)):
                for name, place in places.items():
                    run = place.run("tlsinfo", str(packages[name]))
                    _put_run(figure, peak, name, run)
        yield from (figure, peak)


def gensrc(bench: Bench) -> Iterator[Figure]:
    figure, peak = Figure("gensrc of 200 files", "ms", {}), Figure("gensrc, peak", "MiB", {})
    with bench.places() as places:
        for place in places.values():
            _write_modules(place.folder / "many" / "bulk")
        for number in range(bench.times(7, 3)):
            for name, place in places.items():
                run = place.pack("bulk", place.folder / "many", str(number), "bulk/*.py")
                _put_run(figure, peak, name, run)
    yield from (figure, peak)


def large(bench: Bench) -> Iterator[Figure]:
    """Director alone: Thespian loads nothing of that size."""
    if DIRECTOR not in bench.names:
        return
    steps = {
        name: Figure("200 MB: " + name, "s", {})
        for name in ("gensrc", "tlsinfo", "load to first reply")
    }
    memory = Figure("200 MB: peak of the agent while it loads", "MiB", {})
    with bench.workers(DIRECTOR) as workers:
        worker = workers[DIRECTOR]
        place = worker.place
        for number in range(100, 100 + bench.times(3, 1)):
            sources = place.sources(number, 200 * MB)
            packed = place.pack("bench", sources, str(number), "benchapp/*")
            path = place.folder / ("bench-%d.tls" % number)
            _put(steps["gensrc"], DIRECTOR, packed.seconds)
            _put(steps["tlsinfo"], DIRECTOR, place.run("tlsinfo", str(path)).seconds)
            loaded = place.run("load", str(path)).seconds
            waited = worker.do("answered", version=str(number))["values"][0]
            _put(steps["load to first reply"], DIRECTOR, loaded + waited / 1e3)
            path.unlink()
        memory.sides[DIRECTOR] = Samples([_peak_mib(place)])
    yield from (*steps.values(), memory)


def _write_modules(package: Path) -> None:
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for number in range(199):
        methods = "".join(_METHOD % (index, index) for index in range(10))
        (package / ("m%03d.py" % number)).write_text(_MODULE % number + methods)


def _peak_mib(place: Place) -> float:
    """The agent's largest resident set since it started."""
    pid = json.loads((place.folder / "state" / "node.pid").read_text())["pid"]
    for line in Path("/proc/%d/status" % pid).read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no VmHWM of process %d" % pid)


def _put(figure: Figure, side: str, seconds: float) -> None:
    value = seconds if figure.unit == "s" else seconds * 1e3
    figure.sides.setdefault(side, Samples()).values.append(value)


def _put_run(figure: Figure, peak: Figure, side: str, run: Run) -> None:
    _put(figure, side, run.seconds)
    peak.sides.setdefault(side, Samples()).values.append(run.peak_mib)


CASES: Dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "start": start,
    "validate": validate,
    "gensrc": gensrc,
    "large": large,
}
