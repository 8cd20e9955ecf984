"""A GRPO step on so many devices: memory by part, products, tokens and seconds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, floor, inf, isfinite
from typing import Any

from llmpolicy.errors import RecipeError
from llmpolicy.scale import memory, work
from llmpolicy.scale.devices import CALL, READING, Device
from llmpolicy.scale.shape import Shape

TILE = 3 * 2**25
"""Bytes of a tile of logits in 16 and in 32 bits, where they are never held whole."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a step trains on: ``prompts`` of ``prompt`` tokens, each with a ``group`` of completions
    of ``completion``; all weights in float32, or an adapter of a ``rank`` on a base in bfloat16.
    """

    prompts: int = 64
    group: int = 8
    prompt: int = 512
    completion: int = 1024
    rank: int = 0
    again: bool = True
    """Whether layers are computed again for the backward pass (gradient checkpointing)."""

    @property
    def rows(self) -> int:
        """Completions a step."""
        return self.prompts * self.group

    @property
    def base(self) -> int:
        """Bytes of a weight of the model."""
        return 2 if self.rank else 4


@dataclass(frozen=True, slots=True)
class Writing:
    """How completions are written: weights in 16 bits shared out among ``split`` devices (tensor
    parallelism), ``at_once`` rows a device of which ``cache`` are bytes of keys and values; 0 where
    nothing fits.
    """

    split: int
    at_once: int
    cache: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A step on ``world`` devices: bytes of one of them by part, those that a row takes in an
    update, and how many rows then fit; seconds, and tokens a second of all.
    """

    world: int
    memory: Mapping[str, float]
    a_row: float
    fits: int
    writing: Writing
    generation_seconds: float
    update_seconds: float
    tokens_a_second: float

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data; what is endless is None."""
        data = asdict(self)
        for name, value in data.items():
            if isinstance(value, float) and not isfinite(value):
                data[name] = None
        return data


def products(shape: Shape, load: Load, *, shared: bool) -> dict[str, float]:
    """FLOPs of a step's generation and update, with prompts read once a group or once a row."""
    how = (load.prompts, load.group, load.prompt, load.completion)
    reads = load.prompts if shared else load.rows
    completions = load.rows * load.completion
    tokens = reads * load.prompt + completions
    # a completion's token sees its prompt and its own row, a prompt's token the prompt
    seen = (reads * load.prompt**2 + completions * (load.prompt + load.completion)) / tokens
    return {
        "generation": work.generation(shape, *how, shared=shared),
        "update": work.update(shape, tokens, seen, completions, again=load.again, rank=load.rank),
    }


def estimate(shape: Shape, load: Load, device: Device, world: int) -> Estimate:
    """A step on ``world`` devices that share weights, gradients and moments out (FSDP); RecipeError
    for a world without a device.
    """
    if world < 1:
        raise RecipeError(f"--world is {world}; expected at least 1 device")
    parts = held(shape, load, world)
    a_row = memory.activations(shape, load.prompt + load.completion, again=load.again)
    how = writing(shape, load, device, world)
    writes = _seconds_of_writing(shape, load, device, world, how)
    flops = products(shape, load, shared=True)["update"]
    updates = flops / (min(world, load.rows) * device.rate)
    return Estimate(
        world,
        parts,
        a_row,
        max(0, floor((device.room - sum(parts.values())) / a_row)),
        how,
        writes,
        updates,
        load.rows * load.completion / (writes + updates),
    )


def held(shape: Shape, load: Load, world: int) -> dict[str, float]:
    """Bytes of one device that do not grow with the batch."""
    weights = memory.weights(shape, width=load.base, world=world)
    if load.rank:
        weights += 4 * shape.lora(load.rank) / world
    elif world == 1:
        weights += 2 * shape.linear  # autocast keeps a copy in 16 bits
    return {
        "weights": weights,
        "gradients": memory.gradients(shape, width=4, world=world, rank=load.rank),
        "optimiser": memory.optimiser(shape, width=4, world=world, rank=load.rank),
        "logits": TILE,
    }


def writing(shape: Shape, load: Load, device: Device, world: int) -> Writing:
    """As few devices as hold the weights beside what training keeps, and a group of rows each."""
    parts = held(shape, load, world)
    room = device.room - parts["weights"] - parts["optimiser"]
    a_row = memory.keys_and_values(shape, load.completion + load.prompt / load.group)
    rows = ceil(load.rows / world)
    split = 1
    while True:
        # one device writes with the weights that it trains
        copy = 0.0 if world == 1 else memory.weights(shape, width=2) / split
        at_once = max(0, floor((room - copy) / a_row))
        if at_once >= min(rows, load.group) or 2 * split > world:
            return Writing(split, at_once, min(rows, at_once) * a_row)
        split *= 2


def _seconds_of_writing(
    shape: Shape, load: Load, device: Device, world: int, how: Writing
) -> float:
    """Prompts are read and rows written, as many at once as fit: a step of decoding takes what its
    weights, keys and values take to read, or its products.
    """
    if not how.at_once:
        return inf
    rows = ceil(load.rows / world)
    batch = min(rows, how.at_once)
    seen = load.prompt + load.completion / 2
    reads = memory.weights(shape, width=2) / how.split
    reads += batch * memory.keys_and_values(shape, seen)
    a_step = max(
        CALL * shape.layers + reads / (device.bandwidth * READING),
        work.forward(shape, batch, seen, batch) / device.rate,
    )
    prompts = ceil(rows / load.group)
    read = work.forward(shape, prompts * load.prompt, load.prompt, prompts)
    return ceil(rows / batch) * load.completion * a_step + read / device.rate
