"""Director and Thespian as two sides that take turns: their places, nodes and worker programs."""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List

import isolate
import peer
from figures import DIRECTOR, THESPIAN, Samples
from places import HERE, CommandFailed, Place, director_command


class Bench:
    """What all cases share: where the sides' programs are, and how long to measure."""

    def __init__(self, names: List[str], binary, quick: bool) -> None:
        self.names, self.quick = names, quick
        self.programs = {}
        if DIRECTOR in names:
            self.programs[DIRECTOR] = (director_command(binary), Path(sys.executable))
        if THESPIAN in names:
            python = peer.python()
            self.programs[THESPIAN] = ([str(python), "-m", "thespian.director"], python)

    def times(self, normal: int, quick: int) -> int:
        return quick if self.quick else normal

    @contextmanager
    def places(self, *only: str) -> Iterator[Dict[str, Place]]:
        """A fresh directory for each side, and no node of it left at the end."""
        with tempfile.TemporaryDirectory(prefix="director-bench-") as folder:
            places = {
                name: Place(name, Path(folder), *self.programs[name])
                for name in self.names
                if not only or name in only
            }
            try:
                yield places
            finally:
                for place in places.values():
                    place.stop()
                isolate.end_all()

    @contextmanager
    def workers(self, *only: str, loaded: bool = False) -> Iterator[Dict[str, "Worker"]]:
        """Nodes that run the application, and a worker program beside each.

        Thespian has the application as a loaded source only where ``loaded`` says so; otherwise its
        actors are of classes that its worker program imports.
        """
        with self.places(*only) as places:
            workers: Dict[str, Worker] = {}
            try:
                for name, place in places.items():
                    workers[name] = worker = Worker(place)
                    if name == DIRECTOR or loaded:
                        path = place.package()
                        place.start()
                        source = _loaded_hash(place, path)
                    worker.do("connect", source=source if name == DIRECTOR else None)
                    if name == DIRECTOR or loaded:
                        worker.do("answered", version=place.version())
                yield workers
            finally:
                for worker in workers.values():
                    worker.close()


class Worker:
    """The program that measures beside the node of one side."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = open(place.folder / "worker.txt", "w")
        self.process = subprocess.Popen(
            [str(place.python), str(HERE / "worker.py"), place.side, str(place.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=place.environment(),
            cwd=place.folder,
            text=True,
            bufsize=1,
        )

    def do(self, method: str, **words) -> dict:
        """One order to the program, and its result."""
        self.process.stdin.write(json.dumps(dict(words, do=method)) + "\n")
        line = self.process.stdout.readline()
        result = json.loads(line) if line else {"error": "the program ended"}
        if "error" in result:
            trouble = (self.place.folder / "worker.txt").read_text()[-600:]
            raise CommandFailed("%s: %s: %s %s" % (self.place.side, method, result, trouble))
        return result

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def _loaded_hash(place: Place, path: Path) -> str:
    """Loads a package; its hash is the last word of the line."""
    return place.run("load", str(path)).output.split()[-1]


def add(samples: Samples, result: dict) -> None:
    """Adds what a worker gave; counts of losses are summed up and shown if there are any."""
    samples.values += result.pop("values")
    for key, value in result.items():
        if value and key in ("lost", "missing"):
            samples.remarks[key] = samples.remarks.get(key, 0) + value
        elif value:
            samples.remarks[key] = value
