"""Compiles files without running them and reports those that are no Python.

Standard library only, Python 3.8 or newer. Reads {"files": [path, ...]} from stdin and writes
{"faults": [{"index", "line", "column", "message"}]} into the file named as its argument.
"""

import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import json


def fault_of(path):
    """What compile() says about the file: (line, column, message), or None."""
    try:
        with open(path, "rb") as file:
            source = file.read()
        compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.lineno, error.offset, error.msg
    except ValueError as error:
        return None, None, str(error)
    except (RecursionError, MemoryError):
        return None, None, "it is nested too deeply for this Python"
    except OSError as error:
        return None, None, error.strerror or str(error)
    return None


def main():
    """Answers one question."""
    files = json.load(sys.stdin)["files"]
    faults = []
    for index, path in enumerate(files):
        fault = fault_of(path)
        if fault:
            line, column, message = fault
            faults.append({"index": index, "line": line, "column": column, "message": message})
    with open(sys.argv[1], "w", encoding="utf-8") as answer:
        json.dump({"faults": faults}, answer)


if __name__ == "__main__":
    main()
