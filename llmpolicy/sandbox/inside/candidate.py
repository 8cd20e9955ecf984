"""Running a candidate: call its function and write what it returned, or let its program read and
print.

The result is what was computed, never whether it is right: the expected value is not here. What
this process could do to its own result, by finding it on the stack or in memory, it could do by
computing it.
"""

import atexit
import builtins
import json
import os
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .values import decode, returned

_write, _exit, _dumps, _returned = (
    os.write,
    os._exit,
    json.JSONEncoder(separators=(",", ":")).encode,
    returned,
)


def run(job: Mapping[str, Any], files: Mapping[str, int], tell: int) -> NoReturn:
    """Run one job and end this process. ``files``: descriptors of the input, the output and the
    errors.

    On ``tell`` goes the word that the process is confined and ready; from then on nothing is the
    sandbox's fault.
    """
    _forget_ourselves()
    result = os.dup(files["output"])
    null = os.open(os.devnull, os.O_RDWR)
    descriptors = [null] * 3
    if job["call"] is None:
        descriptors = [files[name] for name in ("input", "output", "error")]
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
    for descriptor in (null, *files.values()):
        os.close(descriptor)
    _write(tell, b"confined")
    os.close(tell)
    if job["call"] is not None:
        _function(job, result)
    os.close(result)
    _program(job)


def _forget_ourselves() -> None:
    os.environ.clear()
    sys.argv[:] = ["program.py"]
    # Programs call these, which a start without the site module does not define.
    builtins.exit = builtins.quit = _leave  # type: ignore[assignment]
    sys.path[:] = [path for path in sys.path if path.startswith(sys.base_prefix)]
    for name in list(sys.modules):
        if name.split(".")[0] in ("inside", "llmpolicy"):
            del sys.modules[name]


def _leave(code: object = None) -> NoReturn:
    raise SystemExit(code)


def _module(name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module.__dict__


def _function(job: Mapping[str, Any], result: int) -> NoReturn:
    """Call a function of the candidate's; the result is one line, the nonce and JSON, in a file of
    its own.
    """
    nonce: str = job["nonce"]
    try:
        namespace = _module("solution")
        exec(compile(job["code"], "solution.py", "exec", dont_inherit=True), namespace)  # noqa: S102 - what this process is for
        function = _found(namespace, job["call"])
        args, kwargs = decode(job["args"]), decode(job["kwargs"])
        answer = {"returned": _returned(function(*args, **kwargs))}
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like are answers of the candidate as well
        answer = {"raised": f"{type(error).__name__}"}
    _whole(result, f"{nonce}{_dumps(answer)}\n".encode("utf-8", "surrogatepass"))
    _exit(0)


def _found(namespace: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """A function by its name, ``Class.method`` of a new object, or a method of a class called
    Solution.
    """
    owner, dot, method = name.rpartition(".")
    if not dot and name not in namespace and "Solution" in namespace:
        owner, method = "Solution", name
    return getattr(namespace[owner](), method) if owner else namespace[name]


def _program(job: Mapping[str, Any]) -> NoReturn:
    """Run the candidate as the main program; its output is what it prints."""
    for target, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = open(target, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the program
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    ended = 0
    try:
        exec(compile(job["code"], "program.py", "exec", dont_inherit=True), _module("__main__"))  # noqa: S102
    except SystemExit as left:
        ended = left.code if type(left.code) is int else int(left.code is not None)
    except BaseException as error:  # noqa: BLE001
        _write(2, f"{type(error).__name__}".encode("utf-8", "replace"))
        ended = 1
    try:
        if "threading" in sys.modules:  # wait for its threads, as at the end of any program
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001
        ended = ended or 1
    _exit(ended & 0xFF)


def _whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[_write(descriptor, data) :]
