"""Tasksets of verifiers: what is said and what is paid is compared with an episode that verifiers
plays by itself, with a provider that says the same; what cannot be played is refused in words.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmpolicy.environments.players import Ask, Players
from llmpolicy.environments.verifiers import Rollout
from llmpolicy.errors import RecipeError
from llmpolicy.recipe import Recipe

pytestmark = pytest.mark.skipif(
    find_spec("verifiers") is None,
    reason="verifiers is not installed: pip install 'llmpolicy[verifiers]'",
)

TASKSETS = Path(__file__).parent / "tasksets"
Message = dict[str, Any]


@pytest.fixture(autouse=True)
def tasksets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TASKSETS))


@pytest.fixture(scope="module")
def playing() -> Iterator[Callable[..., Players]]:
    """Players of a taskset, which take seconds to import it, once for all tests."""
    made: dict[str, Players] = {}

    def make(name: str, **args: Any) -> Players:
        key = json.dumps([name, args])
        if key not in made:
            block = {"environment": {"verifiers": name, "args": args}, "model": "bundled"}
            source, given = Recipe.model_validate(block).environment.source
            made[key] = Players(source, args=given, seconds=60)
        return made[key]

    yield make
    for each in made.values():
        each.close()


def say(text: str, *calls: tuple[str, dict[str, Any]]) -> Message:
    """A message of the model's, as chat completions have it."""
    message: Message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for number, (name, arguments) in enumerate(calls)
        ]
    return message


def sell(text: str, *counts: int) -> Message:
    return say(text, *(("store_sell", {"count": count}) for count in counts))


def asks_of(message: Message, turn: int, player: int = 0) -> list[Ask]:
    """What a dialogue asks of a player when the model has said this."""
    calls = [
        {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
        for call in message.get("tool_calls", ())
    ]
    text = message["content"]
    said = {"turn": turn, "text": text, "calls": calls}
    tools = [Ask(player, "tool", {**call, "said": said}) for call in calls]
    return tools or [Ask(player, "step", {"text": text})]


def plain(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(each["role"], each.get("content") or "") for each in messages]


def played(players: Players, row: int, messages: Sequence[Message]) -> dict[str, Any]:
    """An episode of ours: what the model read before each of its messages, and what was paid."""
    told = players.ask([Ask(0, "reset", {"seed": 0, "columns": {"row": row}})])[0]
    assert told.fault is None, told
    held, asked = list(told.words), []
    for turn, message in enumerate(messages, 1):
        asked.append(plain(held))
        held.append(message)
        for answer in players.ask(asks_of(message, turn)):
            assert answer.fault is None, answer
            if answer.over:
                assert turn == len(messages)
                return {"asked": asked, "reward": answer.reward, "why": answer.why}
            role = "tool" if message.get("tool_calls") else "user"
            words = [{"role": role, "content": answer.words}]
            held += words if isinstance(answer.words, str) else answer.words
    paid = players.ask([Ask(0, "reward")])[0]
    assert paid.fault is None, paid
    return {"asked": asked, "reward": paid.reward, "why": "max_turns"}


CASES: list[tuple[str, int, list[Message]]] = [
    ("vf_sums", 1, [say("6")]),
    ("vf_sums", 4, [say("I do not know.")]),
    ("vf_rounds", 1, [say("4, please")] + [say("4")]),
    ("vf_rounds", 0, [say("1"), say("2"), say("9")]),
    ("vf_rounds", 2, [say("5")]),
    ("vf_store", 1, [sell("I sell.", 2), say("Done.")]),
    ("vf_store", 1, [sell("", 1, 1), sell("And now too many:", 9, 1), say("Done.")]),
    ("vf_store", 3, [sell("All at once.", 6)]),
    ("vf_store", 0, [say("There is nothing to sell.")]),
]
CUT: list[tuple[str, int, list[Message]]] = [
    ("vf_rounds", 0, [say("2, please")]),
    ("vf_store", 2, [sell("I sell.", 1), sell("And more.", 2)]),
]
"""Dialogues that would go on."""


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    """The cases, played by verifiers alone."""
    cases = [
        {"name": name, "row": row, "messages": said, "turns": len(said) if case in CUT else None}
        for case in [*CASES, *CUT]
        for name, row, said in [case]
    ]
    done = subprocess.run(
        [sys.executable, str(TASKSETS / "own.py")],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TASKSETS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(CASES) + len(CUT)))
def test_it_says_and_pays_what_verifiers_does_alone(
    case: int, alone: list[dict[str, Any]], playing: Callable[..., Players]
) -> None:
    name, row, said = [*CASES, *CUT][case]
    theirs = alone[case]
    assert theirs["ok"], theirs
    ours = played(playing(name), row, said)
    assert ours["asked"] == [plain(each["messages"]) for each in theirs["asked"]]
    assert ours["reward"] == pytest.approx(theirs["reward"], abs=1e-12)
    assert ours["why"] == theirs["why"]


def test_the_tools_are_those_that_verifiers_names(playing: Callable[..., Players]) -> None:
    (tool,) = playing("vf_store").offer.tools
    assert tool["function"]["name"] == "store_sell"
    assert tool["function"]["description"] == "Sell so many."
    assert tool["function"]["parameters"]["properties"]["count"]["type"] == "integer"


def test_the_seed_chooses_the_row_and_args_are_the_tasksets(
    playing: Callable[..., Players],
) -> None:
    game = playing("vf_sums", first=100)
    told = game.ask([Ask(0, "reset", {"seed": seed}) for seed in (1, 6, 2)])
    questions = [each.words[-1]["content"] for each in told]
    assert questions == ["101 + 101?", "101 + 101?", "102 + 102?"]


def test_what_cannot_score_an_episode_without_a_reply_is_not_judged(
    playing: Callable[..., Players],
) -> None:
    told = playing("vf_rounds").ask([Ask(0, "reset", {"seed": 0}), Ask(0, "reward")])
    assert told[1].fault == "error" and "division by zero" in told[1].why
    assert playing("vf_sums").ask([Ask(0, "reset", {"seed": 0}), Ask(0, "reward")])[1].reward == 1.0


def test_a_reply_that_was_cut_off_is_scored_too(playing: Callable[..., Players]) -> None:
    first = Ask(0, "reset", {"seed": 1})
    cut = {"said": {"turn": 1, "text": "6", "calls": []}}
    told = playing("vf_sums").ask([first, Ask(0, "reward", cut), first, Ask(0, "reward", cut)])
    assert [told[1].reward, told[3].reward] == [2.5, 2.5]
    cut = {"said": {"turn": 2, "text": "4 please", "calls": []}}
    told = playing("vf_rounds").ask([first, *asks_of(say("9"), 1), Ask(0, "reward", cut)])
    assert told[2].reward == 0.5
    told = playing("vf_rounds").ask([first, *asks_of(say("9"), 1), Ask(0, "reward")])
    assert told[2].reward == 0.0


def test_episodes_of_players_do_not_mix(playing: Callable[..., Players]) -> None:
    game = playing("vf_store")
    first = [Ask(player, "reset", {"seed": 3}) for player in (0, 1)]
    told = game.ask(
        [*first, *asks_of(sell("", 3), 1, 0), *asks_of(sell("", 1), 1, 1), first[0]]
        + asks_of(sell("", 2), 1, 0)
    )
    assert [told[index].words for index in (2, 3, 5)] == ["4 LEFT", "6 LEFT", "5 LEFT"]


def test_what_fails_in_it_is_not_judged(playing: Callable[..., Players]) -> None:
    first = Ask(0, "reset", {"seed": 0})
    told = playing("vf_broken").ask([first, Ask(0, "step", {"text": "?"}), first])
    assert told[1].fault == "error" and "nobody knows" in told[1].why
    assert told[1].reward is None and told[2].fault is None
    told = playing("vf_twice").ask([first, Ask(0, "step", {"text": "6"})])
    assert told[1].fault == "error" and "in another conversation" in told[1].why


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("vf_none", {}, "verifiers has no taskset 'vf_none'"),
        ("vf_two", {}, "has the seats left, right; expected one"),
        ("vf_broken", {"how": "image"}, "'vf_broken' needs a container"),
        ("vf_broken", {"how": "empty"}, "has no rows"),
        ("vf_sums", {"last": 3}, "'vf_sums' cannot be played: .*last"),
        ("vf_sums", {"task": {"judges": [{"id": "reference"}]}}, "needs a base_url, or the key"),
        ("vf_store", {"task": {"tools": {"runtime": {"type": "docker"}}}}, "run in docker"),
        ("harbor", {}, "cannot be played"),
    ],
)
def test_what_cannot_be_played_is_refused_in_words(
    name: str, args: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRIME_API_KEY", raising=False)
    with pytest.raises(RecipeError, match=words) as refusal:
        Rollout(name, **args)
    assert "\n" not in str(refusal.value)
