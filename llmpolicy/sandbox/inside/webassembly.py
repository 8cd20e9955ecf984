"""The keeper of the WebAssembly mechanism: it loads CPython's module once, and each forked child
runs one instance of it.
"""

import json
import math
import os
import resource
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import wasmtime

from .descendants import die_with
from .keeper import Job, serve

_HERE = Path(__file__).parent
_COMMAND = ("python", "-s", "-P", "-S", "-B", "-X", "utf8", "-c")
_ENVIRONMENT = [("PYTHONHASHSEED", "0")]
"""Sets are in the same order in every run; gone before a candidate can look."""


def main() -> None:
    """Serve jobs on the socket of the first argument with the compiled module that the rules
    name.
    """
    link, rules = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    engine = wasmtime.Engine()
    module = wasmtime.Module.deserialize_file(engine, rules["module"])
    guest = "\n".join(
        (_HERE / name).read_text(encoding="utf-8") for name in ("values.py", "guest.py")
    )
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    keeper = os.getpid()

    def child(job: Job, limits: Mapping[str, Any], files: Mapping[str, int], tell: int) -> NoReturn:
        die_with(keeper)
        _limit(limits)
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=limits["memory"])
        store.set_wasi(_world(guest, job, files))
        instance = linker.instantiate(store, module)
        os.write(tell, b"confined")
        os.close(tell)
        _run(instance, store, files["error"])

    serve(link, rules, child)


def _limit(limits: Mapping[str, Any]) -> None:
    seconds = math.ceil(limits["cpu"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["output"], limits["output"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _world(guest: str, job: Job, files: Mapping[str, int]) -> wasmtime.WasiConfig:
    """All that the guest has: three files and its arguments. No folder, no network."""
    world = wasmtime.WasiConfig()
    world.argv = [*_COMMAND, guest, repr(dict(job))]
    world.env = _ENVIRONMENT
    world.stdin_file = f"/dev/fd/{files['input']}"
    world.stdout_file = f"/dev/fd/{files['output']}"
    world.stderr_file = f"/dev/fd/{files['error']}"
    return world


def _run(instance: Any, store: wasmtime.Store, error: int) -> NoReturn:
    try:
        instance.exports(store)["_start"](store)
        ended = 0
    except wasmtime.ExitTrap as left:
        ended = left.code
    except (wasmtime.WasmtimeError, wasmtime.Trap) as trapped:
        os.write(error, type(trapped).__name__.encode())
        ended = 1
    os._exit(ended & 0xFF)
