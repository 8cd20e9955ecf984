"""Dialogues as an environment: the state is what a language model sees, as token ids; its reply is
read, tools are called, a partner answers, and only what is new is written behind the ids held.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, ClassVar, Protocol

import numpy as np

from llmpolicy.environments.asks import Ask, Told
from llmpolicy.environments.base import Outcome
from llmpolicy.environments.conversation import ToolCall, Words
from llmpolicy.environments.exchange import Exchange, paid_by, taken
from llmpolicy.environments.players import Asking, Players
from llmpolicy.environments.prompts import Draw
from llmpolicy.episode import BY_ITSELF, FAILED, Dialogue, Episode, Turn
from llmpolicy.errors import PolicyError, TaskError
from llmpolicy.messages import Conversation, Message, content_text, plain
from llmpolicy.rewards import Rewards
from llmpolicy.tasks import Row
from llmpolicy.types import Action, Prompt


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a dialogue: ``turns`` of the model, ``tokens`` behind the first state, ``seconds``
    of the environment's in all, more than ``faults`` of the model's in calling tools. A reply has
    at most ``reply`` tokens, and all together no more than the model's ``context``.
    """

    turns: int
    tokens: int
    seconds: float | None = None
    faults: int = 3
    reply: int | None = None
    context: int | None = None

    def of_turn(self, room: int) -> int:
        """The most tokens of a turn, where there is room for so many."""
        return min(room, self.reply or room)


class Speech(Protocol):
    """What a policy's tokenizer must know of dialogues."""

    def opening(self, prompt: Prompt) -> list[int]:
        """The ids of the first state, up to where the model begins to speak."""
        ...

    def following(self, held: Sequence[int], messages: Sequence[Message], ended: bool) -> list[int]:
        """The ids of new messages behind a turn of the model's, which ``ended`` by its stop token,
        up to where it speaks again.
        """
        ...

    def read(self, turn: Turn) -> tuple[str, list[ToolCall], str]:
        """The text of a turn, the calls in it, and what is wrong with one that cannot be read."""
        ...


@dataclass(frozen=True)
class Partner:
    """Whom a model talks with: the users' classes in their processes, the words of both sides, and
    what ends it. Dialogues of one row begin with one seed, drawn from ``seed``. Those that are
    answered go on without the others after so many seconds of ``patience``.
    """

    players: Players
    speech: Speech
    limits: Limits
    seed: int = 0
    patience: float = inf

    def seed_of(self, row: Row) -> int:
        """The seed of a row's dialogues."""
        return int(np.random.SeedSequence([self.seed, row.index]).generate_state(1)[0])

    def begun(self, row: Row, told: Told) -> Dialogue:
        """The first state of a row's dialogue, to which the environment said this; one that cannot
        be begun has failed.
        """
        prompt, why = row.prompt, told.why if told.fault is not None else ""
        ids: list[int] = []
        try:
            if not why:
                prompt = opened(prompt, told.words)
            ids = self.speech.opening(prompt) if prompt else []
        except (TaskError, PolicyError) as error:  # words of this dialogue's, not of all
            why = why or f"its beginning cannot be read: {error}"
        room = self.limits.tokens
        if self.limits.context is not None:
            room = min(room, self.limits.context - len(ids))
        if room < 1:
            why = why or (
                f"its dialogue begins with {len(ids)} tokens, which leaves no room for a reply in"
                f" the model's context of {self.limits.context}"
            )
            ids, room = [], 0
        messages = as_messages(prompt)
        dialogue = Dialogue(
            token_ids=ids,
            own=[False] * len(ids),
            messages=messages,
            begun=len(messages),
            room=room,
            most=self.limits.of_turn(room),
            seconds=told.seconds,
        )
        return dialogue.over(FAILED, why) if why else dialogue


@dataclass
class Dialogues:
    """One dialogue for each of these rows, those of a group next to each other, as an environment.

    What was said and how it ended is in the states; `judged` notes where nothing can be known.
    """

    goes_on: ClassVar = True
    """A state is the one before with more behind it, so that a policy may keep what it read."""

    partner: Partner
    rows: Sequence[Row]
    groups: Sequence[int]
    states: list[Dialogue] = field(default_factory=list)
    open: dict[int, Exchange] = field(default_factory=dict)
    """By dialogue, what waits for an answer."""
    asking: Asking = field(init=False)
    left_behind: int = 0
    """How often others went on without one that was asked when they were."""

    def reset(self, seed: int) -> Sequence[Dialogue]:
        """Begin every dialogue; one whose environment fails is over."""
        self.open, self.asking = {}, self.partner.players.asking()
        asks = []
        for player, row in enumerate(self.rows):
            columns = {**row.columns, "prompt": row.prompt}
            given = {"columns": columns, "seed": self.partner.seed_of(row), "group": row.index}
            asks.append(Ask(player, "reset", given))
        told = self.partner.players.ask(asks)
        self.states = list(map(self.partner.begun, self.rows, told))
        return self.states

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """Take one reply in each of these dialogues. What comes back are those that can go on, or
        are over, of these and of such as still waited for an answer.
        """
        asks: list[tuple[int, Ask]] = []
        for row, turn in zip(rows, action.turns, strict=True):
            exchange = self.open[row] = self._heard(row, turn)
            asks += [(row, ask) for ask in exchange.asks]
        self.asking.add(asks)
        answered = self._answered_first(rows)
        states = [self.states[row] for row in answered]
        terminated = [state.ended in BY_ITSELF for state in states]
        truncated = [bool(state.ended) and state.ended not in BY_ITSELF for state in states]
        earned = [state.earned[-1] for state in states]
        return Outcome(states, earned, terminated, truncated, rows=answered)

    def _heard(self, row: int, turn: Turn) -> Exchange:
        """The dialogue with the model's turn in it, and what is to be asked because of it."""
        before, speech = self.states[row], self.partner.speech
        text, calls, problem = speech.read(turn)
        message: Message = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [_as_message(call) for call in calls]
        dialogue = replace(
            before,
            token_ids=[*before.token_ids, *turn.action],
            own=[*before.own, *[True] * len(turn.action)],
            messages=[*before.messages, message],
            room=before.room - len(turn.action),
            earned=[*before.earned, 0.0],
        )
        exchange = Exchange(dialogue, turn.terminated)
        if turn.truncated:
            exchange.dialogue = dialogue.over("tokens", "a reply was cut off")
        elif problem:
            exchange.said.append({"role": "user", "content": f"error: {problem}"})
        elif calls:
            made = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
            heard = {"turn": dialogue.turns, "text": text, "calls": made}
            for call in made:
                exchange.ask(Ask(row, "tool", {**call, "said": heard}))
        elif self.partner.players.offer.has_step:
            said = {"text": text, "calls": [], "token_ids": list(turn.action)}
            exchange.ask(Ask(row, "step", said))
        else:
            exchange.dialogue = dialogue.over("answered")
        return exchange

    def _answered_first(self, asked: Sequence[int]) -> list[int]:
        """The dialogues that are answered: all that were ``asked`` just now, or as many as are
        ``patience`` seconds after the first that can go on. Who is later is left behind, and waited
        for when nobody else is.
        """
        awaited, until = set(asked or self.open), inf
        answered = [row for row in asked if self._closes(row)]
        while self.open:
            if until == inf and any(not self.states[row].ended for row in answered):
                until = time.monotonic() + self.partner.patience
            left = until - time.monotonic()
            if until < inf and (left <= 0 or awaited.isdisjoint(self.open)):
                self.left_behind += len(awaited.intersection(self.open))
                break
            for row, told in self.asking.heard(left):
                self.open[row].told.append(told)
                if self._closes(row):
                    answered.append(row)
        return sorted(answered)

    def _closes(self, row: int) -> bool:
        """Whether all is answered in a dialogue; when it is over, what it earned is asked too."""
        exchange = self.open[row]
        if not exchange.is_answered:
            return False
        state = self.states[row] = self._answered(exchange)
        if state.ended and not state.failed and state.paid is None and not exchange.is_pay:
            if self.partner.players.offer.has_reward:
                exchange = self.open[row] = Exchange(state, ended=True)
                exchange.ask(Ask(row, "reward", _unanswered(state)))
                self.asking.add([(row, exchange.asks[0])])
                return False
            if state.by_turn:
                self.states[row] = replace(state, paid=sum(state.earned))
        del self.open[row]
        return True

    def _answered(self, exchange: Exchange) -> Dialogue:
        """The state after the answers, or the end."""
        dialogue, answers = exchange.dialogue, zip(exchange.asks, exchange.told, strict=True)
        if exchange.is_pay:
            return paid_by(dialogue, exchange.told[0])
        new: list[Message] = []
        for message in exchange.said:
            if message is not None:
                new.append(message)
                dialogue = replace(dialogue, faults=dialogue.faults + 1)
                continue
            ask, answer = next(answers)
            dialogue = taken(dialogue, answer)
            if dialogue.ended:
                break
            if ask.what == "tool":
                new.append(_tool_message(ask.given["name"], str(answer.words or "")))
            else:
                new += as_messages(answer.words or "")
        return dialogue if dialogue.ended else self._going_on(dialogue, new, exchange.ended)

    def _going_on(self, dialogue: Dialogue, new: Sequence[Message], ended: bool) -> Dialogue:
        """The next state, unless a limit is met."""
        limits = self.partner.limits
        dialogue = replace(dialogue, messages=[*dialogue.messages, *new])
        if dialogue.faults > limits.faults:
            return dialogue.over("faults", str(new[-1]["content"]))
        if dialogue.turns >= limits.turns:
            return dialogue.over("turns")
        if limits.seconds is not None and dialogue.seconds > limits.seconds:
            return dialogue.over("seconds")
        try:
            ids = self.partner.speech.following(dialogue.token_ids, new, ended)
        except PolicyError as error:
            return dialogue.over(FAILED, f"what was said cannot be read: {error}")
        room = dialogue.room - len(ids)
        if room < 1:
            return dialogue.over("tokens", "no room is left for a reply")
        return replace(
            dialogue,
            token_ids=[*dialogue.token_ids, *ids],
            own=[*dialogue.own, *[False] * len(ids)],
            room=room,
            most=limits.of_turn(room),
        )

    def faults(self) -> list[dict[str, Any]]:
        """What `players.replay` takes to ask again, and why, for each dialogue that failed."""
        records = []
        for player, state in enumerate(self.states):
            if state.failed:
                records.append({"why": state.why, **self.partner.players.record(player)})
        return records

    def judged(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes, each with its row."""
        pairs = zip(episodes, self.rows, strict=True)
        return [replace(episode, row=row.index) for episode, row in pairs]


class DrawnDialogues(Dialogues):
    """``prompts`` rows a time, each in a group of ``group_size`` dialogues, which the rewards
    judge when all have ended.
    """

    def __init__(
        self,
        partner: Partner,
        source: Sequence[Row],
        rewards: Rewards,
        *,
        prompts: int = 8,
        group_size: int = 8,
    ) -> None:
        self.draw = Draw(source, prompts, group_size)
        self.source, self.rewards = source, rewards
        super().__init__(partner, [], self.draw.groups)

    def reset(self, seed: int) -> Sequence[Dialogue]:
        """Draw rows without repetition, and begin their dialogues."""
        self.rows = self.draw.rows(seed)
        return super().reset(seed)

    def judged(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes, each with its row, and judged."""
        samples = [row.sample(episode) for row, episode in zip(self.rows, episodes, strict=True)]
        scores = self.rewards.score(samples, group_size=self.draw.group_size)
        share = self.rewards.composition.share("environment")
        placed = super().judged(episodes)
        return [episode.judged(score, share) for episode, score in zip(placed, scores, strict=True)]


def opened(prompt: Prompt, words: Words | None) -> Prompt:
    """A row's prompt with what the environment says first: a text goes on with what the user said
    last, as TRL has it; raises TaskError where nothing is said at all.
    """
    if not words:
        if not prompt:
            raise TaskError("reset said nothing, and the row has no prompt; expected one of them")
        return prompt
    if isinstance(prompt, str):
        if not isinstance(words, str):
            raise TaskError("reset said messages where chat is false; expected a text")
        return prompt + words
    options = prompt.options if isinstance(prompt, Conversation) else {}
    messages = list(map(dict, prompt))
    if not isinstance(words, str):
        messages += map(dict, words)
    elif messages and messages[-1]["role"] == "user":
        messages[-1]["content"] = content_text(messages[-1]["content"]) + words
    else:
        messages.append({"role": "user", "content": words})
    return Conversation(messages, **options)


def as_messages(words: Words) -> list[Message]:
    """What is said as messages; a text is the user's."""
    return [{"role": "user", "content": words}] if isinstance(words, str) else plain(words)


def _as_message(call: ToolCall) -> Message:
    function = {"name": call.name, "arguments": dict(call.arguments)}
    return {"type": "function", "function": function}


def _unanswered(dialogue: Dialogue) -> dict[str, Any]:
    """What the model said last, where nothing has been said to that; it may be cut off."""
    last = dialogue.messages[-1]
    if last["role"] != "assistant":
        return {}
    return {"said": {"turn": dialogue.turns, "text": content_text(last["content"]), "calls": []}}


def _tool_message(name: str, content: str) -> Message:
    return {"role": "tool", "name": name, "content": content}
