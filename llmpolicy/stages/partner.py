"""Whom the model of a recipe talks with: the processes of its environment, and a policy's words."""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.environments.asks import Offer
from llmpolicy.environments.dialogue import Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.errors import RecipeError
from llmpolicy.plan import completion_length
from llmpolicy.recipe import EnvironmentBlock, Recipe, trained_by

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def block_of(recipe: Recipe) -> EnvironmentBlock | None:
    """The environment that the model of a recipe talks with; None where it writes one answer."""
    return recipe.environment if recipe.model is not None else None


def players_of(recipe: Recipe) -> Players:
    """The processes of a recipe's environment, one set for the same environment; RecipeError in one
    sentence for one that cannot be played.
    """
    block = block_of(recipe)
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


def check_environment(recipe: Recipe) -> Offer | None:
    """What the environment of a recipe's model offers, None where it has none; RecipeError where it
    cannot be asked for what the recipe wants.
    """
    block = block_of(recipe)
    if block is None:
        return None
    offer = players_of(recipe).offer
    pays = offer.has_reward or offer.has_step
    if not pays and any(entry.fn == "environment:paid" for entry in recipe.reward_functions):
        raise RecipeError(
            f"recipe {recipe.name!r}: its environment has neither step nor get_reward, so that it"
            " pays nothing; expected one of them, or `rewards:`"
        )
    if block.credit == "turn" and not offer.has_step:
        raise RecipeError("environment.credit is turn, but there is no step that could pay a turn")
    return offer


def partner_of(recipe: Recipe, policy: "CausalLMPolicy") -> Partner:
    """Whom a policy talks with; PolicyError where its chat template cannot serve."""
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
        tokens=completion_length(recipe),
        seconds=block.seconds,
        faults=block.faults,
        reply=block.reply,
    )
    return Partner(players, speech, limits, recipe.seed)


def talking(recipe: Recipe, policy: "CausalLMPolicy") -> Partner | None:
    """The same, None for a recipe of single answers."""
    return None if block_of(recipe) is None else partner_of(recipe, policy)
