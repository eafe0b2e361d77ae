"""Looks at the classes of an origin: can they be imported, and where may they run.

Not here: forking workers (``forkserver``).
"""

import json
import os
import traceback
from typing import Any, Dict, List

from thespian import actors
from thespian.system import capable, control, naming, process


def look(request: control.Document) -> List[Dict[str, Any]]:
    """Imports each class of the request and evaluates its capability check."""
    sets = [capable.literal(text) or {} for text in request["capability_sets"]]
    wanted = request["requirements"]
    found = []
    for at, name in enumerate(request["classes"]):
        requirements = capable.literal(wanted[at]) if at < len(wanted) else None
        found.append(_look_at(name, sets, requirements))
    return found


def _look_at(name: str, sets: List[Any], requirements: Any) -> Dict[str, Any]:
    answer: Dict[str, Any] = {"name": name, "class": None, "fits": [], "failure": None}
    try:
        cls = naming.resolve(name, actors.is_actor)
    except naming.NotFound as error:
        answer["failure"] = error.failure
        return answer
    answer["class"] = naming.name_of(cls)
    answer["fits"] = [capable.fits(cls, capabilities, requirements) for capabilities in sets]
    return answer


def look_in_child(request: control.Document) -> List[Dict[str, Any]]:
    """The same in a child process, so that nothing is imported here."""
    read, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            process.die_with(parent)
            process.reset_signals()
            os.close(read)
            with os.fdopen(write, "wb") as out:
                out.write(json.dumps(look(request)).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        process.end(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read()
    _pid, status = os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("the import ended its process with status %d" % status)
    return json.loads(text)
