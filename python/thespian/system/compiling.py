"""Text that the node gives to ``python -I -S -c`` to compile the sources of a folder.

For a small source ``compileall`` takes longer to be imported than everything else in a load.
Argument: the folder. A file that does not compile is told as ``compileall`` tells it; the others
get a file with a hash that nobody checks again, in the format of PEP 552.
"""

# Not `importlib.util`: it takes half as long to import as the interpreter takes to start.
import _frozen_importlib_external as frozen  # type: ignore[import-not-found]
import _imp
import marshal
import os
import sys

_UNCHECKED_HASH = (1).to_bytes(4, "little")
_HASH_KEY = int.from_bytes(frozen.MAGIC_NUMBER, "little")


def compile_file(path: str) -> None:
    """Writes the compiled file of one source to its place, whole or not at all."""
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, path, "exec", dont_inherit=True)
    target = frozen.cache_from_source(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    fresh = "%s.%d" % (target, os.getpid())
    with open(fresh, "wb") as file:
        file.write(frozen.MAGIC_NUMBER + _UNCHECKED_HASH + _imp.source_hash(_HASH_KEY, source))
        file.write(marshal.dumps(code))
    os.replace(fresh, target)


def compile_folder(root: str) -> int:
    """Compiles what lies in a folder; how many files would not."""
    failed = 0
    for folder, _folders, names in os.walk(root):
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            path = os.path.join(folder, name)
            try:
                compile_file(path)
            except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
                failed += 1
                print("*** Error compiling %r...\n%s: %s" % (path, type(error).__name__, error))
    return failed


if __name__ == "__main__":
    sys.exit(1 if compile_folder(sys.argv[1]) else 0)
