"""How a model is read while tokens are chosen: by the reader that serves it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn

from llmpolicy.policies.causal_lm.fast.door import carrying, generation, keeps
from llmpolicy.policies.causal_lm.fast.memory import memory_of
from llmpolicy.policies.causal_lm.fast.patched import patched
from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.quick_lora import lora_forwards
from llmpolicy.policies.causal_lm.fast.read import PaddedReader, Reader, reading_groups
from llmpolicy.policies.causal_lm.fast.read_growing import GrowingReader
from llmpolicy.policies.causal_lm.fast.read_states import RowsReader, StateReader
from llmpolicy.policies.causal_lm.frequencies import grows_past, switches
from llmpolicy.policies.causal_lm.states import limited_steps, unpadded
from llmpolicy.speed import GROUPS, PADDED, STATES, WHOLE

_GROWING = "growing"


@contextmanager
def reading(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    prompt_of: Tensor,
    steps: int,
    pad_id: int,
) -> Iterator[Reader]:
    """The reader of rows of these prompts, (B,) places in them, ready to read: as the door says of
    the model, and as far as lengths decide.
    """
    product, way = Products(), _way(model, [*map(len, prompts)], steps)
    memory = memory_of(model)
    if way == GROUPS and memory is not None and keeps(model) is None:
        with memory.reading(prompts, prompt_of, steps) as reader:
            yield reader
        return
    if way == GROUPS:
        with reading_groups(model, prompts, prompt_of, steps, product) as reader:
            yield reader
        return
    limited = limited_steps(model) if way in (STATES, WHOLE) else nullcontext()
    with limited, patched(model, None, [*lora_forwards(model, product)]):
        if way == STATES:
            yield StateReader(model, prompts, prompt_of, steps)
        elif way == _GROWING:
            make = partial(_padded, model, pad_id)
            yield GrowingReader(make, switches(model), prompts, prompt_of, steps)
        else:
            reader_of = PaddedReader if way == PADDED else RowsReader
            yield reader_of(model, prompts, prompt_of, steps, pad_id)


def _way(model: nn.Module, lengths: list[int], steps: int) -> str:
    if unpadded(model, max(lengths) + steps):
        return carrying(model).name
    return _GROWING if grows_past(model, lengths, steps) else generation(model).name


def _padded(
    model: nn.Module, pad_id: int, prompts: Sequence[Sequence[int]], prompt_of: Tensor, steps: int
) -> Reader:
    return PaddedReader(model, prompts, prompt_of, steps, pad_id)
