"""A step's size in a terminal of 80 columns."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from llmpolicy.scale.devices import USABLE, Device
from llmpolicy.scale.estimate import Estimate, Load, estimate, products
from llmpolicy.scale.shape import Shape

WORLDS = (1, 8, 64, 512)
RANK = 16


def loads_of(load: Load, *, both: bool) -> dict[str, Load]:
    """The load by how it trains; with ``both`` all weights, and an adapter of rank `RANK`."""
    kinds = (replace(load, rank=0), replace(load, rank=RANK)) if both else (load,)
    return {f"LoRA, rank {kind.rank}" if kind.rank else "all weights": kind for kind in kinds}


def lines(
    name: str,
    shape: Shape,
    load: Load,
    device: tuple[str, Device],
    worlds: Sequence[int],
    *,
    both: bool,
) -> Iterator[str]:
    """What a step comes to, for each of the worlds."""
    on, made = device
    yield (
        f"{name}: {shape.parameters / 1e6:,.1f} million weights\na step: {load.prompts} prompts of"
        f" {load.prompt:,} tokens, {load.group} completions each of up to"
        f" {load.completion:,};\n  layers computed {'twice' if load.again else 'once'}"
    )
    yield (
        f"on {on}: {made.memory / 1e9:.0f} GB of which {USABLE:.0%} are used,"
        f" {made.flops / 1e12:.0f} TFLOP/s of which {made.utilisation:.0%};\n  arithmetic, not"
        " yet run on a GPU (docs/scale.md)"
    )
    yield from _work(shape, load)
    for how, changed in loads_of(load, both=both).items():
        yield f"{how}, a device's GB:"
        yield "    GPUs  weights   grads  Adam  a row  rows fit    KV  split  write + train, s"
        for world in worlds:
            yield _line(shape, changed, made, world)


def _work(shape: Shape, load: Load) -> Iterator[str]:
    shared, apart = (products(shape, load, shared=is_shared) for is_shared in (True, False))
    yield "PFLOP a step:     prompts read once a group    once a completion"
    for part in shared:
        yield f"  {part:<16} {shared[part] / 1e15:>26.3g} {apart[part] / 1e15:>20.3g}"


def _line(shape: Shape, load: Load, device: Device, world: int) -> str:
    found = estimate(shape, load, device, world)
    gigabytes = {part: size / 1e9 for part, size in found.memory.items()}
    start = (
        f"  {world:>6}  {gigabytes['weights']:>7.1f}  {gigabytes['gradients']:>6.1f}"
        f"  {gigabytes['optimiser']:>4.0f}  {found.a_row / 1e9:>5.2f}"
    )
    if fault := lacks(shape, load, device, found):
        return f"{start}  {fault}"
    seconds = f"{found.generation_seconds:,.1f} + {found.update_seconds:,.1f}"
    how = found.writing
    return f"{start}  {found.fits:>8}  {how.cache / 1e9:>4.1f}  {how.split:>5}  {seconds:>16}"


def lacks(shape: Shape, load: Load, device: Device, found: Estimate) -> str:
    """Why nothing can be trained so, in words; empty if something can."""
    fixed = sum(found.memory.values())
    if fixed > device.room:
        return f"too large by {(fixed - device.room) / 1e9:,.0f} GB"
    if not found.fits:
        return f"no room for a row: {(device.room - fixed) / 1e9:.1f} GB are left"
    if not found.writing.at_once:
        return "no room to write: the weights once more, in 16 bits"
    return ""


def to_dict(
    name: str,
    shape: Shape,
    load: Load,
    device: tuple[str, Device],
    worlds: Sequence[int],
    *,
    both: bool,
) -> dict[str, Any]:
    """The same as plain data."""
    on, made = device
    sizes: dict[str, Any] = {}
    for how, changed in loads_of(load, both=both).items():
        rows = [estimate(shape, changed, made, world) for world in worlds]
        sizes[how] = [
            {**row.to_dict(), "lacks": lacks(shape, changed, made, row) or None} for row in rows
        ]
    flops = {
        "shared": products(shape, load, shared=True),
        "apart": products(shape, load, shared=False),
    }
    about = {"model": name, "parameters": shape.parameters, "device": on, "load": asdict(load)}
    return {
        "schema": 1,
        **about,
        "utilisation": made.utilisation,
        "flops": flops,
        "estimates": sizes,
    }
