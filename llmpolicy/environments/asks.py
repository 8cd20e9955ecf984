"""What is asked of a player, and what it tells; a player is a process in which an instance of a
user's class lives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmpolicy.environments.conversation import Words
from llmpolicy.types import Fault

What = Literal["reset", "step", "tool", "reward"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a user's class can be asked: its tools as JSON schemas, in order of definition, and
    which methods it has.

    ``wants`` are the names that its reset takes (None: all columns, by ``**row``), ``needs`` those
    of them that it cannot do without.
    """

    tools: list[dict[str, Any]]
    has_step: bool
    has_reward: bool
    wants: tuple[str, ...] | None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a player. What is ``given``: to ``reset`` columns, seed, group; to ``step`` text,
    calls (records of name and arguments), token_ids; to ``tool`` name, arguments, and the turn that
    it is ``said`` in (its number, text, calls); to ``reward`` the last turn, where nobody answered.
    """

    player: int
    what: What
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an ask: words for the model, a reward, whether the episode is over, and why.

    ``fault`` is the environment's: it raised, hung or died, and its episode cannot be judged.
    ``misused`` is the model's: it called a tool in a way that is answered to it in ``words``.
    """

    words: Words | None = None
    reward: float | None = None
    over: bool = False
    why: str = ""
    fault: Fault | None = None
    seconds: float = 0.0
    misused: bool = False
