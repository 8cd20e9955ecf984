"""Players: whatever a user's class does to its process, it ends its own episode alone."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmpolicy.environments.conversation import Answer, Done
from llmpolicy.environments.crossed import reference_of
from llmpolicy.environments.offered import misuse
from llmpolicy.environments.players import Ask, Players, Told, replay
from llmpolicy.errors import RecipeError
from llmpolicy.rewards.printed import printed

ROOT = Path(__file__).parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan cannot be followed")
SECONDS = 1.0

GAME = '''
"""A game whose turns do what they are told."""

import asyncio
import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time

from llmpolicy.environments.conversation import Answer, Done


class Base:
    def peek(self, place: str) -> str:
        """Look at a place.

        Args:
            place: Where to look.
        """
        return place * 2


class Game(Base):
    def __init__(self, most: int = 1000):
        self.most, self.made = most, os.getpid()

    def reset(self, seed, group=None, word="none", **row):
        if word == "bad":
            raise ValueError("no such word")
        if word == "hang":
            time.sleep(60)
        self.secret, self.turns = random.randint(1, self.most), 0
        return f"{self.secret} {word} {group} {sorted(row)}"

    def step(self, reply):
        self.turns += 1
        return getattr(self, "_" + reply)()

    def _say(self): return f"turn {self.turns}"
    def _hang(self):
        while True: pass
    def _deaf(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True: time.sleep(60)
    def _wait(self): time.sleep(0.4); return "waited"
    def _leave(self): os._exit(3)
    def _exit(self): sys.exit("enough")
    def _segfault(self): ctypes.string_at(0)
    def _bomb(self): return bytearray(2**40)
    def _grow(self):
        held = []
        while True: held.append(bytearray(2**24))
    def _print(self):
        os.write(1, b'{"words": "forged"}\\n')
        print("printed by the game", flush=True)
        subprocess.run(["echo", "by a child"])
        return "quiet"
    def _flood(self):
        for _ in range(300): os.write(2, b"x" * 1023 + b"\\n")
        return "flooded"
    def _fork(self):
        if os.fork() == 0:
            time.sleep(600)
        return "forked"
    def _copy(self):
        os.fork()
        return "copied"
    def _daemon(self):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        return "daemon"
    def _thread(self):
        threading.Thread(target=time.sleep, args=(600,)).start()
        return "threaded"
    def _parent(self): os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
    def _number(self): return 3
    def _empty(self): return []
    def _roleless(self): return [{"content": "x"}]
    def _picture(self): return [{"role": "user", "content": [{"type": "image"}]}]
    def _function(self): return [{"role": "user", "content": "x", "call": print}]
    def _tuple(self): return ("text", 1.0, False)
    def _long(self): return "é" * 2**20
    def _half(self): return "a\\ud800b"
    def _nan(self): return Answer("x", float("nan"))
    def _done_nan(self): return Done(float("inf"))
    def _text_reward(self): return Answer("x", "1")
    def _import(self):
        sys.path.append(os.path.dirname(__file__))
        import slow_to_import
        return "imported"
    def _heavy(self):
        return str([name for name in ("torch", "transformers") if name in sys.modules])
    def _mute(self):
        sys.stdout.close()
        sys.stderr = None
        return "muted"
    def _answer(self): return Answer("well", 0.5)
    def _messages(self): return [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    def _done(self): return Done(1, "won")
    def _unknown(self): return Done()
    def _over(self): return None
    def _raise(self): raise RuntimeError("broken\\nin two")
    def _process(self): return f"{self.made} {os.getpid()}"
    def _draw(self): return str(random.random())
    async def _later(self):
        await asyncio.sleep(0.01)
        return "later"

    def add(self, a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    async def wait(self, seconds: float) -> dict:
        """Wait.

        Args:
            seconds: How long.
        """
        await asyncio.sleep(seconds)
        return {"waited": seconds}

    def stop(self) -> Done:
        """End the game."""
        return Done(0.25, "stopped")

    def divide(self, by: float) -> float:
        """Divide one."""
        return {}[by] if by == 7 else 1 / by

    def vanish(self) -> str:
        """Leave."""
        os._exit(4)

    def hang(self) -> str:
        """Hang."""
        time.sleep(60)

    @property
    def size(self) -> int:
        raise RuntimeError("a property is not asked")

    def get_reward(self):
        return {1: 0.5, 2: float("nan"), 3: "much", 4: None}.get(self.turns, 1)


class Refusing:
    def __init__(self):
        raise KeyError("key")
    def reset(self): pass


class NoReset:
    def restart(self):
        """Begin."""


class Untyped:
    def reset(self): pass
    def move(self, where):
        """Move."""


class Undocumented:
    def reset(self): pass
    def move(self, where: str): pass


class Starred:
    def reset(self): pass
    def move(self, *where: str):
        """Move."""


class Odd:
    def reset(self): pass
    def move(self, where: threading.Thread):
        """Move."""


class Dies:
    def __init__(self): os._exit(5)
    def reset(self): pass


class Lazy:
    """Needs a module that is long to import, and says from whom it has it."""
    def __init__(self):
        import wave
    def reset(self):
        return "wave" in sys.modules and str(os.getppid())


class Strict:
    def reset(self, number): return str(number)
    async def step(self, reply): return "async " + reply + str(reply.token_ids) + str(reply.calls)


def double(x: int) -> int:
    """Double a number.

    Args:
        x: The number.

    Returns:
        Twice the number.
    """
    return 2 * x


def add(a: int) -> int:
    """Another of the same name."""
    return a


def untyped(x):
    """No types."""
'''


REFUSING = GAME[: GAME.index('raise KeyError("key")')].count("\n") + 1
BROKEN = GAME[: GAME.index("raise RuntimeError")].count("\n") + 1


def reset(player: int = 0, seed: int = 0, **columns: Any) -> Ask:
    return Ask(player, "reset", {"columns": columns, "seed": seed, "group": 7})


def step(text: str, player: int = 0) -> Ask:
    return Ask(player, "step", {"text": text, "calls": [], "token_ids": []})


def tool(name: str, player: int = 0, **arguments: Any) -> Ask:
    return Ask(player, "tool", {"name": name, "arguments": arguments})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("players")
    (folder / "game.py").write_text(GAME)
    (folder / "exits.py").write_text("import os\nos._exit(0)\n")
    (folder / "raises.py").write_text("raise ValueError('x')\n")
    (folder / "slow_to_import.py").write_text("import time\ntime.sleep(1.5)\n")
    return folder


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Players]:
    players = Players("game.py:Game", base_dir=folder, tools=["game.py:double"], seconds=SECONDS)
    yield players
    players.close()


@pytest.fixture
def players(shared: Players) -> Players:
    """Player 0 of the game has begun an episode."""
    assert shared.ask([reset()])[0].fault is None
    return shared


def family() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def gone(processes: set[int], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(psutil.pid_exists(process) for process in processes):
            return True
        time.sleep(0.02)
    return False


# --- what is offered and how it is asked


def test_the_offer_is_read_from_the_class(shared: Players) -> None:
    names = [each["function"]["name"] for each in shared.offer.tools]
    assert names == ["peek", "add", "wait", "stop", "divide", "vanish", "hang", "double"]
    assert shared.offer.tools[1]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "a"},
            "b": {"type": "integer", "description": "b"},
        },
        "required": ["a"],
    }
    assert shared.offer.tools[0]["function"]["parameters"]["properties"]["place"] == {
        "type": "string",
        "description": "Where to look.",
    }
    assert shared.offer.tools[-1]["function"]["return"]["description"] == "Twice the number."
    assert shared.offer.has_step and shared.offer.has_reward
    assert shared.offer.wants is None and shared.offer.needs == ("seed",)


def test_an_episode_from_reset_to_reward(players: Players) -> None:
    told = players.ask([reset(word="tree", prompt="p"), step("say"), step("say")])
    assert str(told[0].words).endswith(" tree 7 ['prompt']")
    assert [each.words for each in told[1:]] == ["turn 1", "turn 2"]
    assert players.ask([step("done")])[0] == Told(
        reward=1.0, over=True, why="won", seconds=players._last[0][1].seconds
    )


@pytest.mark.parametrize(
    ("text", "words", "reward", "over"),
    [
        ("say", "turn 1", None, False),
        ("answer", "well", 0.5, False),
        (
            "messages",
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
            None,
            False,
        ),
        ("unknown", None, None, True),
        ("over", None, None, True),
        ("later", "later", None, False),
        ("half", "a\ufffdb", None, False),
        ("long", "é" * 2**20, None, False),
    ],
)
def test_what_a_step_returns(
    players: Players, text: str, words: Any, reward: float | None, over: bool
) -> None:
    told = players.ask([step(text)])[0]
    assert (told.words, told.reward, told.over, told.fault) == (words, reward, over, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("number", "returned an int 3; expected a text, messages, Answer, Done or None"),
        ("tuple", "returned a tuple ('text', 1.0, False); expected a text"),
        ("empty", "returned a list []; expected a text, messages"),
        ("roleless", "returned a list [{'content': 'x'}]; expected"),
        ("picture", "returned messages of which message 0 (user) has a part of type 'image'"),
        ("function", "returned messages of which Object of type builtin_function_or_method"),
        ("nan", "returned the reward nan; expected a finite number"),
        ("done_nan", "returned the reward inf; expected a finite number"),
        ("text_reward", "returned the reward a str; expected a number"),
        ("raise", f"(game.py:{BROKEN}) raised RuntimeError: broken in two"),
        ("exit", "raised SystemExit: enough"),
        ("bomb", "raised MemoryError"),
        ("nothing", "raised AttributeError: 'Game' object has no attribute '_nothing'"),
    ],
)
def test_what_a_step_must_not_return(players: Players, text: str, why: str) -> None:
    told = players.ask([step(text)])[0]
    assert told.fault == "error" and not told.over and told.reward is None
    assert told.why.startswith("Game.step ") and why in told.why, told.why


def test_rewards_are_numbers_or_unknown(players: Players) -> None:
    asks = [each for _ in range(4) for each in (step("say"), Ask(0, "reward"))]
    told = players.ask(asks)[1::2]
    assert [each.reward for each in told] == [0.5, None, None, None]
    assert [each.fault for each in told] == [None, "error", "error", None]
    assert "expected a finite number" in told[1].why and "expected a number" in told[2].why


# --- tools


def test_tools_of_methods_and_functions(players: Players) -> None:
    told = players.ask(
        [tool("peek", place="ab"), tool("add", a=2, b=3), tool("wait", seconds=0.01)]
        + [tool("double", x=4), tool("stop")]
    )
    assert [each.words for each in told[:4]] == ["abab", "5", '{"waited": 0.01}', "8"]
    assert (told[4].over, told[4].reward, told[4].why) == (True, 0.25, "stopped")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (tool("divide", by=0.0), "error: float division by zero"),
        (tool("divide", by=7), "error: KeyError: 7"),
        (tool("adds", a=1), "error: there is no tool 'adds'; did you mean 'add'?"),
        (tool("add", a="1"), "error: the argument 'a' of add is '1'; expected integer"),
        (tool("add", a=True), "error: the argument 'a' of add is True; expected integer"),
        (tool("add", b=1), "error: add needs the argument 'a'"),
        (tool("add", a=1, c=1), "error: add has no argument 'c'; expected one of: a, b"),
        (tool("stop", now=1), "error: stop has no argument 'now'; it takes none"),
        (
            Ask(0, "tool", {"name": "add", "arguments": [1]}),
            "error: the arguments of add are [1]; expected an object of named values",
        ),
        (tool("reset"), "error: there is no tool 'reset'; expected one of: add, divide, double"),
        (tool("_say"), "error: there is no tool '_say'"),
    ],
)
def test_a_model_is_told_what_it_did_wrong(players: Players, ask: Ask, words: str) -> None:
    told = players.ask([ask])[0]
    assert told.misused and told.fault is None and not told.over
    assert str(told.words).startswith(words)
    assert players.ask([step("say")])[0].words == "turn 1"


@given(
    arguments=st.dictionaries(
        st.sampled_from(["n", "kind", "deep", "maybe", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
            max_leaves=4,
        ),
    )
)
def test_arguments_that_are_not_refused_are_of_their_types(arguments: dict[str, Any]) -> None:
    properties = {
        "n": {"type": "integer", "description": "n"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "deep": {"type": "array", "items": {"type": ["integer", "string"]}},
        "maybe": {"type": "number", "nullable": True},
    }
    parameters = {"type": "object", "properties": properties, "required": ["n"]}
    schema = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    why = misuse([schema], "f", arguments)

    def integer(value: Any) -> bool:
        return not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        )

    def fits() -> bool:
        deep = arguments.get("deep", [])
        maybe = arguments.get("maybe")
        return (
            "x" not in arguments
            and integer(arguments.get("n"))
            and arguments.get("kind", "a") in ("a", "b")
            and isinstance(deep, list)
            and all(isinstance(each, str) or integer(each) for each in deep)
            and (maybe is None or (isinstance(maybe, int | float) and not isinstance(maybe, bool)))
        )

    assert (why == "") == fits(), why


def test_functions_alone_have_no_reset(folder: Path) -> None:
    players = Players(None, tools=["game.py:double", triple], base_dir=folder)
    try:
        assert players.offer.tools[1]["function"]["description"] == "Triple a number."
        assert not players.offer.has_step and players.offer.wants == ()
        told = players.ask([reset(), tool("double", x=2), tool("triple", x=2), step("say")])
        assert [each.words for each in told] == [None, "4", "6", None]
        assert told[3].fault == "error"
    finally:
        players.close()


def triple(x: int) -> int:
    """Triple a number."""
    return 3 * x


# --- what a call does to its process


@pytest.mark.parametrize(
    ("ask", "fault", "why"),
    [
        (step("hang"), "timeout", "Game.step took more than 1 s"),
        (step("deaf"), "timeout", "Game.step took more than 1 s"),
        (step("leave"), "infrastructure", "Game.step took its process down (exit code 3)"),
        (step("segfault"), "infrastructure", "Game.step took its process down (SIGSEGV)"),
        (tool("vanish"), "infrastructure", "vanish took its process down (exit code 4)"),
        (tool("hang"), "timeout", "hang took more than 1 s"),
        (reset(word="hang"), "timeout", "Game.reset took more than 1 s"),
        (reset(word="bad"), "error", "raised ValueError: no such word"),
    ],
)
def test_a_call_that_ends_its_episode_ends_no_other(
    players: Players, ask: Ask, fault: str, why: str
) -> None:
    players.ask([reset(1), reset(2)])
    started = time.monotonic()
    told = players.ask([step("say", 1), ask, step("wait", 2)])
    assert time.monotonic() - started < SECONDS + 2
    assert [told[0].words, told[2].words] == ["turn 1", "waited"]
    assert told[1].fault == fault and why in told[1].why, told[1]
    assert players.ask([step("say", 1)])[0].words == "turn 2"
    if fault != "error":
        after = players.ask([step("say")])[0]
        assert after.fault == "infrastructure" and "has no process" in after.why
    assert players.ask([reset(), step("say")])[1].words == "turn 1"


def test_what_a_call_imports_does_not_count(players: Players) -> None:
    assert players.ask([step("import")])[0].words == "imported"


def test_an_ask_that_cannot_cross_is_told(players: Players) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    told = players.ask([reset(word=deep), reset(1, word=print), reset(2), tool("add", 2, a=deep)])
    assert [each.fault for each in told] == ["error", None, None, None]
    assert told[3].misused


def test_an_error_of_one_row_is_its_own_and_all_rows_can_err(players: Players) -> None:
    told = players.ask([reset(i, word="bad" if i == 1 else "good") for i in range(3)])
    assert [each.fault for each in told] == [None, "error", None]
    told = players.ask([reset(i, word="bad") for i in range(3)])
    assert [each.fault for each in told] == ["error"] * 3


def test_answers_come_as_they_are_there(players: Players) -> None:
    players.ask([reset(1)])
    order = [index for index, _ in players.asked([step("wait"), step("say", 1)])]
    assert order == [1, 0]


def test_asks_that_nobody_waits_for_are_given_up(players: Players) -> None:
    players.ask([reset(1)])
    for _ in players.asked([step("hang"), step("say", 1)]):
        break
    assert players.ask([reset(), step("say")])[1].words == "turn 1"


@linux
def test_memory_that_grows_is_capped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmpolicy.rewards.workers.process.MEMORY", 2**29)
    players = Players("game.py:Game", base_dir=folder)
    try:
        told = players.ask([reset(), reset(1), step("grow"), step("say", 1), reset(), step("say")])
        assert told[2].fault == "error" and "MemoryError" in told[2].why
        assert [told[3].words, told[5].words] == ["turn 1", "turn 1"]
    finally:
        players.close()


def test_what_was_not_reset_has_no_process(players: Players) -> None:
    told = players.ask([step("say", 99)])[0]
    assert (told.fault, told.why) == (
        "infrastructure",
        "Game.step has no process: it was not reset",
    )


def test_an_instance_is_made_once_and_reset_often(players: Players) -> None:
    first = players.ask([reset(), step("process")])[1].words
    assert players.ask([reset(), step("process")])[1].words == first
    players.ask([step("raise")])
    assert players.ask([reset(), step("process")])[1].words != first


def test_prints_never_come_between_the_answers(players: Players, tmp_path: Path) -> None:
    said: list[str] = []
    with printed.kept_in(tmp_path / "printed.txt", said.append):
        assert players.ask([step("print"), step("flood")])[1].words == "flooded"
        players.ask([step("say")])
    text = (tmp_path / "printed.txt").read_text()
    assert "printed by the game\n" in text and "forged" in text and "by a child" in text
    assert text.count("x" * 1023) == 300


def test_a_player_holds_nothing_heavy_that_its_class_does_not(players: Players) -> None:
    assert players.ask([step("heavy")])[0].words == "[]"


def test_a_class_that_closes_its_streams_is_heard(players: Players) -> None:
    assert [each.words for each in players.ask([step("mute"), step("say")])] == ["muted", "turn 2"]


def test_threads_and_copies_of_the_process_change_no_answer(players: Players) -> None:
    told = players.ask([step("thread"), step("copy"), step("fork"), step("say")])
    assert [each.words for each in told] == ["threaded", "copied", "forked", "turn 4"]


@linux
@pytest.mark.parametrize("how", ["fork", "daemon"])
def test_what_a_player_started_ends_with_it(players: Players, how: str) -> None:
    before = family()
    players.ask([reset(5), step(how, 5)])
    more = family() - before
    assert len(more) >= 2
    players.ask([step("hang", 5)])
    assert gone(more)


def test_a_lost_zygote_is_replaced(folder: Path) -> None:
    players = Players("game.py:Game", base_dir=folder, seconds=5)
    try:
        players.ask([reset(), reset(1)])
        told = players.ask([step("parent"), step("wait", 1)])
        assert [each.fault for each in told] == ["infrastructure"] * 2
        assert players.ask([reset(), step("say")])[1].words == "turn 1"
        zygote = psutil.Process(players._nursery.worker.pid)  # type: ignore[union-attr]
        zygote.kill()
        assert gone({zygote.pid})
        told = players.ask([step("say"), reset(1), step("say", 1), reset(), step("say")])
        assert [each.fault for each in told] == ["infrastructure", None, None, None, None]
    finally:
        players.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asks=st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["reset", "say", "say", "raise", "leave", "number"])
        ),
        max_size=24,
    )
)
def test_any_order_of_asks_counts_the_turns_of_each_player(
    players: Players, asks: list[tuple[int, str]]
) -> None:
    begin = [(i, "reset") for i in range(3)]
    turns: dict[int, int | None] = {}
    expected = []
    for player, what in [*begin, *asks]:
        before = turns.get(player)
        if what == "reset":
            turns[player], answer = 0, "reset"
        elif before is None:
            answer = "infrastructure"
        else:
            turns[player] = None if what == "leave" else before + 1
            answer = {"leave": "infrastructure", "say": f"turn {before + 1}"}.get(what, "error")
        expected.append(answer)
    calls = [reset(i) if what == "reset" else step(what, i) for i, what in [*begin, *asks]]
    answers = players.ask(calls)
    seen = [
        "reset" if call.what == "reset" and not each.fault else each.fault or each.words
        for call, each in zip(calls, answers, strict=True)
    ]
    assert seen == expected


# --- seeds


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**63))
def test_the_same_seed_is_the_same_game(players: Players, seed: int) -> None:
    asks = [ask for i in range(3) for ask in (reset(i, seed), step("draw", i), step("draw", i))]
    words = [each.words for each in players.ask(asks)]
    assert words[:3] == words[3:6] == words[6:]
    assert words[1] != words[2]


def test_players_share_no_state(players: Players) -> None:
    told = players.ask([reset(1), reset(2), step("say", 1), step("say", 1), step("say", 2)])
    assert [each.words for each in told[2:]] == ["turn 1", "turn 2", "turn 1"]


def test_what_reset_asks_for_by_name(folder: Path) -> None:
    players = Players("game.py:Strict", base_dir=folder)
    try:
        assert players.offer.wants == ("number",) == players.offer.needs
        told = players.ask([reset(number=3, other=1), reset(1, numbr=3)])
        assert told[0].words == "3"
        assert told[1].fault == "error" and told[1].why == (
            "Strict.reset asks for 'number'; did you mean 'numbr'?"
        )
        given = {"text": "hi", "calls": [{"name": "f", "arguments": {"a": 1}}], "token_ids": [5]}
        told = players.ask([reset(number=3), Ask(0, "step", given)])
        assert told[1].words == "async hi[5][ToolCall(name='f', arguments={'a': 1})]"
    finally:
        players.close()


def test_what_making_an_instance_needs_is_imported_once(folder: Path) -> None:
    players = Players("game.py:Lazy", base_dir=folder)
    try:
        told = players.ask([reset(), reset(1)])
        assert told[0].words == told[1].words
    finally:
        players.close()


# --- what is refused


@pytest.mark.parametrize(
    ("source", "tools", "why"),
    [
        ("game.py:Gam", (), "has no 'Gam'; did you mean 'Game'?"),
        ("gme.py:Game", (), "there is no file"),
        ("no_such_module:Game", (), "there is no module 'no_such_module'"),
        ("game.py", (), "should read `module:function` or `path.py:function`"),
        (7, (), "found 7; expected module:name or path.py:name"),
        (
            "game.py:Refusing",
            (),
            f"Environment 'Refusing': (game.py:{REFUSING}) raised KeyError: 'key'",
        ),
        ("exits.py:Game", (), "its process was lost while it was imported"),
        ("raises.py:Game", (), "importing raises.py raised ValueError: x (raises.py:1)"),
        ("game.py:Dies", (), "making it took its process down (exit code 5)"),
        ("game.py:NoReset", (), "'NoReset' has no reset; did you mean 'restart'?"),
        ("game.py:Untyped", (), "Tool 'move' has the parameter 'where' without a type"),
        ("game.py:Undocumented", (), "Tool 'move' has no docstring"),
        ("game.py:Starred", (), "Tool 'move' takes '*where: str'"),
        ("game.py:Odd", (), "Tool 'move' cannot be described to a model"),
        ("game.py:Game", ("game.py:add",), "Two tools are named 'add'"),
        (None, ("game.py:untyped",), "Tool 'untyped' has the parameter 'x' without a type"),
        (None, ("game.py:doubl",), "did you mean 'double'?"),
    ],
)
def test_what_cannot_serve_is_refused_in_a_sentence(
    folder: Path, source: Any, tools: Any, why: str
) -> None:
    before = family()
    with pytest.raises(RecipeError) as caught:
        Players(source, tools=tools, base_dir=folder)
    assert why in str(caught.value) and "\n" not in str(caught.value), caught.value
    assert gone(family() - before)


def test_arguments_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="takes no 'least'"):
        Players("game.py:Game", args={"least": 1}, base_dir=folder)


# --- by value, of a script, of TRL's form


def test_a_class_of_python_crosses_by_value() -> None:
    bonus = 0.5

    class Local:
        def reset(self, prompt: str, **row: Any) -> str:
            return prompt.upper()

        def step(self, reply: str) -> Answer | Done:
            return Done(1.0) if reply == "end" else Answer("on", bonus)

    players = Players(Local)
    try:
        told = players.ask([reset(prompt="p"), step("x"), step("end")])
        assert [each.words for each in told] == ["P", "on", None]
        assert [each.reward for each in told] == [None, 0.5, 1.0]
        with pytest.raises(RecipeError, match="was written in a Python session"):
            replay(players.record(0))
    finally:
        players.close()


TRL_FORM = '''
class CounterEnv:
    def __init__(self):
        self.counter = 0

    def reset(self, **kwargs) -> str | None:
        self.counter = 0
        return "Reach the target."

    def increment(self, step: int) -> int:
        """
        Increment the internal counter.

        Args:
            step: Value to add to the counter.

        Returns:
            The updated counter value.
        """
        self.counter += step
        return self.counter

    def get_reward(self) -> float:
        return float(self.counter == 5)
'''


def test_a_class_of_a_script_in_the_form_of_trl(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        TRL_FORM
        + textwrap.dedent("""
        print("imported")
        if __name__ == "__main__":
            import json, sys
            from llmpolicy.environments.players import Ask, Players, replay
            players = Players(CounterEnv)
            asks = [Ask(0, "reset", {"columns": {"prompt": [{"role": "user", "content": "x"}]}, "seed": 1})]
            asks += [Ask(0, "tool", {"name": "increment", "arguments": {"step": n}}) for n in (2, 3)]
            told = players.ask([*asks, Ask(0, "reward")])
            again = replay(json.loads(json.dumps(players.record(0))))
            players.close()
            assert "torch" not in sys.modules
            print(json.dumps([[each.words, each.reward, each.fault] for each in [*told, again]]))
        """)
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["Reach the target.", None, None],
        ["2", None, None],
        ["5", None, None],
        [None, 1.0, None],
        [None, 1.0, None],
    ], done.stderr
    assert done.stdout.splitlines()[0] == "imported"


# --- replay


def test_a_fault_can_be_written_down_and_replayed(players: Players) -> None:
    players.ask([reset(seed=3), step("say"), tool("peek", place="x"), step("raise")])
    record = json.loads(json.dumps(players.record(0)))
    assert [each["what"] for each in record["asks"]] == ["reset", "step", "tool", "step"]
    assert record["at"]["fault"] == "error"
    told = replay(record)
    assert told.fault == "error" and told.why == record["at"]["why"]


def test_a_reference_finds_a_class_again() -> None:
    assert reference_of(Done) == "llmpolicy.environments.conversation:Done"
    assert reference_of("game.py:Game") == "game.py:Game"
    assert reference_of(lambda: None) is None and reference_of(None) is None


# --- many of them, and their end


@linux
def test_sixty_four_players_start_at_once_and_are_small(folder: Path) -> None:
    players = Players("game.py:Game", base_dir=folder)
    try:
        started = time.perf_counter()
        told = players.ask([reset(i) for i in range(64)])
        seconds = time.perf_counter() - started
        assert all(each.fault is None for each in told)
        assert seconds < 10, seconds  # measured: 0.7 s on two cores
        processes = [psutil.Process(process) for process in family()]
        own = [process.memory_full_info().uss for process in processes]
        assert sorted(own)[len(own) // 2] < 8 * 2**20  # measured: 2.6 MiB
    finally:
        players.close()


@linux
def test_nothing_is_left_after_close(folder: Path) -> None:
    before = family()
    players = Players("game.py:Game", base_dir=folder)
    players.ask([each for i in range(4) for each in (reset(i), step("fork", i), step("daemon", i))])
    mine = family() - before
    assert len(mine) >= 14
    descriptors = psutil.Process().num_fds()
    players.close()
    assert not any(psutil.pid_exists(process) for process in mine)
    assert psutil.Process().num_fds() < descriptors
    players.close()
    assert players.ask([reset()])[0].fault == "infrastructure"


@linux
def test_nothing_is_left_when_the_parent_is_killed(folder: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from llmpolicy.environments.players import Ask, Players
players = Players("game.py:Game", base_dir=Path({str(folder)!r}))
given = {{"columns": {{}}, "seed": 0}}
for i in range(3):
    players.ask([Ask(i, "reset", given), Ask(i, "step", {{"text": "daemon"}})])
print("ready", flush=True)
list(players.asked([Ask(0, "step", {{"text": "hang"}})]))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    mine = {child.pid for child in psutil.Process(parent.pid).children(recursive=True)}
    assert len(mine) >= 8
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(mine)
