"""A few dialogues of a recipe, whole, to be read."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from llmpolicy import consent
from llmpolicy.bounded import load_json, read_text
from llmpolicy.environments.players import Told, replay
from llmpolicy.episode import Episode
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.plan import evaluated_length, plan_recipe
from llmpolicy.recipe import dialogue_of, load_recipe
from llmpolicy.run.episodes import turn_rows
from llmpolicy.stages.partner import check_environment, partner_of
from llmpolicy.stages.policy import build_policy, policy_at
from llmpolicy.stages.process import placed, target
from llmpolicy.stages.rest import rest_of
from llmpolicy.terminal import Say, quiet, shown, tell, visible

WIDEST = 9
"""Columns for who speaks."""


def play_recipe(
    source: str,
    overrides: Sequence[str] = (),
    *,
    model: str | None = None,
    n: int = 3,
    greedy: bool = False,
    yes: bool = False,
    say: Say = tell,
) -> list[Episode]:
    """Hold dialogues on the first ``n`` held-out rows of a recipe and print them, the model's own
    words marked; the model is the recipe's, or that of a folder, a run or the Hub. A run stands for
    its recipe and its policy.
    """
    from llmpolicy.evaluation.answers import complete, evaluating

    if model is None and (Path(source) / "manifest.json").is_file():
        source, model = str(Path(source) / "recipe.yaml"), source
    recipe = load_recipe(source, overrides)
    consent.need(f"playing {source}", recipe.model_dump(), recipe.base_dir, yes=yes)
    if dialogue_of(recipe) is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has no dialogues to play; expected `environment:` beside"
            " `model:`"
        )
    quiet()
    if model is not None and (Path(model) / "manifest.json").is_file():
        recipe = rest_of(recipe.within(Path(model)), Path(model))
    plan = plan_recipe(recipe, target=target())
    check_environment(recipe, [*plan.held_out, *plan.train_rows])
    policy = placed(build_policy(recipe) if model is None else policy_at(_folder(model), recipe))
    rows = [*plan.held_out, *plan.train_rows][:n]
    partner = partner_of(recipe, policy, tokens=evaluated_length(recipe))
    draw = torch.Generator().manual_seed(recipe.seed)
    with evaluating(policy), torch.no_grad():
        episodes = complete(policy, rows, greedy=greedy, generator=draw, partner=partner)
    scores = plan.rewards.score([row.sample(e) for row, e in zip(rows, episodes, strict=True)], 1)
    judged = [episode.judged(score) for episode, score in zip(episodes, scores, strict=True)]
    for number, episode in enumerate(judged, start=1):
        for line in lines_of(episode, number, len(judged)):
            say(line)
    return judged


def replay_dialogue(noted: str, *, yes: bool = False) -> str:
    """What an environment says when it is asked again what a noted fault, ``FILE:LINE``, asked; in
    words. RunError where nothing is noted there.
    """
    file, _, line = noted.rpartition(":")
    try:
        record = load_json(read_text(Path(file)).split("\n")[int(line) - 1])
        asks, at, source = record["asks"], record["at"], record["source"]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise RunError(
            f"--replay got {noted!r}; expected FILE:LINE of a dialogue that was noted"
            f" ({type(error).__name__}: {error})"
        ) from error
    block = {"fn": source, "args": record["args"], "tools": record["tools"]}
    consent.need(f"replaying {noted}", {"environment": block}, Path(record["base_dir"]), yes=yes)
    told = replay(record)
    now = f"failed ({told.fault}): {told.why}" if told.fault else _answer(told)
    return "\n".join(
        [
            f"environment {record['named']}, call {len(asks)} since reset: {at['what']}",
            f"given       {visible(str(asks[-1]['given']))[:500]}",
            f"then        failed ({at['fault'] or 'not read'}): {visible(record['why'])}",
            f"now         {visible(now)}",
        ]
    )


def _answer(told: Told) -> str:
    end = f", over ({told.why})" if told.over else ""
    return f"{told.words!r:.500}, reward {told.reward}{end} in {told.seconds:.3f} s"


def _folder(model: str) -> Path:
    """A run's policy, or the folder or Hub id itself."""
    run = Path(model)
    return run / "policy" if (run / "manifest.json").is_file() else run


def lines_of(episode: Episode, number: int, count: int) -> Iterator[str]:
    """A dialogue line by line: what the model wrote behind ``>``, bold where a terminal can."""
    dialogue = episode.dialogue
    assert dialogue is not None
    reward = "not judged" if episode.score.value is None else f"reward {episode.score.value:g}"
    tokens = sum(len(turn.action) for turn in episode.turns)
    why = f" ({visible(dialogue.why)})" if dialogue.why else ""
    yield (
        f"dialogue {number} of {count}, row {episode.row}: {reward}, ended {dialogue.ended}{why},"
        f" {dialogue.turns} turns, {tokens} tokens of its own"
    )
    for row in turn_rows(episode, dialogue):
        yield from _lines(row)
    yield ""


def _lines(row: dict[str, Any]) -> Iterator[str]:
    """A turn, its speaker before the first line."""
    bold = row["own"] and sys.stdout.isatty()
    mark = ">" if row["own"] else " "
    for number, words in enumerate(shown(row["text"]).split("\n")):
        speaker = row["role"] if number == 0 else ""
        line = f"  {speaker:{WIDEST}} {mark} {words}".rstrip()
        yield f"\033[1m{line}\033[0m" if bold else line
