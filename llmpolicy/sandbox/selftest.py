"""Before a sandbox is trusted: what must be impossible inside it is tried there once, harmlessly,
in about 0.1 s.
"""

import os
import secrets
import socket
import tempfile
from collections.abc import Mapping
from typing import Any

from llmpolicy.sandbox.inside.values import decode
from llmpolicy.sandbox.pool import Pool
from llmpolicy.sandbox.records import Job, Limits

_TRIES = """
import os, socket

def attempt(what, *arguments):
    try:
        return "done: " + repr(what(*arguments))[:80]
    except BaseException as error:
        return type(error).__name__

def read(path):
    with open(path) as file:
        return file.read()

def connect(port):
    with socket.create_connection(("127.0.0.1", port), 1) as link:
        return link.getpeername()

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)

def write(folder):
    path = os.path.join(folder, "llmpolicy-" + str(os.getpid()))
    with open(path, "wb") as file:
        file.write(b"x")
    os.unlink(path)

def tries(canary, port):
    return {
        "read a file of the host": attempt(read, canary),
        "connect to a port of the host": attempt(connect, port),
        "fork": attempt(fork),
        "signal its parent": attempt(lambda: os.kill(os.getppid(), 0)),
        "start a program": attempt(lambda: os.posix_spawn("/bin/true", ["true"], {})),
        "write a file": [
            attempt(write, folder) for folder in ("/tmp", "/dev/shm", "/", "/var/tmp", ".")
        ],
        "see the environment": "done" if os.environ else "empty",
    }
"""

_FILLS = """
import os
try:
    for _ in range(8):
        os.write(1, b"x" * 2048)
    said = b"done"
except OSError:
    said = b"refused"
os.ftruncate(1, 0)
os.lseek(1, 0, os.SEEK_SET)
os.write(1, said)
"""
"""Writes four times what is allowed, and then takes it back to say how that went."""


def why_not_closed(pool: Pool) -> str:
    """What was possible inside that must not be, or an empty text; SandboxFault when nothing could
    be run.
    """
    secret = secrets.token_hex(16)
    with (
        tempfile.NamedTemporaryFile("w") as canary,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        canary.write(secret)
        canary.flush()
        os.chmod(canary.name, 0o644)
        job = Job(_TRIES, "tries", (canary.name, server.getsockname()[1]))
        tried = pool.run(job, Limits(cpu=2))
    if tried.ended != "returned":
        return f"the attempts did not run to their end ({tried.ended}: {tried.why})"
    return _possible(decode(tried.value)) or _output_not_capped(pool)


def _possible(tried: Mapping[str, Any]) -> str:
    for what, attempt in tried.items():
        if "done" in str(attempt):
            return f"it could {what}"
    return ""


def _output_not_capped(pool: Pool) -> str:
    limits = Limits(cpu=2, output=4096)
    if pool.run(Job(_FILLS), limits).stdout == "done":
        return f"it could write more than {limits.output} bytes"
    counted = pool.run(Job("print('x' * 1024)"), limits)
    if counted.stdout != "x" * 1024 + "\n":
        return f"a harmless program did not run ({counted.why})"
    return ""
