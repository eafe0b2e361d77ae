"""A convention of each side on the loopback: a leader, and members that joined it."""

import json
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import isolate
from figures import DIRECTOR
from places import CommandFailed, Place
from sides import Bench, Worker

JOIN_LIMIT_S = 60.0
_ADDRESS = "127.0.0.1"


class Convention:
    """The nodes of one side; only the first member has the capability ``far``."""

    def __init__(self, bench: Bench, side: str, folder: Path, members: int) -> None:
        self.side = side
        programs = bench.programs[side]
        self.leader = Place(side, folder / "leader", *programs)
        self.members = [Place(side, folder / ("m%d" % n), *programs) for n in range(members)]
        self.worker: Optional[Worker] = None

    def start(self) -> None:
        """Brings all up, one after the other, with the leader's key."""
        address = "%s:%d" % (_ADDRESS, self.leader.port)
        for number, place in enumerate([self.leader, *self.members]):
            if self.side == DIRECTOR:
                place.set(listen=_ADDRESS, nodename="n%d" % number)
            else:
                place.set(convleader=address)
        self.leader.make_key()
        self.leader.start()
        for place in self.members:
            shutil.copy(self.leader.public_key, place.public_key)
            if self.side == DIRECTOR:
                invited = self.leader.run("cluster", "invite")
                place.set(convleader=address, convtoken=invited.output.split()[-1])
            place.set(othercaps=repr({"far": True} if place is self.members[0] else {}))
            place.start()
        self.worker = Worker(self.leader)
        self.worker.do("connect", source=None)
        self._await_members()

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.close()
        for place in [*self.members, self.leader]:
            place.stop()

    def _await_members(self) -> None:
        limit = time.monotonic() + JOIN_LIMIT_S
        while self._joined() < len(self.members):
            if time.monotonic() > limit:
                raise CommandFailed("%s: the members do not join" % self.side)
            time.sleep(0.2)

    def _joined(self) -> int:
        if self.side != DIRECTOR:
            return self.worker.do("members")["members"]
        told = json.loads(self.leader.run("cluster", "members", "--json").output)
        return sum(member["state"] == "up" for member in told["members"]) - 1


@contextmanager
def conventions(bench: Bench, members: int, *only: str) -> Iterator[Dict[str, Convention]]:
    """Fresh conventions of the sides, and no node of them left at the end."""
    made: List[Convention] = []
    with tempfile.TemporaryDirectory(prefix="director-bench-") as folder:
        try:
            for side in bench.names:
                if not only or side in only:
                    made.append(Convention(bench, side, Path(folder), members))
                    made[-1].start()
            yield {convention.side: convention for convention in made}
        finally:
            for convention in made:
                convention.stop()
            isolate.end_all()
