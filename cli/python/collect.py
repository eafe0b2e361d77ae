"""Finds the files of installed distributions and of what they require. Imports none of them.

Standard library only, Python 3.8 or newer. Reads from stdin
{"wanted": [{"name", "extras", "line"}], "closure": bool}
and writes into the file named as its argument
{"distributions": [{"name", "version", "by", "files": [[member, path]]}],
 "missing": [{"name", "line", "wanted_by"}], "standard": [{"name", "line"}], "notes": [str],
 "warnings": [str]}.
"""

import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import re

NEVER = "thespian"


def normal(name):
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Versions and markers (PEP 440, PEP 508) ---------------------------------------------------

VERSION = re.compile(
    r"^\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<stage>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<number>\d*))?"
    r"(?P<post>-(?P<short>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<long>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<build>\d*))?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?\s*$",
    re.IGNORECASE,
)
STAGES = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}


def version_key(text):
    """What a version sorts by; None for a text that is no version."""
    match = VERSION.match(text)
    if not match:
        return None
    release = [int(part) for part in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    if match["stage"]:
        before = (STAGES[match["stage"].lower()], int(match["number"] or 0))
    elif match["dev"] and not match["post"]:
        before = (-1, 0)
    else:
        before = (9, 0)
    after = int(match["short"] or match["long"] or 0) if match["post"] else -1
    end = int(match["build"] or 0) if match["dev"] else sys.maxsize
    return (int(match["epoch"] or 0), release, before, after, end)


def compare_versions(left, operator, right):
    """PEP 440's operators; None where a side is no version."""
    if operator in ("==", "!=") and right.endswith(".*"):
        own, prefix = VERSION.match(left), VERSION.match(right[:-2])
        if own is None or prefix is None:
            return None
        wanted = [int(part) for part in prefix["release"].split(".")]
        release = [int(part) for part in own["release"].split(".")] + [0] * len(wanted)
        same = (own["epoch"] or "0") == (prefix["epoch"] or "0")
        same = same and release[: len(wanted)] == wanted
        return same if operator == "==" else not same
    own, other = version_key(left), version_key(right)
    if own is None or other is None:
        return None
    if operator == "~=":
        stem = right.strip().split(".")[:-1]
        return own >= other and compare_versions(left, "==", ".".join(stem) + ".*")
    return {
        "==": own == other,
        "!=": own != other,
        "<": own < other,
        "<=": own <= other,
        ">": own > other,
        ">=": own >= other,
    }.get(operator)


def compare(left, operator, right):
    """A comparison of a marker: as versions where both are, else as text."""
    if operator == "in":
        return left in right
    if operator == "not in":
        return left not in right
    if operator == "===":
        return left == right
    answer = compare_versions(left, operator, right)
    if answer is not None:
        return answer
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "~=": False,
    }[operator]


def marker_variables():
    """This interpreter, as markers name it."""
    implementation = sys.implementation.version
    full = "%d.%d.%d" % implementation[:3]
    if implementation.releaselevel != "final":
        full += implementation.releaselevel[0] + str(implementation.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": full,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
        # Spellings of before PEP 508.
        "os.name": os.name,
        "sys.platform": sys.platform,
        "platform.machine": platform.machine(),
        "platform.version": platform.version(),
        "platform.python_implementation": platform.python_implementation(),
        "python_implementation": platform.python_implementation(),
    }


TOKEN = re.compile(
    r"""\s*(?:(?P<punct>[()])|(?P<op>===|~=|==|!=|<=|>=|<|>)|(?P<text>'[^']*'|"[^"]*")"""
    r"""|(?P<word>[A-Za-z_][A-Za-z0-9_.]*))"""
)


class Marker:
    """One marker expression, evaluated while it is read."""

    def __init__(self, text, variables):
        self.text = text
        self.variables = variables
        self.tokens = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise ValueError("marker %r is not understood at %r" % (text, text[at:]))
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            at = match.end()

    def holds(self):
        """Whether the marker is true."""
        answer = self.either()
        if self.tokens:
            raise ValueError("marker %r goes on after its end" % self.text)
        return answer

    def take(self, kind, *values):
        if self.tokens and self.tokens[0][0] == kind and self.tokens[0][1] in values:
            return self.tokens.pop(0)[1]
        return None

    def either(self):
        answer = self.both()
        while self.take("word", "or"):
            right = self.both()
            answer = answer or right
        return answer

    def both(self):
        answer = self.one()
        while self.take("word", "and"):
            right = self.one()
            answer = answer and right
        return answer

    def one(self):
        if self.take("punct", "("):
            answer = self.either()
            if not self.take("punct", ")"):
                raise ValueError("marker %r lacks a )" % self.text)
            return answer
        left_name, left = self.operand()
        operator = self.operator()
        right_name, right = self.operand()
        if "extra" in (left_name, right_name):
            left, right = normal(left), normal(right)
        return compare(left, operator, right)

    def operator(self):
        if self.tokens:
            kind, value = self.tokens.pop(0)
            if kind == "op" or value == "in":
                return value
            if value == "not" and self.take("word", "in"):
                return "not in"
        raise ValueError("marker %r lacks an operator" % self.text)

    def operand(self):
        if not self.tokens:
            raise ValueError("marker %r ends too early" % self.text)
        kind, value = self.tokens.pop(0)
        if kind == "text":
            return None, value[1:-1]
        if kind == "word" and value in self.variables:
            return value, self.variables[value]
        raise ValueError("marker %r names the unknown %r" % (self.text, value))


REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?")


def requirement(text):
    """A Requires-Dist line: (name, extras, marker or None)."""
    head, _, marker = text.partition(";")
    if " @ " in head and not marker:
        # A URL may hold semicolons; its marker comes after " ;".
        head, _, marker = text.partition(" ;")
    match = REQUIREMENT.match(head)
    if not match:
        raise ValueError("requirement %r is not understood" % text)
    extras = [extra.strip() for extra in (match.group(2) or "").split(",") if extra.strip()]
    return match.group(1), extras, marker.strip() or None


# --- Distributions --------------------------------------------------------------------------------


class Installed:
    """What this interpreter has, by distribution name and by import name."""

    def __init__(self):
        self.by_name = {}
        self.in_order = []
        for distribution in importlib.metadata.distributions():
            name = distribution.metadata["Name"]
            if name and normal(name) not in self.by_name:
                self.by_name[normal(name)] = distribution
                self.in_order.append(distribution)

    def find(self, name):
        """The distribution of that name, or the one that brings the module of that name."""
        found = self.by_name.get(normal(name))
        return found or self.by_import_name(name)

    def by_import_name(self, name):
        wanted = name.replace(".", "/")
        for distribution in self.in_order:
            if wanted in import_names(distribution, wanted.count("/")):
                return distribution
        return None


def recorded(distribution):
    """(member, path) by RECORD; None where there is none."""
    if not distribution.read_text("RECORD"):
        return None
    files = []
    for entry in distribution.files or []:
        files.append((str(entry).replace(os.sep, "/"), str(distribution.locate_file(entry))))
    return files


def is_editable(distribution):
    text = distribution.read_text("direct_url.json")
    if not text:
        return False
    return bool(json.loads(text).get("dir_info", {}).get("editable"))


SUFFIXES = tuple(importlib.machinery.all_suffixes())


def import_names(distribution, depth):
    """Modules that the distribution brings, with / between parts, at that depth."""
    names = set()
    for member, _ in recorded(distribution) or []:
        parts = member.split("/")
        if member.startswith("..") or ".dist-info" in parts[0] or "__pycache__" in parts:
            continue
        if len(parts) > depth + 1:
            names.add("/".join(parts[: depth + 1]))
        elif len(parts) == depth + 1 and member.endswith(SUFFIXES):
            names.add("/".join(parts[:-1] + [parts[-1].split(".")[0]]))
    if depth == 0:
        names.update((distribution.read_text("top_level.txt") or "").split())
    return names


def folder_files(folder, prefix):
    """(member, path) of a folder's files, caches left out."""
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        inside = os.path.relpath(root, folder).replace(os.sep, "/")
        for name in sorted(names):
            member = "/".join(part for part in (prefix, inside, name) if part not in ("", "."))
            files.append((member, os.path.join(root, name)))
    return files


def find_module(name):
    """(member, path) of an importable top-level module or package, without importing it."""
    spec = None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        files = []
        for folder in spec.submodule_search_locations:
            if os.path.isdir(folder):
                files += folder_files(folder, name)
                libraries = os.path.join(os.path.dirname(folder), name + ".libs")
                if os.path.isdir(libraries):
                    files += folder_files(libraries, name + ".libs")
        return files or None
    if spec.origin and os.path.isfile(spec.origin):
        return [(os.path.basename(spec.origin), spec.origin)]
    return None


def metadata_files(distribution):
    """(member, path) of the dist-info or egg-info folder, where it is one."""
    folder = getattr(distribution, "_path", None)
    if folder is None or not os.path.isdir(str(folder)):
        return []
    return folder_files(str(folder), os.path.basename(str(folder)))


def by_folder(distribution, name):
    """(member, path) of a distribution that has no usable RECORD."""
    tops = (distribution.read_text("top_level.txt") or "").split()
    files = []
    for top in tops or [normal(name).replace("-", "_")]:
        if top != NEVER:
            files += find_module(top) or []
    return files and files + metadata_files(distribution)


def is_standard(name):
    """Whether Python itself brings the module."""
    top = name.split(".")[0]
    if top in sys.builtin_module_names or top in getattr(sys, "stdlib_module_names", ()):
        return True
    found = find_module(top)
    library = os.path.realpath(os.path.dirname(os.__file__))
    if not found:
        return False
    path = os.path.realpath(found[0][1])
    return path.startswith(library + os.sep) and "site-packages" not in path[len(library) :]


def is_text(name):
    """Whether a file's name can be written as UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Collection:
    """What was taken so far."""

    def __init__(self, installed, closure):
        self.installed = installed
        self.closure = closure
        self.variables = marker_variables()
        self.seen = {}
        self.answer = {
            "distributions": [],
            "missing": [],
            "standard": [],
            "notes": [],
            "warnings": [],
        }

    def want(self, name, extras, line, wanted_by):
        """Takes a distribution or module, and then what it requires."""
        if normal(name).split(".")[0] == NEVER:
            self.answer["notes"].append("`thespian` is not packed: every node brings it")
            return
        distribution = self.installed.find(name)
        if distribution is None:
            self.take_module(name, line, wanted_by)
            return
        own_name = distribution.metadata["Name"]
        if normal(own_name) == NEVER:
            return
        known = self.seen.get(normal(own_name))
        if known is None:
            self.seen[normal(own_name)] = set()
            self.take(distribution, own_name)
        fresh = set(map(normal, extras)) - (known or set())
        if known is None or fresh:
            self.seen[normal(own_name)].update(fresh)
            if self.closure:
                self.follow(distribution, own_name, fresh, known is None, line)

    def follow(self, distribution, own_name, extras, plain, line):
        for text in distribution.requires or []:
            try:
                name, wanted_extras, marker = requirement(text)
                if self.applies(marker, extras, plain):
                    self.want(name, wanted_extras, line, own_name)
            except ValueError as error:
                self.answer["warnings"].append("%s: %s; it is left out" % (own_name, error))

    def applies(self, marker, extras, plain):
        if marker is None:
            return plain
        for extra in sorted(extras) + ([""] if plain else []):
            if Marker(marker, dict(self.variables, extra=extra)).holds():
                return True
        return False

    def take_module(self, name, line, wanted_by):
        if is_standard(name):
            if wanted_by is None:
                self.answer["standard"].append({"name": name, "line": line})
            return
        top = name.split(".")[0]
        files = find_module(top) if re.match(r"^\w+$", top) else None
        if files and "." in name:
            prefix = name.replace(".", "/")
            files = [
                (member, path)
                for member, path in files
                if member.startswith(prefix + "/") or member.split(".")[0] == prefix
            ]
        if not files:
            missing = {"name": name, "line": line, "wanted_by": wanted_by}
            self.answer["missing"].append(missing)
            return
        if top not in self.seen:
            self.seen[top] = set()
            self.add(name, None, "folder", files)

    def take(self, distribution, name):
        files, how = None, "RECORD"
        if not is_editable(distribution):
            files = recorded(distribution)
        if files is None:
            files, how = by_folder(distribution, name), "folder"
        if not files:
            self.answer["warnings"].append("%s: none of its files were found" % name)
        self.add(name, distribution.version, how, files or [])

    def add(self, name, version, how, files):
        kept = {}
        for member, path in files:
            parts = member.split("/")
            if not is_text(member) or not is_text(path):
                text = "%s: the name of %a is no UTF-8 and it is left out" % (name, member)
                self.answer["warnings"].append(text)
            elif member.startswith(("../", "/")) or os.path.isabs(member):
                self.answer["notes"].append("%s: `%s` is no module or data file" % (name, member))
            elif "__pycache__" in parts or member.endswith((".pyc", ".pyo")):
                continue
            elif parts[0] == NEVER or parts[0] == NEVER + ".py":
                self.answer["notes"].append("%s: `%s` is not packed" % (name, member))
            elif len(parts) == 1 and member.endswith(".pth"):
                text = "%s: `%s` has no effect in a package and is left out" % (name, member)
                self.answer["warnings"].append(text)
            elif os.path.isfile(path):
                kept[member] = os.path.abspath(path)
            else:
                text = "%s: `%s` is recorded and not there" % (name, path)
                self.answer["warnings"].append(text)
        self.answer["distributions"].append(
            {"name": name, "version": version, "by": how, "files": sorted(kept.items())}
        )


def main():
    """Answers one question."""
    question = json.load(sys.stdin)
    collection = Collection(Installed(), question["closure"])
    for wanted in question["wanted"]:
        collection.want(wanted["name"], wanted["extras"], wanted["line"], None)
    with open(sys.argv[1], "w", encoding="utf-8") as answer:
        json.dump(collection.answer, answer)


if __name__ == "__main__":
    main()
