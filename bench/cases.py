"""The cases that a worker program beside each node measures, and how a pair takes turns."""

from typing import Callable, Dict, Iterator, Optional

from figures import DIRECTOR, Figure, Samples
from sides import Bench, add

KIB, MIB = 1 << 10, 1 << 20


def in_turn(
    bench: Bench, figure: Figure, rounds: int, method: str, own: Optional[dict] = None, **words
) -> Figure:
    """Lets each side do the same in turn; every figure has fresh nodes."""
    with bench.workers() as workers:
        for _ in range(rounds):
            for name, worker in workers.items():
                extra = (own or {}).get(name, {})
                samples = figure.sides.setdefault(name, Samples())
                add(samples, worker.do(method, **dict(words, **extra)))
    return figure


def ask(bench: Bench) -> Iterator[Figure]:
    count, rounds = bench.times(1000, 200), bench.times(5, 2)
    figure = Figure("ask, actor address", "µs", {}, target=5)
    yield in_turn(bench, figure, rounds, "ask", count=count)
    figure = Figure("ask, role (Thespian: actor address)", "µs", {}, target=3.5)
    yield in_turn(bench, figure, rounds, "ask", own={DIRECTOR: {"role": True}}, count=count)
    for size, label in ((KIB, "1 KiB"), (64 * KIB, "64 KiB"), (MIB, "1 MiB")):
        figure = Figure("ask echoing %s" % label, "µs", {})
        yield in_turn(bench, figure, rounds, "ask", count=bench.times(60, 20), size=size)


def tell(bench: Bench) -> Iterator[Figure]:
    rounds = bench.times(3, 1)
    for count, target, limit in ((10_000, 500, 60), (100_000, 500, 60)):
        figure = Figure(f"{count:,} sends in one handler, 16 B", "msg/s", {}, True, target)
        order = {"count": count, "size": 16, "limit": bench.times(limit, 15)}
        yield in_turn(bench, figure, 1 if count > 10_000 else 2, "burst", **order)
    for count, size, label, target in (
        (10_000, 16, "16 B", 30),
        (10_000, KIB, "1 KiB", None),
        (1_000, 64 * KIB, "64 KiB", 8),
        (100, MIB, "1 MiB", None),
    ):
        figure = Figure("windows of 10, %s" % label, "msg/s", {}, True, target)
        count = bench.times(count, count // 5)
        order = {"count": count, "size": size, "window": 10, "limit": 60}
        yield in_turn(bench, figure, rounds, "windows", **order)


def create(bench: Bench) -> Iterator[Figure]:
    figure = Figure("createActor and first reply", "ms", {}, target=5)
    yield in_turn(bench, figure, bench.times(5, 2), "create", count=bench.times(20, 5))


def memory(bench: Bench) -> Iterator[Figure]:
    """One side after the other: two that run at once would share pages of the interpreter."""
    figure = Figure("PSS of an actor's process, 50 alive", "MiB", {})
    growth = Figure("growth of all PSS per actor", "MiB", {})
    for name in bench.names:
        with bench.workers(name) as workers:
            result = workers[name].do("memory", count=50)
            growth.sides[name] = Samples([result.pop("growth")])
            figure.sides[name] = samples = Samples()
            add(samples, result)
    yield from (figure, growth)


def fan(bench: Bench) -> Iterator[Figure]:
    figure = Figure("fan-out to 50 and all replies", "ms", {}, target=6)
    order = {"children": 50, "repeat": bench.times(50, 10)}
    yield in_turn(bench, figure, bench.times(3, 1), "fan", **order)


def load(bench: Bench) -> Iterator[Figure]:
    command = Figure("small load to first reply, command", "ms", {}, target=3)
    inside = Figure("small load to first reply, in a client", "ms", {}, target=3)
    with bench.workers(loaded=True) as workers:
        for _ in range(bench.times(10, 3)):
            for name, worker in workers.items():
                place = worker.place
                path, version = str(place.package()), place.version()
                run = place.run("load", path)
                waited = worker.do("answered", version=version)["values"][0]
                samples = command.sides.setdefault(name, Samples())
                samples.values.append(run.seconds * 1e3 + waited)
            for name, worker in workers.items():
                path, version = str(worker.place.package()), worker.place.version()
                result = worker.do("load", path=path, version=version)
                add(inside.sides.setdefault(name, Samples()), result)
    yield from (command, inside)


CASES: Dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "ask": ask,
    "tell": tell,
    "create": create,
    "memory": memory,
    "fan": fan,
    "load": load,
}
