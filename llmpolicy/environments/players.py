"""Players: processes in which instances of a user's conversation class live, so that a call which
hangs or dies ends its own episode alone.

The user's module is imported once, in a process that players are forked from when they are first
needed; each makes one instance, which is reset for episode after episode. One that hung, died or
raised is replaced at its next reset.
"""

import json
import os
import select
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpolicy.environments.asks import Ask, Offer, Told
from llmpolicy.environments.crossed import Source, load_of, reference_of
from llmpolicy.environments.live import Live, Nursery, told_of
from llmpolicy.environments.offered import misuse
from llmpolicy.errors import RecipeError
from llmpolicy.reference import name_of
from llmpolicy.rewards.workers.process import WorkerLost
from llmpolicy.rewards.workers.progress import IMPORT_SECONDS

__all__ = ["Ask", "Offer", "Players", "Told", "replay"]

_POLL_SECONDS = 0.25


class Players:
    """Players of one class, numbered as the caller likes; RecipeError where the class cannot serve.

    ``source`` is a class, or names one; None where there are only ``tools``: functions, or names of
    functions. ``args`` go to the class; ``seconds`` is the limit of one call.
    """

    def __init__(
        self,
        source: Source | None,
        *,
        args: Mapping[str, Any] | None = None,
        tools: Sequence[Source] = (),
        base_dir: Path | None = None,
        seconds: float = 30.0,
    ) -> None:
        self.source, self.args, self.tools = source, dict(args or {}), list(tools)
        self.base_dir, self.seconds = base_dir, seconds
        self._load = load_of(source, self.args, self.tools, base_dir)
        self._live: dict[int, Live] = {}
        self._asked: dict[int, list[Ask]] = {}
        self._last: dict[int, tuple[Ask, Told]] = {}
        self._nursery: Nursery | None = None
        self._closed = False
        self.offer = self._begin()

    def _begin(self) -> Offer:
        nursery = Nursery(self._load)
        # A fork of this process has its own end, which is not that of the players.
        self._ending = weakref.finalize(self, _close, nursery, os.getpid())
        try:
            offered = nursery.offer()
        except BaseException:
            self._ending()
            raise
        self._nursery = nursery
        return offered

    def close(self) -> None:
        """End all players, and wait for the end."""
        for live in self._live.values():
            live.close()
        self._live.clear()
        self._nursery, self._closed = None, True
        self._ending()

    def ask(self, asks: Sequence[Ask]) -> list[Told]:
        """Ask players side by side, and wait for all; answers come in the order of the asks."""
        answers = dict(self.asked(asks))
        return [answers[index] for index in range(len(asks))]

    def asked(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Told]]:
        """The same, each answer with its place as soon as it is there. Asks of one player are made
        one after the other.
        """
        asking = self.asking()
        asking.add(enumerate(asks))
        try:
            while asking.open:
                yield from asking.heard()
        finally:  # nobody waits for the rest any more
            asking.leave()

    def asking(self) -> "Asking":
        """Asks that are made by and by, while others are not answered yet."""
        return Asking(self)

    def _send(self, ask: Ask) -> Told | None:
        """Ask, or what can be said without asking."""
        if ask.what == "reset":
            self._asked[ask.player] = []
        self._asked.setdefault(ask.player, []).append(ask)
        if ask.what == "tool":
            why = misuse(self.offer.tools, ask.given["name"], ask.given["arguments"])
            if why:
                return Told(f"error: {why}", why=why, misused=True)
        try:
            live = self._ready(ask)
        except (WorkerLost, OSError, RecipeError) as error:
            why = " ".join(str(error).split()) or "the processes of the environment were lost"
            return Told(why=f"{self._name(ask)}: {why}", fault="infrastructure")
        if live is None or live.ending:
            how = live.ending if live else "it was not reset"
            return Told(why=f"{self._name(ask)} has no process: {how}", fault="infrastructure")
        try:
            live.ask(ask.what, ask.given)
        except ValueError as error:
            return Told(why=f"{self._name(ask)} cannot be asked: {error}", fault="error")
        return None

    def _ready(self, ask: Ask) -> Live | None:
        """The player's process, for a reset a new one where it has none that is sound."""
        live = self._live.get(ask.player)
        if ask.what != "reset" or not (live is None or live.stale or live.ending or live.busy):
            return live
        if self._nursery is None and not self._closed:
            self._begin()
        if self._nursery is None:
            raise WorkerLost("the players were closed")
        if live is not None:
            self._nursery.end(self._live.pop(ask.player))
        self._live[ask.player] = self._nursery.fork()
        return self._live[ask.player]

    def _heard(
        self, running: Mapping[int, tuple[int, Ask]], seconds: float
    ) -> list[tuple[int, Told]]:
        """What players say within a moment, or what is said of those that ended or are late."""
        ready = self._ready_files(running, seconds)
        self._take_endings()
        answers = []
        for player, (_, ask) in running.items():
            live = self._live[player]
            heard = live.connection.fileno() in ready
            answer = live.pump() if heard or live.ending else None
            if answer is not None:
                answers.append((player, told_of(answer)))
            elif live.ending:
                why = f"{self._name(ask)} took its process down ({live.ending})"
                answers.append((player, Told(why=why, fault="infrastructure")))
            elif not heard and (late := self._late(live, ask)):
                answers.append((player, late))
                self._lose(player, late.why)
        return answers

    def _ready_files(self, running: Mapping[int, tuple[int, Ask]], most: float) -> set[int]:
        """The descriptors that can be read, or written where something is to be, after a wait."""
        if not running:
            return set()
        poll = select.poll()
        for player in running:
            live = self._live[player]
            seconds, more = live.seconds()
            most = 0.0 if live.ending else min(most, max(0.0, self.seconds + more - seconds))
            if events := live.events():
                poll.register(live.connection.fileno(), events)
        if self._nursery is not None:
            for file in (self._nursery.worker.answers, self._nursery.worker.prints):
                poll.register(file, select.POLLIN)
        return {file for file, _ in poll.poll(most * 1000 + 1)}

    def _take_endings(self) -> None:
        """Note which players have ended, and pass on what was printed."""
        if self._nursery is None:
            return
        numbers = {live.number: live for live in self._live.values()}
        try:
            for line in self._nursery.worker.receive(0.0):
                if live := numbers.get(line.get("ended", -1)):
                    live.ending = live.ending or line["why"]
        except WorkerLost:
            for live in numbers.values():
                live.ending = live.ending or "the process that it came from was lost"
            self._nursery = None
            self._ending()

    def _late(self, live: Live, ask: Ask) -> Told | None:
        seconds, more = live.seconds()
        if seconds <= self.seconds + more:
            return None
        why = f"{self._name(ask)} took more than {self.seconds + more:g} s"
        if seconds == float("inf"):
            why = f"{self._name(ask)} took more than {IMPORT_SECONDS:g} s to import a module"
        return Told(why=why, fault="timeout", seconds=time.monotonic() - live.sent)

    def _lose(self, player: int, ending: str) -> None:
        """End a player, which stays lost until its next reset."""
        live = self._live[player]
        live.ending = live.ending or ending
        if self._nursery is not None:
            self._nursery.end(live)

    def _noted(self, ask: Ask, answer: Told) -> Told:
        self._last[ask.player] = ask, answer
        if answer.fault and (live := self._live.get(ask.player)):
            live.stale = True
        return answer

    def _name(self, ask: Ask) -> str:
        if ask.what == "tool":
            return str(ask.given["name"])
        method = "get_reward" if ask.what == "reward" else ask.what
        return f"{name_of(self.source).rpartition(':')[2]}.{method}"

    def record(self, player: int) -> dict[str, Any]:
        """What `replay` needs to ask again what a player was asked since its reset, as plain data;
        ``at`` is the last of it, and what came of it.
        """
        ask, last = self._last[player]
        at = {"what": ask.what, "fault": last.fault, "why": last.why, "seconds": last.seconds}
        asks = [{"what": each.what, "given": each.given} for each in self._asked[player]]
        record = {
            "source": reference_of(self.source),
            "named": name_of(self.source),
            "args": self.args,
            "tools": [reference_of(tool) for tool in self.tools],
            "base_dir": str((self.base_dir or Path()).resolve()),
            "seconds": self.seconds,
            "asks": asks,
            "at": at,
        }
        return json.loads(json.dumps(record, default=str))


class Asking:
    """What is asked of players, each of whom does one thing after the other; each ask has a place,
    by which its answer is known.
    """

    def __init__(self, players: Players) -> None:
        self.players = players
        self._waiting: dict[int, deque[tuple[int, Ask]]] = defaultdict(deque)
        self._running: dict[int, tuple[int, Ask]] = {}
        self._answers: list[tuple[int, Told]] = []

    @property
    def open(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._running or self._answers)

    def add(self, asks: Iterable[tuple[int, Ask]]) -> None:
        """Ask, by places."""
        self.players._take_endings()
        asked = list(asks)
        for place, ask in asked:
            self._waiting[ask.player].append((place, ask))
        for _, ask in asked:
            self._send(ask.player)

    def heard(self, seconds: float = _POLL_SECONDS) -> list[tuple[int, Told]]:
        """The answers that are there within a moment, of so many seconds at most, by places."""
        if not self._answers:
            most = max(0.0, min(seconds, _POLL_SECONDS))
            for player, answer in self.players._heard(self._running, most):
                self._note(*self._running.pop(player), answer)
                self._send(player)
        answers, self._answers = self._answers, []
        return answers

    def leave(self) -> None:
        """Wait for no answer any more; who was asked is lost until its next reset."""
        for player in self._running:
            self.players._lose(player, "was asked, and not waited for")
        self._running.clear()

    def _send(self, player: int) -> None:
        """Ask a player the next thing, unless it is busy with one."""
        while self._waiting[player] and player not in self._running:
            place, ask = self._waiting[player].popleft()
            answer = self.players._send(ask)
            if answer is None:
                self._running[player] = place, ask
            else:
                self._note(place, ask, answer)

    def _note(self, place: int, ask: Ask, answer: Told) -> None:
        self._answers.append((place, self.players._noted(ask, answer)))


def replay(record: Mapping[str, Any]) -> Told:
    """Ask again, in a fresh process, what a record says; what came of the last ask. RecipeError
    where the class was one of a Python session.
    """
    references = [record["source"], *record["tools"]]
    if (record["source"] is None and record["named"] != name_of(None)) or None in references[1:]:
        raise RecipeError(
            f"Environment {record['named']!r} was written in a Python session, where its asks can"
            " be made again; a class in a file can be named path.py:name"
        )
    players = Players(
        record["source"],
        args=record["args"],
        tools=record["tools"],
        base_dir=Path(record["base_dir"]),
        seconds=record["seconds"],
    )
    try:
        return players.ask([Ask(0, each["what"], each["given"]) for each in record["asks"]])[-1]
    finally:
        players.close()


def _close(nursery: Nursery, owner: int) -> None:
    if os.getpid() == owner:
        nursery.close()
