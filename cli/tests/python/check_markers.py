"""Evaluates markers with collect.py and with pip's own packaging, and compares."""

import importlib.util
import itertools
import sys

from pip._vendor.packaging.markers import Marker, default_environment

spec = importlib.util.spec_from_file_location("collect", sys.argv[1])
collect = importlib.util.module_from_spec(spec)
spec.loader.exec_module(collect)

VERSIONS = ["2.7", "3.6", "3.8", "3.10", "3.11", "3.11.7", "3.12", "3.13.0", "4"]
OPERATORS = ["<", "<=", "==", "!=", ">=", ">", "~="]
markers = [
    "%s %s '%s'" % (name, operator, version)
    for name, operator, version in itertools.product(
        ["python_version", "python_full_version"], OPERATORS, VERSIONS
    )
    if not (operator == "~=" and "." not in version)
]
markers += [
    "'%s' %s python_version" % (v, o) for v, o in itertools.product(VERSIONS, OPERATORS[:6])
]
markers += [
    "python_version == '3.*'",
    "python_version != '3.1.*'",
    "python_full_version == '3.11.*'",
]
markers += ["python_full_version < '3.13.0a1'", "python_full_version >= '3.8.0rc2.post1'"]
markers += [
    "sys_platform == 'win32'",
    'sys_platform != "win32" and os_name == "posix"',
    "sys_platform in 'linux darwin'",
    "platform_system not in 'Windows, Java'",
    "platform_python_implementation == 'CPython' or python_version < '3'",
    "(python_version < '3' or sys_platform == 'linux') and implementation_name == 'cpython'",
    "python_version < '3' or (sys_platform == 'linux' and platform_machine != 'none')",
    "extra == 'test'",
    "extra == 'test-extra' and python_version > '3'",
    "python_version > '3' and (extra == 'test' or extra == 'docs')",
]
different = []
for marker, extra in itertools.product(markers, ["", "test", "test-extra"]):
    environment = dict(default_environment(), extra=extra)
    theirs = Marker(marker).evaluate(environment)
    ours = collect.Marker(marker, dict(collect.marker_variables(), extra=extra)).holds()
    if ours != theirs:
        different.append((marker, extra, ours, theirs))
print(different or "same")
