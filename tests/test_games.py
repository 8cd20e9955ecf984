"""Environments by name: each plays a real one of its library, where that is installed, in the
processes of players; where it is not, one sentence says what to install.
"""

import math
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmpolicy.environments.players import Ask, Players, Told
from llmpolicy.environments.textarena import games
from llmpolicy.errors import RecipeError
from llmpolicy.recipe import Recipe
from llmpolicy.recipe.loop import BY_NAME

EXTRAS = {name: name for name in ("textarena", "gem", "openenv", "verifiers")}


def needs(library: str) -> pytest.MarkDecorator:
    reason = f"{library} is not installed: pip install 'llmpolicy[{EXTRAS[library]}]'"
    return pytest.mark.skipif(find_spec(library) is None, reason=reason)


def players(library: str, name: str, **args: Any) -> Players:
    """As a recipe names them."""
    block = {"environment": {library: name, "args": args}, "model": "bundled"}
    environment = Recipe.model_validate(block).environment
    source, given = environment.source
    return Players(source, args=given, seconds=60)


def said(players: Players, *replies: str, seed: int = 0) -> list[Told]:
    """What is said to these replies, after what is said first."""
    asks = [Ask(0, "reset", {"seed": seed})]
    asks += [Ask(0, "step", {"text": reply}) for reply in replies]
    told = players.ask(asks)
    assert not any(each.fault for each in told), told
    return told


def by_halves(players: Players, written: str, low: int, high: int, seed: int = 0) -> Told:
    """The end of a game of higher and lower, played as well as it can be."""
    told = said(players, seed=seed)[0]
    while not told.over:
        middle = (low + high) // 2
        told = players.ask([Ask(0, "step", {"text": written.format(middle)})])[0]
        assert told.fault is None, told
        if "higher" in str(told.words):
            low = middle + 1
        else:
            high = middle - 1
    return told


@pytest.fixture
def playing() -> Iterator[Callable[..., Players]]:
    made: list[Players] = []

    def make(*names: str, **args: Any) -> Players:
        made.append(players(*names, **args))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("library", EXTRAS)
def test_what_is_not_installed_says_what_to_install(library: str) -> None:
    blocked = (
        f"import sys; sys.modules[{library!r}] = None; import llmpolicy.environments.extras as e"
    )
    code = (
        f"{blocked}\nsource = {BY_NAME[library]!r}.split(':')\n"
        "import importlib\nkind = getattr(importlib.import_module(source[0]), source[1])\n"
        "from llmpolicy.errors import RecipeError\n"
        "try:\n    kind('http://127.0.0.1:9')\nexcept RecipeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == (
        f"environment {library}: {library} is not installed;"
        f" `pip install 'llmpolicy[{EXTRAS[library]}]'`"
    ), done.stderr


def test_every_name_of_a_recipe_has_its_class_and_its_extra() -> None:
    extras = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    for library, source in BY_NAME.items():
        module, _, name = source.partition(":")
        assert find_spec(module) and name
        assert library == "reasoning_gym" or f"\n{EXTRAS[library]} = [" in extras


def test_reasoning_gym_asks_and_judges(playing: Callable[..., Players]) -> None:
    game = playing("reasoning_gym", "gcd")
    question = str(said(game, seed=3)[0].words)
    assert said(game, seed=3)[0].words == question != said(game, seed=4)[0].words
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    right = math.gcd(*numbers)
    assert said(game, str(right), seed=3)[1].reward == 1.0
    end = said(game, f"I think <answer>{right}</answer>.", seed=3)[1]
    assert (end.reward, end.over, end.why) == (1.0, True, "right")
    assert said(game, "none", seed=3)[1].reward == 0.0


def test_reasoning_gym_gives_more_tries(playing: Callable[..., Players]) -> None:
    game = playing("reasoning_gym", "basic_arithmetic", tries=2)
    told = said(game, "no", "no")
    assert [each.over for each in told] == [False, False, True]
    assert "try again" in told[1].words


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [("gdc", {}, "did you mean 'gcd'"), ("gcd", {"numbers": 3}, "refuses these args")],
)
def test_reasoning_gym_refuses_in_words(name: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        players("reasoning_gym", name, **args)


@needs("textarena")
def test_textarena_is_played_to_its_end(playing: Callable[..., Players]) -> None:
    game = playing("textarena", "GuessTheNumber-v0")
    first = said(game)[0]
    assert "between 1 and 20" in str(first.words)
    told = said(game, "I say [25]", "nothing")  # two invalid moves in a row end it
    assert "invalid move" in str(told[1].words) and told[2].over
    end = by_halves(game, "[{}]", 1, 20)
    assert end.reward == 1.0 and "Congratulations" in end.why


@needs("textarena")
def test_textarena_says_only_what_is_new(playing: Callable[..., Players]) -> None:
    game = playing("textarena", "GuessTheNumber-v0-train", max_number=1000)
    words = said(game, "500")[1].words  # this variant puts the brackets
    assert words in ("The target number is higher.", "The target number is lower.")


@needs("textarena")
def test_textarena_follows_the_seed(playing: Callable[..., Players]) -> None:
    game = playing("textarena", "GuessTheNumber-v0", max_number=1000)
    guesses = [f"[{guess}]" for guess in range(100, 1000, 100)]

    def answers(seed: int) -> list[Any]:
        return [told.words for told in said(game, *guesses, seed=seed)]

    games = [answers(seed) for seed in range(6)]
    assert games == [answers(seed) for seed in range(6)]
    assert any(each != games[0] for each in games)


@needs("textarena")
@pytest.mark.parametrize(
    ("name", "words"),
    [("GuessANumber-v0", "did you mean 'GuessTheNumber-v0'"), ("TicTacToe-v0", "by one player")],
)
def test_textarena_refuses_in_words(name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        players("textarena", name)


@needs("textarena")
def test_textarena_names_the_dictionary_of_a_game() -> None:
    import nltk

    try:
        nltk.data.find("corpora/words")
    except LookupError:
        with pytest.raises(RecipeError, match="`python -m nltk.downloader words`"):
            players("textarena", "Hangman-v0")
    else:
        players("textarena", "Hangman-v0").close()


@needs("gem")
def test_gem_is_played_to_its_end(playing: Callable[..., Players]) -> None:
    game = playing("gem", "game:GuessTheNumber-v0-hard")
    assert "between 1 and 50" in str(said(game)[0].words)
    end = by_halves(game, r"\boxed{{{}}}", 1, 50)
    assert end.reward == 1.0 and "Congratulations" in end.why
    bad = said(game, "no number")[1]
    assert bad.over and bad.reward < 1
    same = [said(game, r"\boxed{25}", seed=seed)[1].words for seed in (5, 5)]
    assert same[0] == same[1]


@needs("gem")
def test_gem_pays_each_turn(playing: Callable[..., Players]) -> None:
    game = playing("gem", "game:Mastermind-v0-hard")
    told = said(game, r"\boxed{1234}", r"\boxed{5678}")
    assert all(each.reward is not None for each in told[1:]), told


@needs("gem")
def test_gem_refuses_in_words() -> None:
    with pytest.raises(RecipeError, match="did you mean 'game:Mastermind-v0-hard'"):
        players("gem", "game:Mastermind-v0-har")


SERVER = """
import random, sys
import uvicorn
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class Guess(Action):
    message: str


class Hint(Observation):
    hint: str = ""
    turn: int = 0


class Game(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **_):
        self.number, self.turn = random.Random(seed).randint(1, 50), 0
        return Hint(hint="1 to 50?", done=False, reward=None)

    def step(self, action, timeout_s=None, **_):
        self.turn += 1
        guess = int(action.message)
        if guess == self.number:
            return Hint(hint="found", turn=self.turn, done=True, reward=1.0)
        return Hint(
            hint="higher" if guess < self.number else "lower", turn=self.turn, reward=-0.01
        )

    @property
    def state(self):
        return State(step_count=self.turn)


uvicorn.run(
    create_fastapi_app(Game, Guess, Hint, max_concurrent_envs=8),
    host="127.0.0.1", port=int(sys.argv[1]), log_level="error",
)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """A game of higher and lower that OpenEnv serves on the loopback."""
    file = tmp_path_factory.mktemp("server") / "served.py"
    file.write_text(SERVER, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(file), str(port)])
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    yield address, process
    process.kill()
    process.wait()


@needs("openenv")
def test_openenv_is_played_over_the_loopback(
    server: tuple[str, Any], playing: Callable[..., Players]
) -> None:
    game = playing("openenv", server[0], observation="hint")
    told = said(game, "25", seed=1)
    assert told[0].words == "1 to 50?"
    assert told[1].words in ("higher", "lower") and told[1].reward == -0.01
    end = by_halves(game, "{}", 1, 50, seed=1)
    assert (end.reward, end.why) == (1.0, "found")
    together = game.ask([Ask(player, "reset", {"seed": 2}) for player in range(4)])
    assert [each.words for each in together] == ["1 to 50?"] * 4
    told = game.ask([Ask(1, "step", {"text": "no number"})])
    assert told[0].fault == "error" and "invalid literal" in told[0].why


@needs("openenv")
def test_openenv_says_all_fields_where_none_is_named(
    server: tuple[str, Any], playing: Callable[..., Players]
) -> None:
    game = playing("openenv", server[0])
    assert said(game)[0].words == '{"hint": "1 to 50?", "turn": 0}'


@needs("openenv")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"action": "text"}, "actions have no 'text'; expected one of: message, metadata"),
        ({"observation": "hnt"}, "observations have no 'hnt'; did you mean 'hint'"),
    ],
)
def test_openenv_refuses_fields(server: tuple[str, Any], args: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        players("openenv", server[0], **args)


@needs("openenv")
def test_openenv_names_the_limit_of_sessions(
    server: tuple[str, Any], playing: Callable[..., Players]
) -> None:
    game = playing("openenv", server[0])
    told = game.ask([Ask(player, "reset", {"seed": 0}) for player in range(10)])
    late = [each.why for each in told if each.fault]
    assert len(late) >= 2 and all("max_concurrent_envs" in why for why in late)


@needs("openenv")
def test_openenv_says_where_no_server_is() -> None:
    with pytest.raises(RecipeError, match="no server answers there"):
        players("openenv", "http://127.0.0.1:9")
    with pytest.raises(RecipeError, match="expected the address of a running server"):
        players("openenv", "openenv/echo-env")


@needs("openenv")
def test_openenv_whose_server_ends_is_not_judged(
    server: tuple[str, Any], playing: Callable[..., Players]
) -> None:
    game = playing("openenv", server[0])
    said(game)
    server[1].kill()
    server[1].wait()
    told = game.ask([Ask(0, "step", {"text": "25"}), Ask(0, "reset", {"seed": 0})])
    assert [each.fault for each in told] == ["error", "error"]
    assert [each.reward for each in told] == [None, None]


@needs("textarena")
def test_games_of_any_move_show_how_to_speak_and_not_how_to_win() -> None:
    moves = ["[accept]", "[continue]"]
    before = random.getstate()
    rows = list(games("Secretary-v0", moves, n=300, N=3))
    assert random.getstate() == before
    assert rows == list(games("Secretary-v0", moves, n=300, N=3))
    said = [[message["content"] for message in row["messages"]] for row in rows]
    assert {len(each) for each in said} == {2, 4, 6}
    assert all("You will observe 3 hidden values" in each[0] for each in said)
    assert len({each[0] for each in said}) > 250
    values = {move: [] for move in moves}  # type: dict[str, list[float]]
    for each in said:
        for words, move in zip(each[::2], each[1::2], strict=True):
            values[move].append(float(words.rpartition(" is ")[2].removesuffix(".")))
    for shown in values.values():  # as often, and at whatever value
        assert sum(shown) / len(shown) == pytest.approx(0.5, abs=0.08)
        assert len(shown) == pytest.approx(sum(map(len, values.values())) / 2, rel=0.2)
