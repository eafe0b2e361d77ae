"""A program beside a node, one for each side: does what `run.py` asks and answers with samples.

A line of JSON in, a line of JSON out. Not here: what differs between the sides (`clients`).
"""

import json
import os
import sys
import time

import clients


def main() -> None:
    """Serves until its input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    measures = Measures(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            result = getattr(measures, order.pop("do"))(**order)
        except Exception as error:
            result = {"error": "%s: %s" % (type(error).__name__, error)}
        answers.write(json.dumps(result) + "\n")


class Measures:
    """What can be measured from a client: each method takes a few samples."""

    def __init__(self, side, port):
        self.side, self.port = side, port
        self.made = {}

    def connect(self, source):
        """Connects to the node; Director's actors are of this source."""
        self.client = clients.connect(self.side, self.port)
        self.client.source = source
        return {}

    def actor(self, name):
        """An actor of this class that stays."""
        if name not in self.made:
            self.made[name] = self.client.create(name)
        return self.made[name]

    def ask(self, count, size=5, role=False):
        """Round trips in microseconds."""
        target = self.client.role() if role else self.actor("Echo")
        message = "hello" if size == 5 else b"x" * size
        samples, lost = [], 0
        for number in range(-20, count):
            started = time.perf_counter()
            answer = self.client.ask(target, message, 10)
            taken = (time.perf_counter() - started) * 1e6
            lost += answer != message
            if number >= 0:
                samples.append(taken)
        return {"values": samples, "lost": lost}

    def burst(self, count, size, limit):
        """Messages a second from the first send until the sink's last one, in one handler."""
        return self._throughput(("burst", count, size), count, limit)

    def windows(self, count, size, window, limit):
        """Messages a second when the sender waits for the sink after each window."""
        return self._throughput(("windows", count, size, window), count, limit)

    def _throughput(self, order, count, limit):
        sender, sink = self.client.create("Sender"), self.client.create("Sink")
        begun = time.time()
        self.client.tell(sender, (order[0], (sink, begun), *order[1:]))
        arrived, last, started = self._watch(sink, begun, count, begun + limit)
        for actor in (sender, sink):
            self.client.end(actor)
        if not arrived:
            return {"values": [], "arrived": 0}
        end = last if arrived == count else time.time()
        return {"values": [arrived / (end - (started or begun))], "missing": count - arrived}

    def _watch(self, sink, tag, count, limit):
        """How many have arrived and when the last did, and when the sender began.

        Answers carry the tag of their round: those of an earlier one may still come.
        """
        arrived = last = 0
        started = None
        while time.time() < limit and (arrived < count or started is None):
            answer = self.client.ask(sink, ("report", tag), 5)
            if not isinstance(answer, (tuple, list)) or answer[1] != tag:
                continue
            if answer[0] == "started":
                started = answer[2]
            else:
                arrived, last = answer[2:]
            time.sleep(0.02)
        return arrived, last, started

    def create(self, count):
        """createActor until the first reply, in milliseconds."""
        samples, made, lost = [], [], 0
        for _ in range(count):
            started = time.perf_counter()
            made.append(self.client.create("Echo"))
            lost += self.client.ask(made[-1], "hello", 20) != "hello"
            samples.append((time.perf_counter() - started) * 1e3)
        for actor in made:
            self.client.end(actor)
        return {"values": samples, "lost": lost}

    def memory(self, count):
        """PSS in MiB of each of so many actors of one class, and the growth of all processes."""
        before = _pss_of_all()
        made = [self.client.create("Echo") for _ in range(count)]
        for actor in made:
            self.client.ask(actor, "hello", 20)
        after = _pss_of_all()
        fresh = [after[pid] for pid in after if pid not in before]
        growth = sum(after.values()) - sum(before.values())
        for actor in made:
            self.client.end(actor)
        return {"values": fresh, "processes": len(fresh), "growth": round(growth / count, 2)}

    def fan(self, children, repeat):
        """All replies of a round in milliseconds."""
        fan = self.client.create("Fan")
        self.client.ask(fan, ("make", children), 60)
        answers = [self.client.ask(fan, "round", 60) for _ in range(repeat)]
        self.client.end(fan)
        values = [answer * 1e3 for answer in answers if answer is not None]
        return {"values": values, "lost": repeat - len(values)}

    def load(self, path, version, **words):
        """A load inside this process until the new version's first reply, in milliseconds."""
        started = time.perf_counter()
        self.client.load(path, version, **words)
        return self._answered(version, started)

    def source(self, path, version, name):
        """loadActorSource, createActor and first reply, in milliseconds (Thespian)."""
        started = time.perf_counter()
        answer, actor = self.client.source_reply(path, name)
        taken = (time.perf_counter() - started) * 1e3
        if answer != version:
            raise ValueError("the actor of version %s answered `%s`" % (version, answer))
        self.client.end(actor)
        return {"values": [taken]}

    def members(self):
        """How many systems have joined the convention of this one (Thespian)."""
        return {"members": self.client.members()}

    def answered(self, version):
        """Waits until the role answers as this version."""
        return self._answered(version, time.perf_counter())

    def _answered(self, version, started):
        answer = self.client.ask(self.client.switched(), "version", 10)
        # Thespian gives a client whatever comes next: also the late answer to an earlier look-up.
        while isinstance(answer, dict):
            answer = self.client.listen(10)
        if answer != version:
            raise ValueError("after version %s was loaded `%s` answered" % (version, answer))
        return {"values": [(time.perf_counter() - started) * 1e3]}


def _pss_of_all():
    """PSS in MiB of every process that can be read."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/smaps_rollup" % name) as file:
                lines = dict(line.split(":", 1) for line in file if ":" in line and "kB" in line)
        except OSError:
            continue
        if "Pss" in lines:
            found[int(name)] = int(lines["Pss"].split()[0]) / 1024
    return found


if __name__ == "__main__":
    main()
