"""The process from which players are forked: it imports a user's module once, and runs none of it
afterwards; each player is a child of its own, asked over a socket of its own.

Started by `players.Players` beneath a keeper, which ends it and all that came from it with the
trainer. What a player reads is pickled by its parent; what it answers is JSON, because it may have
run a model's text.
"""

import contextlib
import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

from llmpolicy.environments.answered import Player, raised, seed_all
from llmpolicy.environments.asks import Told
from llmpolicy.environments.crossed import Load
from llmpolicy.environments.offered import Tool, check_arguments, offer
from llmpolicy.errors import RecipeError, RewardError
from llmpolicy.reference import name_of
from llmpolicy.rewards.workers.progress import IDLE, LOADING, Progress
from llmpolicy.rewards.workers.worker import ImportClock, begin
from llmpolicy.sandbox.inside import descendants

_LONGEST = 64


class Zygote:
    """Forks players when told to, buries them, and says how each ended."""

    def __init__(self, requests: Any, link: socket.socket, answers: int) -> None:
        self.requests, self.link, self.answers = requests, link, answers
        self.players: dict[int, int] = {}
        self.kept: set[int] = set()
        self.woken, self.wake = os.pipe()
        self.make: Callable[[], Any] | None = None
        self.functions: list[Tool] = []

    def received(self) -> Any:
        """The next message of the parent's."""
        return pickle.loads(self.requests.read(int.from_bytes(self.requests.read(8), "big")))

    def load(self, load: Load) -> None:
        """Import what the user wrote; RecipeError where that cannot be done."""
        importlib.import_module("numpy.random")  # before a seed is set, not after
        seed_all(0)  # what a module or a constructor draws
        try:
            self.functions = [each.load("Tool", load.base_dir) for each in load.tools]
            if load.source is not None:
                source = load.source.load("Environment", load.base_dir, classes=True)
                arguments = pickle.loads(load.arguments)
                check_arguments(source, arguments)
                self.make = partial(source, **arguments)
        except RecipeError:
            raise
        except RewardError as error:
            raise RecipeError(str(error)) from error
        except Exception as error:
            raise RecipeError(
                f"Environment: it cannot be read in its process: {type(error).__name__}: {error}"
            ) from error

    def serve(self) -> None:
        """Work until the other side closes the link."""
        descendants.adopt()
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.kept = set(descendants.children(os.getpid()))  # what the module itself has started
        while True:
            ready = select.select([self.link.fileno(), self.woken], [], [])[0]
            if self.woken in ready:
                os.read(self.woken, 4096)
                self.bury()
            if self.link.fileno() in ready:
                message, files, _, _ = socket.recv_fds(self.link, _LONGEST, 2)
                if not message:
                    return
                word, number = message.decode().split()
                self.obey(word, int(number), files)

    def obey(self, word: str, number: int, files: Sequence[int]) -> None:
        """Fork a player, end one, or import what players need."""
        if word == "import":
            for name in self.received():
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            gc.freeze()  # a collection in a player would copy the pages that all of them share
            return
        if word == "end":
            if number in self.players:
                os.kill(self.players[number], signal.SIGKILL)
            return
        _flush()
        try:
            process = os.fork()
        except OSError as error:
            self.tell(ended=number, why=f"cannot be started: {error}")
        else:
            if process == 0:
                self.become(word, files)
            self.players[number] = process
        for file in files:
            os.close(file)

    def become(self, word: str, files: Sequence[int]) -> NoReturn:
        """Be a player."""
        zygote = os.getppid()
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            descendants.die_with(zygote)
            descendants.adopt()
            _end_before_others()
            self.link.close()
            for file in (self.woken, self.wake, self.answers, self.requests.fileno()):
                os.close(file)
            connection, progress = socket.socket(fileno=files[0]), Progress(files[1])
            os.close(files[1])
            player = Player(self.make, self.functions)
            if word == "look":
                _look(connection, player)
            else:
                ImportClock(progress).install()
                _live(connection, progress, player)
        finally:
            os._exit(1)

    def bury(self) -> None:
        """Say who has ended, and end what they have left behind."""
        numbers = {process: number for number, process in self.players.items()}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] in numbers:
                    del self.players[numbers[ended[0]]]
                    self.tell(ended=numbers[ended[0]], why=_ending(ended[1]))
        known = {*self.players.values(), *self.kept}
        for stray in descendants.children(os.getpid()):
            if stray not in known:
                for process in (stray, *descendants.descendants(stray)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)

    def tell(self, **line: Any) -> None:
        """Write one line to the parent."""
        rest = json.dumps(line).encode() + b"\n"
        while rest:
            rest = rest[os.write(self.answers, rest) :]


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _flush() -> None:
    """Let go of what was printed, unless a class has closed or replaced where it prints to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _end_before_others() -> None:
    """Where memory runs out, let the system end a player rather than the trainer."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def _look(connection: socket.socket, player: Player) -> None:
    """Make an instance, and tell what it offers and which modules it needed."""
    before = set(sys.modules)
    try:
        player.begin()
        needed = [name for name in sys.modules if name not in before]
        answer = {"offer": asdict(offer(player.instance, player.functions)), "needed": needed}
    except RecipeError as error:
        answer = {"refused": str(error)}
    except BaseException as error:  # noqa: BLE001 - SystemExit of a constructor's
        make = getattr(player.make, "func", None)
        answer = {"refused": f"Environment {name_of(make)!r}: {raised(error, make)}"}
    send(connection, json.dumps(answer).encode())


def _live(connection: socket.socket, progress: Progress, player: Player) -> None:
    """Answer one ask after the other until the parent closes the socket."""
    progress.write(LOADING)
    failure = _begun(player)
    progress.write(IDLE)
    for index in range(sys.maxsize):
        body = receive(connection)
        if body is None:
            os._exit(0)
        progress.write(index)
        what, given = pickle.loads(body)
        answer = failure or player.answer(what, given)
        progress.write(IDLE)
        _flush()
        send(connection, json.dumps(asdict(answer)).encode())


def _begun(player: Player) -> Told | None:
    try:
        player.begin()
    except BaseException as error:  # noqa: BLE001 - told with the first ask
        make = getattr(player.make, "func", None)
        return Told(why=f"{name_of(make)} {raised(error, make)}", fault="error")
    return None


def send(connection: socket.socket, body: bytes) -> None:
    """Write one message."""
    connection.sendall(len(body).to_bytes(8, "big") + body)


def receive(connection: socket.socket) -> bytes | None:
    """Read one message; None at the end."""
    header = _read(connection, 8)
    return None if header is None else _read(connection, int.from_bytes(header, "big"))


def _read(connection: socket.socket, size: int) -> bytes | None:
    body = bytearray()
    while len(body) < size:
        data = connection.recv(min(size - len(body), 1 << 20))
        if not data:
            return None
        body += data
    return bytes(body)


def main() -> None:
    """Serve the process that started this one; the fourth word of the command line is a socket."""
    requests, answers, _ = begin()
    zygote = Zygote(requests, socket.socket(fileno=int(sys.argv[4])), answers)
    zygote.tell(ready=os.getpid())
    sys.path[:], load = zygote.received()
    try:
        zygote.load(pickle.loads(load))
    except RecipeError as error:
        zygote.tell(refused=str(error))
    else:
        zygote.tell(loaded=True)
        with contextlib.suppress(BrokenPipeError):
            zygote.serve()
    os._exit(0)
