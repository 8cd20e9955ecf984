"""Without a sandbox, by an explicit word only: a plain process with limits, which can do all that
its user can do.
"""

import subprocess

from llmpolicy.sandbox.confined import INSIDE, interpreter, keeper
from llmpolicy.sandbox.pool import Pool
from llmpolicy.sandbox.slot import spawn

WARNING = (
    "--unsafe-local-exec: code written by the model runs without a sandbox, with all rights of this"
    " user; it can read your files and tokens, use the network and harm this machine"
)

_allowed = False


def allow(allowed: bool) -> None:
    """Let this process, and the reward workers that it tells so, run code without a sandbox; or no
    longer.

    Only the command line's flag and the argument of `llmpolicy.train` come here: no variable, no
    recipe and no data.
    """
    global _allowed
    _allowed = allowed


def was_allowed() -> bool:
    """Whether this process was allowed to."""
    return _allowed


def pool() -> Pool:
    """Plain processes with limits on time, memory and output only."""
    return Pool("unsafe", _start)


def _start(link: int) -> "subprocess.Popen[bytes]":
    command = keeper(
        interpreter(), str(INSIDE.parent), link, landlock=False, own_namespace=False, confined=False
    )
    return spawn(command, link)
