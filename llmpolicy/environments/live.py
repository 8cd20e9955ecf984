"""A player as its parent sees it: a process that is asked over a socket, watched, and ended when it
is late; and the process that such ones are forked from.
"""

import contextlib
import itertools
import os
import pickle
import select
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.environments.asks import Offer, Told, What
from llmpolicy.errors import RecipeError, RewardError
from llmpolicy.rewards.workers.process import Worker, WorkerLost
from llmpolicy.rewards.workers.progress import (
    IDLE,
    IMPORT_SECONDS,
    Progress,
    shared_memory,
)

_MOST_BYTES = 2**28
"""Of one answer; a player that announces more talks nonsense."""

_LINK_SECONDS = 30.0

_numbers = itertools.count()

PROBE = -1
"""The number of the player that is only looked at."""


class Live:
    """One player's process. ``busy``: it was asked, and its answer was not heard; ``stale``:
    something went wrong in it. It is replaced then at the next reset. ``ending`` says how it
    ended, once it has.
    """

    def __init__(self, number: int, connection: socket.socket, progress: Progress) -> None:
        self.number, self.connection, self.progress = number, connection, progress
        connection.setblocking(False)
        self.index, self.sent = IDLE, 0.0
        self.busy, self.stale, self.deaf, self.ending = False, False, False, ""
        self._inbox, self._outbox = bytearray(), b""

    def ask(self, what: What, given: Mapping[str, Any]) -> None:
        """Begin to ask; the answer comes by `pump`. ValueError for what cannot be handed over."""
        try:
            body = pickle.dumps((what, dict(given)))
        except (pickle.PickleError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(" ".join(f"{type(error).__name__}: {error}".split())) from error
        self.pump()
        self._inbox.clear()  # what was said when nothing was asked is no answer
        self._outbox += len(body).to_bytes(8, "big") + body
        self.index, self.sent, self.busy = self.index + 1, time.monotonic(), True

    def events(self) -> int:
        """What to poll its socket for."""
        if self.deaf:
            return 0
        return select.POLLIN | (select.POLLOUT if self._outbox else 0)

    def pump(self) -> bytes | None:
        """Write and read what can be at once; its answer, if that is complete."""
        try:
            if self._outbox:
                self._outbox = self._outbox[self.connection.send(self._outbox) :]
            while data := self.connection.recv(1 << 20):
                self._inbox += data
                if len(self._inbox) > _MOST_BYTES:
                    break
            self.deaf = True
        except BlockingIOError:
            pass
        except OSError:  # it has ended
            self.deaf = True
        size = int.from_bytes(self._inbox[:8], "big")
        if len(self._inbox) < 8 + size or not size:
            self.deaf = self.deaf or size > _MOST_BYTES
            return None
        body = bytes(self._inbox[8 : 8 + size])
        self._inbox.clear()
        self.busy = False
        return body

    def seconds(self) -> tuple[float, float]:
        """How long it has been in its ask, imports left out, and what that may take beyond the
        limit of a call: it may still be made, or wait for a processor.
        """
        here, waited = self.progress.read(), time.monotonic() - self.sent
        if here.index != self.index:
            return waited, IMPORT_SECONDS
        return (here.seconds if here.importing else min(here.seconds, waited)), 0.0

    def close(self) -> None:
        """Give back what this process holds of it."""
        self.connection.close()
        self.progress.close()


class Nursery:
    """The process that players are forked from, beneath a keeper, with which all of them end."""

    def __init__(self, load: bytes) -> None:
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(_LINK_SECONDS)
        try:
            with theirs:
                module = "llmpolicy.environments.player_worker"
                self.worker = Worker(module, [theirs.fileno()], **_environment())
        except RewardError as error:
            raise RecipeError(str(error)) from error
        self._load = load

    def offer(self) -> Offer:
        """What the user's class offers, after a look at one instance; RecipeError where there is
        none.
        """
        try:
            offered = self._offered()
        except WorkerLost as error:
            raise RecipeError("Environment: its process was lost while it was imported") from error
        wants = None if offered["wants"] is None else tuple(offered["wants"])
        return Offer(**{**offered, "wants": wants, "needs": tuple(offered["needs"])})

    def _offered(self) -> dict[str, Any]:
        self.worker.send(pickle.dumps((sys.path, self._load)))
        self._await_load()
        probe = self._forked("look", PROBE)
        try:
            answer = self._look(probe)
        finally:
            self.end(probe)
        if "refused" in answer:
            raise RecipeError(str(answer["refused"]))
        self._send("import", 0)
        self.worker.send(pickle.dumps(answer["needed"]))
        return dict(answer["offer"])

    def fork(self) -> Live:
        """A new player; WorkerLost where there is nothing to fork from, OSError where no room."""
        return self._forked("fork", next(_numbers))

    def end(self, live: Live) -> None:
        """End a player, and do not wait."""
        live.close()
        with contextlib.suppress(WorkerLost):
            self._send("end", live.number)

    def close(self) -> None:
        """End all of them, and wait for the end."""
        self.link.close()
        self.worker.kill()
        for _ in self.worker.rest():  # what was printed last
            continue
        self.worker.disown()

    def _await_load(self) -> None:
        until = time.monotonic() + IMPORT_SECONDS
        while time.monotonic() < until:
            for line in self.worker.receive(1.0):
                if "refused" in line:
                    raise RecipeError(str(line["refused"]))
                return
        raise RecipeError(f"Environment: its import took more than {IMPORT_SECONDS:g} s")

    def _look(self, probe: Live) -> dict[str, Any]:
        until = time.monotonic() + IMPORT_SECONDS
        ending = ""
        while time.monotonic() < until:
            if answer := probe.pump():
                return dict(load_json(answer))
            if ending:
                raise RecipeError(f"Environment: making it took its process down ({ending})")
            for line in self.worker.receive(0.02):
                ending = line.get("why", "")
        raise RecipeError(f"Environment: making it took more than {IMPORT_SECONDS:g} s")

    def _forked(self, word: str, number: int) -> Live:
        ours, theirs = socket.socketpair()
        memory = shared_memory()
        try:
            progress = Progress(memory)
            progress.write(IDLE)
            self._send(word, number, theirs.fileno(), memory)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        return Live(number, ours, progress)

    def _send(self, word: str, number: int, *descriptors: int) -> None:
        try:
            socket.send_fds(self.link, [f"{word} {number}".encode()], descriptors)
        except OSError as error:
            raise WorkerLost from error


def _environment() -> dict[str, str]:
    """What is different for players: the order of a set is the same in every run, and libraries
    begin no threads to compute in, which a fork would not have.
    """
    return {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0"), "OMP_NUM_THREADS": "1"}


def told_of(body: bytes) -> Told:
    """An answer as it crossed."""
    try:
        return Told(**load_json(body))
    except (ValueError, TypeError):
        return Told(why="its process talks nonsense", fault="infrastructure")
