# ruff: noqa: BLE001, S102, S307
"""What runs in WebAssembly before a candidate: `values` is put in front of it, the job comes as the
first argument.

It imports nothing that a run of a few hundredths of a second would notice; the job is written as a
Python literal.
"""

import builtins
import sys

if sys.platform != "wasi":
    raise ImportError("guest.py is the text of a program for WebAssembly")

from _json import encode_basestring_ascii as _text
from io import BufferedWriter, RawIOBase, TextIOWrapper
from os import _exit, environ
from os import write as _write


def _json(data):
    if data is None or data is True or data is False:
        return {None: "null", True: "true", False: "false"}[data]
    if type(data) is str:
        return _text(data)
    if type(data) is list:
        return "[" + ",".join(map(_json, data)) + "]"
    if type(data) is dict:
        return "{" + ",".join(_text(name) + ":" + _json(held) for name, held in data.items()) + "}"
    return repr(data)


def _leave(code=None):
    raise SystemExit(code)


class _Nowhere(RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        return len(data)


def _found(namespace, name):
    owner, dot, method = name.rpartition(".")
    if not dot and name not in namespace and "Solution" in namespace:
        owner, method = "Solution", name
    return getattr(namespace[owner](), method) if owner else namespace[name]


def _function(job):
    sys.stdout = sys.__stdout__ = TextIOWrapper(BufferedWriter(_Nowhere()))
    try:
        module = type(sys)("solution")
        sys.modules["solution"] = module
        exec(compile(job["code"], "solution.py", "exec", dont_inherit=True), module.__dict__)
        function = _found(module.__dict__, job["call"])
        answer = {"returned": returned(function(*decode(job["args"]), **decode(job["kwargs"])))}  # noqa: F821 - of values.py
    except BaseException as error:
        answer = {"raised": type(error).__name__}
    line = (job["nonce"] + _json(answer) + "\n").encode("utf-8", "surrogatepass")
    while line:
        line = line[_write(1, line) :]
    _exit(0)


def _program(job):
    ended = 0
    try:
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        exec(compile(job["code"], "program.py", "exec", dont_inherit=True), module.__dict__)
    except SystemExit as left:
        ended = left.code if type(left.code) is int else int(left.code is not None)
    except BaseException as error:
        _write(2, type(error).__name__.encode())
        ended = 1
    try:
        sys.stdout.flush()
    except BaseException:
        ended = ended or 1
    _exit(1 if ended else 0)


_job = eval(sys.argv[1])
# Programs call these, which a start without the site module does not define.
builtins.exit = builtins.quit = _leave
sys.argv[:] = ["program.py"]
environ.clear()
_program(_job) if _job["call"] is None else _function(_job)
