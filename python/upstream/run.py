"""Runs the original's public-behaviour tests against this package and prints a table.

``python upstream/run.py [--base BASE] [--folder FOLDER] [TEST ...] [-- PYTEST ARGUMENTS]``
Nothing of the original is kept in the repository: its source distribution comes from PyPI into a
scratch folder, its tests are laid beside a copy of our package.
The ``director`` program: ``DIRECTOR_BIN``, else the one built in this repository. It carries the
package for its workers, so build it again after a change of the package.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from typing import Dict, List, Tuple

VERSION = "4.0.1"
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.join(os.path.dirname(HERE), "thespian")
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
TESTS = [
    *("simpleActor", "createActor", "actors", "typeDispatcher", "deadLettering", "wakeup"),
    *("poisonMessage", "globalName", "requireCapability", "updateSystemCapabilities"),
    *("sourceLoading", "troupe", "transient", "initmsgs"),
]
FILE_LIMIT_S = 900
Counts = Dict[str, int]


def main() -> int:
    """Runs the tests; 1 if one failed."""
    options = _options()
    folder = options.folder or tempfile.mkdtemp(prefix="director-upstream-")
    suite = _fetch(folder)
    _lay_out(folder, suite)
    rows, failures = [], []
    for test in options.tests or TESTS:
        counts, failed = _run(folder, test, options)
        if failed and options.again:
            print("  once more, for: " + "; ".join(failed), flush=True)
            counts, failed = _run(folder, test, options)
        rows.append((test, counts))
        failures += failed
        print(_row(test, counts), flush=True)
    _report(rows, failures)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", help="names of tests, without `test_`; default: all")
    parser.add_argument("--base", default="multiprocTCPBase", help="the system base")
    parser.add_argument("--folder", help="scratch folder to use and keep; default: a new one")
    parser.add_argument("--select", help="pytest's -k expression")
    parser.add_argument(
        "--again",
        action="store_true",
        help="run a file that fails once more: the suite allows 0.25 s for what a busy machine "
        "may take longer for; the first failure is shown",
    )
    parser.add_argument("--show", action="store_true", help="show pytest's output")
    return parser.parse_args()


def _fetch(folder: str) -> str:
    """The folder of the original's unpacked source distribution."""
    unpacked = os.path.join(folder, "thespian-" + VERSION)
    if os.path.isdir(unpacked):
        return unpacked
    os.makedirs(folder, exist_ok=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", ":all:", "--dest", folder, "thespian==" + VERSION),
        ],
        check=True,
    )
    with tarfile.open(unpacked + ".tar.gz") as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return unpacked


def _lay_out(folder: str, suite: str) -> None:
    """Our package and the original's tests in one tree."""
    tree = os.path.join(folder, "tree")
    shutil.rmtree(tree, ignore_errors=True)
    package = os.path.join(tree, "thespian")
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(os.path.join(suite, "thespian", "test"), os.path.join(package, "test"))
    shutil.copy(os.path.join(HERE, "fixtures.py"), os.path.join(tree, "conftest.py"))


def _run(folder: str, test: str, options: argparse.Namespace) -> Tuple[Counts, List[str]]:
    tree = os.path.join(folder, "tree")
    results = os.path.join(folder, test + ".xml")
    if os.path.exists(results):
        os.remove(results)
    environment = dict(os.environ, DIRECTOR_UPSTREAM_BASE=options.base)
    environment.pop("PYTHONUNBUFFERED", None)
    built = os.path.join(REPOSITORY, "target", "release", "director")
    if "DIRECTOR_BIN" not in environment and os.access(built, os.X_OK):
        environment["DIRECTOR_BIN"] = built
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
        *("--rootdir", tree, "--junitxml", results, "-o", "junit_family=xunit2"),
        os.path.join("thespian", "test", "test_%s.py" % test),
        *(("-k", options.select) if options.select else ()),
    ]
    output = None if options.show else subprocess.DEVNULL
    try:
        subprocess.run(
            command, cwd=tree, env=environment, stdout=output, timeout=FILE_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"hung": 1}, ["%s: not done after %d s" % (test, FILE_LIMIT_S)]
    return _count(test, results)


def _count(test: str, results: str) -> Tuple[Counts, List[str]]:
    counts: Counts = {}
    failed = []
    if not os.path.exists(results):
        return {"error": 1}, ["%s: pytest wrote no results" % test]
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        kinds = [child.tag for child in case]
        kind = next((k for k in ("failure", "error", "skipped") if k in kinds), "passed")
        counts[kind] = counts.get(kind, 0) + 1
        if kind != "passed":
            found = case.find(kind)
            why = (found.get("message") or "") if found is not None else ""
            line = (why.strip().splitlines() or [""])[0]
            text = "%s.%s: %s: %s" % (test, case.get("name"), kind, line)
            if kind == "skipped":
                print("  " + text)
            else:
                failed.append(text)
    return counts, failed


def _row(test: str, counts: Counts) -> str:
    kinds = ["passed", "failure", "error", "skipped"] + ["hung"] * ("hung" in counts)
    return "%-26s" % test + "  ".join("%s %3d" % (kind, counts.get(kind, 0)) for kind in kinds)


def _report(rows: List[Tuple[str, Counts]], failures: List[str]) -> None:
    total: Counts = {}
    for _test, counts in rows:
        for kind, count in counts.items():
            total[kind] = total.get(kind, 0) + count
    print(_row("total", total))
    for failure in failures:
        print("  " + failure)


if __name__ == "__main__":
    sys.exit(main())
