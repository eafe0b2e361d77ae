"""The cases that take a convention: from a load on the leader to a reply from another member, and
what it costs the leader when many members pull one package."""

import time
from pathlib import Path
from typing import Callable, Dict, Iterator

from conventions import Convention, conventions
from figures import DIRECTOR, THESPIAN, Figure, Samples
from places import CommandFailed
from sides import Bench, add
from traffic import sent_from

MB = 1_000_000
PULLERS = 20
HOLD_LIMIT_S = 120.0


def members(bench: Bench) -> Iterator[Figure]:
    """An actor that only one of two members may run; the members have no package before."""
    with conventions(bench, 2) as sides:
        for convention in sides.values():
            _switched(convention, 0)
        for size, label, target in ((0, "small", None), (20 * MB, "20 MB", 3)):
            name = "%s package, load on the leader to a member's first reply" % label
            command = Figure(name + ", command", "ms", {}, target=target)
            inside = name + ", in a client (Thespian: loadActorSource)"
            inside = Figure(inside, "ms", {}, target=target)
            for _ in range(bench.times(5 if size else 10, 3)):
                for side, convention in sides.items():
                    samples = command.sides.setdefault(side, Samples())
                    samples.values.append(_switched(convention, size))
                for side, convention in sides.items():
                    path, version = _package(convention, size)
                    order = {"path": path, "version": version, "name": "Far"}
                    method = "load" if side == DIRECTOR else "source"
                    result = convention.worker.do(method, **order)
                    add(inside.sides.setdefault(side, Samples()), result)
            yield from (command, inside)


def _switched(convention: Convention, size: int) -> float:
    """Milliseconds from the command `load` to the first reply of the role's new actor."""
    path, version = _package(convention, size)
    run = convention.leader.run("load", path)
    return run.seconds * 1e3 + convention.worker.do("answered", version=version)["values"][0]


def _package(convention: Convention, size: int):
    # Thespian reads no package of its own default format beyond 10,000,000 bytes.
    words = {"fmt": "ViceroyFMT2"} if convention.side == THESPIAN and size else {}
    path = convention.leader.package(payload_bytes=size, tli="far.tli", **words)
    return str(path), convention.leader.version()


def pull(bench: Bench) -> Iterator[Figure]:
    """Director alone: Thespian's leader sends the package to whoever asks for it."""
    if DIRECTOR not in bench.names:
        return
    name = "%d members pull 20 MB" % PULLERS
    told = Figure(name + ": `cluster load`", "s", {})
    held = Figure(name + ": until all hold it", "s", {})
    upload = Figure(name + ": the leader's upload in packages", "x", {})
    with conventions(bench, PULLERS, DIRECTOR) as sides:
        convention = sides[DIRECTOR]
        leader = convention.leader
        for _ in range(bench.times(5, 2)):
            path, _ = _package(convention, 20 * MB)
            with sent_from(leader.port) as sent:
                begun = time.perf_counter()
                run = leader.run("cluster", "load", path)
                _put(told, run.seconds)
                _await_holders(convention, path, run.output)
                _put(held, time.perf_counter() - begun)
            if sent is not None:
                _put(upload, sent.bytes / Path(path).stat().st_size)
                if sent.unseen:
                    upload.sides[DIRECTOR].remarks["datagrams not seen"] = sent.unseen
            Path(path).unlink()
    yield from (told, held, upload)


def _await_holders(convention: Convention, path: str, said: str) -> None:
    """Until the package is in the store of every member, under its hash, as long as the file."""
    size = Path(path).stat().st_size
    fresh = [word for word in said.split() if len(word) == 64]
    if not fresh:
        raise CommandFailed("`cluster load` names no hash: %s" % said)
    limit = time.monotonic() + HOLD_LIMIT_S
    for place in convention.members:
        kept = place.folder / "state" / "packages" / fresh[0]
        while not (kept.exists() and kept.stat().st_size == size):
            if time.monotonic() > limit:
                raise CommandFailed("`%s` does not hold the package" % place.folder.parent.name)
            time.sleep(0.01)


def _put(figure: Figure, value: float) -> None:
    figure.sides.setdefault(DIRECTOR, Samples()).values.append(value)


CASES: Dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "members": members,
    "pull": pull,
}
