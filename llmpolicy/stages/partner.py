"""Whom the model of a recipe talks with: the processes of its environment, and a policy's words."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.environments.asks import Offer
from llmpolicy.environments.dialogue import Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.errors import RecipeError, nearest
from llmpolicy.plan import completion_length
from llmpolicy.recipe import Recipe, dialogue_of, trained_by
from llmpolicy.recipe.blocks import PAID
from llmpolicy.reference import name_of
from llmpolicy.tasks import Row

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy

BESIDES = ("prompt", "seed", "group")
"""What a reset may ask for by name beside the columns of a row."""


def players_of(recipe: Recipe) -> Players:
    """The processes of a recipe's environment, one set for the same environment; RecipeError in one
    sentence for one that cannot be played.
    """
    block = dialogue_of(recipe)
    if block is None:
        raise RecipeError(f"recipe {recipe.name!r} has no environment that a model talks with")
    source, args = block.source
    key = _Key((source, args, block.tools), recipe.base_dir, block.timeout)
    return _players(key)


class _Key:
    """What decides which processes are meant, as the key of a cache."""

    def __init__(self, parts: tuple[Any, Any, Any], base: Path | None, timeout: float) -> None:
        self.parts, self.base, self.timeout = parts, base, timeout
        self.text = json.dumps([parts, str(base), timeout], default=lambda part: str(id(part)))

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


@lru_cache(maxsize=4)
def _players(key: _Key) -> Players:
    source, args, tools = key.parts
    return Players(source, args=args, tools=tools, base_dir=key.base, seconds=key.timeout)


def check_environment(recipe: Recipe, rows: Iterable[Row] = ()) -> Offer | None:
    """What the environment of a recipe's model offers, None where it has none; RecipeError where it
    cannot be asked for what the recipe wants, or asks for what one of the ``rows`` has not.
    """
    block = dialogue_of(recipe)
    if block is None:
        return None
    offer = players_of(recipe).offer
    _check_pay(recipe, pays=offer.has_reward or offer.has_step)
    if block.credit == "turn" and not offer.has_step:
        raise RecipeError("environment.credit is turn, but there is no step that could pay a turn")
    for row in rows:
        _check_row(row, offer, block.source[0])
    return offer


def _check_pay(recipe: Recipe, *, pays: bool) -> None:
    """RecipeError where a recipe takes what its environment pays, and that pays nothing."""
    verifiers = [block.fn for block in recipe.verifiers]
    taken = {
        "`rewards:`": any(entry.fn == PAID["fn"] for entry in recipe.reward_functions),
        "`evaluate: {correct: module:function}`": PAID["fn"] in verifiers,
    }
    for instead, is_taken in taken.items():
        if is_taken and not pays:
            raise RecipeError(
                f"recipe {recipe.name!r}: its environment has neither step nor get_reward, so that"
                f" it pays nothing; expected one of them, or {instead}"
            )


def _check_row(row: Row, offer: Offer, source: Any) -> None:
    """RecipeError where reset asks for what a row has not, or nobody begins its dialogue."""
    if source is None and not row.prompt:
        raise RecipeError(
            "environment: tools alone begin no dialogue; expected `task:`, whose prompts do, or a"
            " class with reset"
        )
    known = {*row.columns, *BESIDES}
    for name in offer.needs:
        if name not in known:
            raise RecipeError(
                f"reset of environment {name_of(source)!r} asks for {name!r}, which row"
                f" {row.index} does not have{nearest(name, known)}"
            )


def dialogue_lines(recipe: Recipe) -> Iterator[str]:
    """The environment of a recipe's model in words: what it can be asked, its tools, and what ends
    a dialogue; nothing where there is none.
    """
    block = dialogue_of(recipe)
    if block is None:
        return
    offer, length = players_of(recipe).offer, completion_length(recipe)
    methods = ["reset", *["step"] * offer.has_step, *["get_reward"] * offer.has_reward]
    name = name_of(block.source[0])
    yield f"environment: {f'{name}: ' + ', '.join(methods) if block.source[0] else 'tools alone'}"
    tools = [tool["function"] for tool in offer.tools]
    signatures = [
        f"{tool['name']}({', '.join(tool['parameters']['properties'])})" for tool in tools
    ]
    yield f"tools: {', '.join(signatures) or 'none'}"
    yield (
        f"at most {block.turns} turns of at most {min(block.reply or length, length)} tokens each,"
        f" {length} tokens in all, what is said to the model included"
    )
    spent = "" if block.seconds is None else f", {block.seconds:g} s of all calls"
    yield (
        f"ends too with a call of more than {block.timeout:g} s{spent}, and with more than"
        f" {block.faults} calls of the model's that cannot be carried out"
    )


def partner_of(recipe: Recipe, policy: "CausalLMPolicy", *, tokens: int | None = None) -> Partner:
    """Whom a policy talks with, in so many ``tokens`` an episode, as in training by default;
    PolicyError where its chat template cannot serve.
    """
    from llmpolicy.policies.causal_lm.speech import speech_of

    block = trained_by(recipe).environment
    assert block is not None
    players = players_of(recipe)
    speech = speech_of(
        policy.codec,
        players.offer.tools,
        chat=block.chat,
        template=block.template,
        tools_in=block.tools_in,
    )
    limits = Limits(
        context=policy.context,
        turns=block.turns,
        tokens=tokens or completion_length(recipe),
        seconds=block.seconds,
        faults=block.faults,
        reply=block.reply,
    )
    patience = inf if block.patience is None else block.patience
    return Partner(players, speech, limits, recipe.seed, patience)


def talking(
    recipe: Recipe, policy: "CausalLMPolicy", *, tokens: int | None = None
) -> Partner | None:
    """The same, None for a recipe of single answers."""
    return partner_of(recipe, policy, tokens=tokens) if dialogue_of(recipe) else None
