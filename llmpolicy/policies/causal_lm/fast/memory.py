"""What a model has read, kept from one turn of a dialogue to the next: keys and values of each row,
and of each prompt once.

A row of a later call that begins with the tokens of one that is held, prompt and action, is read
from there on; any other is read whole. Rows are found by their tokens alone, so what is kept can
change nothing but the time that is taken.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.as_written import structure
from llmpolicy.policies.causal_lm.fast.first_pass import HeldPrompt, HeldRow
from llmpolicy.policies.causal_lm.fast.patched import Forward, patched
from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.read import GroupReader, Reader, group_forwards
from llmpolicy.policies.causal_lm.forward import bare

_memories: WeakKeyDictionary[nn.Module, "Memory"] = WeakKeyDictionary()


@contextmanager
def remembering(model: nn.Module) -> Iterator["Memory"]:
    """While it lasts the generator keeps what this model reads and writes, for rows that go on.

    No weight may change meanwhile: it is for one rollout. All is let go of in the end.
    """
    inner = bare(model)
    if (memory := _memories.get(inner)) is not None:
        yield memory
        return
    memory = _memories[inner] = Memory(model)
    try:
        yield memory
    finally:
        del _memories[inner]
        memory.clear()


def memory_of(model: nn.Module) -> "Memory | None":
    """The memory that lasts, None if there is none."""
    return _memories.get(bare(model))


class Memory:
    """Rows that were read, by their tokens, those of the last action included."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.state = model, _state(model)
        self.rows: dict[tuple[int, ...], HeldRow] = {}
        self.counts: Counter[tuple[int, ...]] = Counter()
        """How many rows have the same tokens, which are held once."""
        self.left: dict[int, HeldRow] = {}  # of the call that was just read, by number
        self.forwards: list[Forward] = []
        self.reader: GroupReader | None = None

    def drop(self, token_ids: Sequence[int]) -> None:
        """Let go of a row that has ended: its prompt, its last action, and all between."""
        self._count(tuple(token_ids), 1)

    def clear(self) -> None:
        """Let go of all."""
        self.rows.clear()
        self.counts.clear()
        self.left.clear()
        self.forwards.clear()
        self.reader = None

    def check(self) -> None:
        """Raise PolicyError if what is held is not what the model would read now."""
        if self.state != _state(self.model):
            raise PolicyError(
                "weights, adapters or modules of the model changed while what it has read is"
                " remembered; expected one memory for each rollout, begun after the update"
            )

    def take(self, sequences: Sequence[Sequence[int]], rows: Counter[int]) -> list[HeldRow | None]:
        """The longest of what is held that each of these begins with, for so many rows of it."""
        lengths = sorted({len(key) for key in self.rows}, reverse=True)
        taken: list[HeldRow | None] = []
        for number, ids in enumerate(sequences):
            keys = (tuple(ids[:length]) for length in lengths if length <= len(ids))
            key = next((key for key in keys if key in self.rows), None)
            taken.append(None if key is None else self.rows[key])
            if key is not None:
                self._count(key, rows[number])
        return taken

    def _count(self, key: tuple[int, ...], rows: int) -> None:
        self.counts[key] -= rows
        if self.counts[key] <= 0:
            del self.counts[key]
            self.rows.pop(key, None)

    def keep(self, turns: Sequence[Turn]) -> None:
        """Hold what was read of the rows of a call that has ended in these turns."""
        left, self.left = self.left, {}
        for number, row in left.items():
            key = (*turns[number].state, *turns[number].action)
            # The last token was not read; others were after it, if the host looked late.
            row.behind = len(key) - 1 - row.prompt.length
            if key not in self.rows:
                layers = row.layers.items()
                row.layers = {
                    name: (keys[:, : row.behind], values[:, : row.behind])
                    for name, (keys, values) in layers
                }
                self.rows[key] = row
            self.counts[key] += 1

    # reading

    @contextmanager
    def reading(
        self, prompts: Sequence[Sequence[int]], prompt_of: Tensor, steps: int
    ) -> Iterator[Reader]:
        """The reader of rows of these sequences, which go on from what is held."""
        self.check()
        if not self.forwards:  # weights are packed once
            self.forwards = group_forwards(self.model, self._attend, Products())
        held = self.take(prompts, Counter(prompt_of.tolist()))
        self.reader = GroupReader(self.model, prompts, prompt_of, steps, held)
        del held
        reader = TurnReader(self.reader)
        try:
            with patched(self.model, self._attend, self.forwards):
                yield reader
            reader.leave(prompt_of[:0])
            self.left = reader.left
        finally:
            self.reader = None

    def _attend(self, *arguments: Any) -> Tensor:
        assert self.reader is not None
        return self.reader.attend(*arguments)


class TurnReader:
    """A reader by groups that lays aside what was read of rows that have ``left``, by number."""

    def __init__(self, reader: GroupReader) -> None:
        self.reader, self.left = reader, dict[int, HeldRow]()
        self.numbers = list(range(len(reader.prompt_of)))
        self.prompts_of_rows: list[HeldPrompt] = []

    def prompts(self) -> Tensor:
        """The logits after each sequence, (D, V)."""
        logits = self.reader.prompts()
        kept = self.reader.begun.held_prompts()
        self.prompts_of_rows = [kept[index] for index in self.reader.buffer.prompt_of.tolist()]
        return logits

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        return self.reader.tokens(token)

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        places = going.tolist()
        for index in sorted({*range(len(self.numbers))} - {*places}):
            number = self.numbers[index]
            layers = self.reader.buffer.row(index)
            behind = next(iter(layers.values()))[0].shape[1]
            self.left[number] = HeldRow(self.prompts_of_rows[number], behind, layers)
        self.numbers = [self.numbers[index] for index in places]
        if places:
            self.reader.leave(going)


def _state(model: nn.Module) -> int:
    """A number that changes with the weights, with what adapters are on, and with modules."""
    weights: list[Any] = []
    for parameter in model.parameters():
        weights += (parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            weights += (module.disable_adapters, module.merged, *module.active_adapters)
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    return hash((*weights, structure(model), autocast))
