"""Measures Director and Thespian side by side, in one run, and prints the ratios.

Nothing is asserted: a figure is read by people, on a machine that they know.
"""

import argparse
import json
import os
import platform
import sys
from typing import List

import cases
import command_cases
import convention_cases
import isolate
import peer
from figures import DIRECTOR, THESPIAN, Figure, table
from places import CommandFailed, director_command
from sides import Bench

CASES = dict(command_cases.CASES, **cases.CASES, **convention_cases.CASES)


def main() -> int:
    options = _parser().parse_args()
    names = [options.side] if options.side else [DIRECTOR, THESPIAN]
    if DIRECTOR in names:
        director_command(options.director)
    if THESPIAN in names:
        peer.python()
        isolate.enter()
    bench = Bench(names, options.director, options.quick)
    figures: List[Figure] = []
    failed = False
    for name in options.only or CASES:
        try:
            for figure in CASES[name](bench):
                figures.append(figure)
                print(table([figure]).splitlines()[-1], file=sys.stderr, flush=True)
        except (CommandFailed, OSError) as error:
            print("%s: %s" % (name, error), file=sys.stderr, flush=True)
            failed = True
    print(_machine())
    print(table(figures))
    if options.json:
        document = {"machine": _machine(), "figures": [f.document() for f in figures]}
        with open(options.json, "w") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=CASES, help="this case; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few samples: is it in working order?")
    parser.add_argument("--json", metavar="FILE", help="write all samples to this file")
    parser.add_argument("--director", metavar="PROGRAM", help="the program to measure")
    parser.add_argument("--side", choices=(DIRECTOR, THESPIAN), help="measure this one alone")
    return parser


def _machine() -> str:
    load = "%.1f %.1f %.1f" % os.getloadavg()
    return "Linux %s, %d cores, Python %s, load %s." % (
        platform.release(),
        os.cpu_count() or 0,
        platform.python_version(),
        load,
    )


if __name__ == "__main__":
    sys.exit(main())
