"""Two hosts on one machine: network namespaces with a cable (a veth pair) between them, each with a
name of its own. What is not real: they share processor, disk and the list of processes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
NAMES, ADDRESSES, CABLE = ("east", "west"), ("10.77.0.1", "10.77.0.2"), ("cable0", "cable1")
PORT = 29577


@dataclass
class Host:
    """A network namespace, kept by a process that sleeps in it."""

    rank: int
    keeper: int

    def words(self, *command: str) -> list[str]:
        """A command as it runs on this host."""
        enter = ["nsenter", "--preserve-credentials", "-t", str(self.keeper), "-U", "-u", "-n"]
        return [*enter, *command]

    def do(self, *command: str) -> None:
        """Run a command of the system here; raises CalledProcessError."""
        subprocess.run(self.words(*command), check=True, capture_output=True, timeout=30)

    def cut(self) -> None:
        """Take the cable out."""
        self.do("ip", "link", "set", CABLE[self.rank], "down")

    def torchrun(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start this host's share of a training of two hosts, one process each."""
        launch = ["--nnodes", "2", "--node_rank", str(self.rank), "--nproc_per_node", "1"]
        meet = ["--master_addr", ADDRESSES[0], "--master_port", str(PORT)]
        command = [sys.executable, "-m", "torch.distributed.run", *launch, *meet, *words]
        here = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "GLOO_SOCKET_IFNAME": CABLE[self.rank],
        }
        with log.open("w") as said:
            return subprocess.Popen(
                self.words(*command), stdout=said, stderr=said, env={**os.environ, **here}
            )


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nothing else; OSError or CalledProcessError where the
    system makes no namespaces.
    """
    with ExitStack() as kept:
        east = Host(0, _keeper(kept, ["unshare", "-r", "-u", "-n"]))
        west = Host(1, _keeper(kept, east.words("unshare", "-u", "-n")))
        peer = ["type", "veth", "peer", "name", CABLE[1], "netns", str(west.keeper)]
        east.do("ip", "link", "add", "name", CABLE[0], *peer)
        for host in (east, west):
            host.do("hostname", NAMES[host.rank])
            address = f"{ADDRESSES[host.rank]}/24"
            host.do("ip", "address", "add", address, "dev", CABLE[host.rank])
            host.do("ip", "link", "set", "lo", "up")
            host.do("ip", "link", "set", CABLE[host.rank], "up")
        yield east, west


def _keeper(kept: ExitStack, start: list[str]) -> int:
    """A process that sleeps in new namespaces, by its id, once it is in them."""
    keeper = subprocess.Popen([*start, "sleep", "3600"], stderr=subprocess.DEVNULL)
    kept.callback(keeper.wait)
    kept.callback(keeper.kill)
    until = time.monotonic() + 10
    while psutil.Process(keeper.pid).name() != "sleep":
        if keeper.poll() is not None or time.monotonic() > until:
            raise OSError("no network namespaces can be made here")
        time.sleep(0.02)
    return keeper.pid


def family(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All processes of a host's share, the launcher first."""
    first = psutil.Process(launcher.pid)
    return [first, *first.children(recursive=True)]
