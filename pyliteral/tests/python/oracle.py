"""Answers, one line each, what CPython makes of the texts on standard input."""

import ast
import resource
import sys
import warnings


# A text that makes CPython build something huge gets MemoryError, not the machine's memory.
MEMORY_BYTES_MAX = 2 << 30


def holds_set(value):
    if isinstance(value, dict):
        return any(holds_set(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple)):
        return any(map(holds_set, value))
    return isinstance(value, (set, frozenset))


def shown(value):
    if not holds_set(value):
        return repr(value)
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (shown(k), shown(v)) for k, v in value.items())
    parts = list(map(shown, value))
    if isinstance(value, list):
        return "[%s]" % ", ".join(parts)
    if isinstance(value, tuple):
        return "(%s%s)" % (", ".join(parts), "," if len(parts) == 1 else "")
    return "{%s}" % ", ".join(sorted(parts)) if parts else "set()"


def main():
    if sys.version_info < (3, 10):
        sys.exit("the tests of pyliteral compare with CPython 3.10 or later")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    warnings.simplefilter("ignore")
    questions = {
        b"literal": ast.literal_eval,
        b"expression": lambda text: eval(text, {}),
    }
    for line in sys.stdin.buffer:
        question, _, text = line.strip().partition(b" ")
        try:
            verdict, answer = "yes", shown(questions[question](bytes.fromhex(text.decode()).decode()))
        except Exception as fault:
            verdict, answer = "no", "%s: %s" % (type(fault).__name__, fault)
        encoded = answer.encode("utf-8", "backslashreplace").hex()
        sys.stdout.write("%s %s\n" % (verdict, encoded))
        sys.stdout.flush()


main()
