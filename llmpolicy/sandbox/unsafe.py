"""Without a sandbox, by an explicit word only: a plain process with limits, which can do all that its user can do."""

import os
import subprocess

from llmpolicy.sandbox.confined import INSIDE, interpreter, keeper
from llmpolicy.sandbox.pool import Pool
from llmpolicy.sandbox.slot import spawn

WARNING = (
    "--unsafe-local-exec: code written by the model runs without a sandbox, with all rights of this user; "
    "it can read your files and tokens, use the network and harm this machine"
)

_PERMIT = "LLMPOLICY_UNSAFE_LOCAL_EXEC"


def allow(given: bool) -> None:
    """Let this process, and the reward workers that come from it, run code without a sandbox; or no longer.

    The permit is this process's id: carried to workers by the environment, and worth nothing in any other's.
    """
    if given:
        os.environ[_PERMIT] = str(os.getpid())
    else:
        os.environ.pop(_PERMIT, None)


def was_allowed() -> bool:
    """Whether this process or one that it comes from was allowed; a variable exported in a shell allows nothing."""
    permit = os.environ.get(_PERMIT, "")
    return permit.isdecimal() and int(permit) in _lineage()


def pool() -> Pool:
    """Plain processes with limits on time, memory and output only."""
    return Pool("unsafe", _start)


def _start(link: int) -> "subprocess.Popen[bytes]":
    command = keeper(interpreter(), str(INSIDE.parent), link, landlock=False, own_namespace=False, confined=False)
    return spawn(command, link)


def _lineage() -> list[int]:
    """This process, its parent, and so on, as far as can be seen."""
    lineage = [os.getpid(), os.getppid()]
    while lineage[-1] > 1:
        try:
            with open(f"/proc/{lineage[-1]}/stat", "rb") as stat:
                lineage.append(int(stat.read().rpartition(b")")[2].split()[1]))
        except OSError:
            break
    return lineage
