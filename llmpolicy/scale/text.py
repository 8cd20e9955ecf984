"""A step's size in a terminal of 80 columns."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmpolicy.scale.devices import DEVICES, USABLE, Device
from llmpolicy.scale.estimate import Estimate, Load, estimate, products
from llmpolicy.scale.shape import Shape

WORLDS = (1, 8, 64, 512)
RANK = 16
"""Of the adapter that is told where no recipe asks for one."""


@dataclass(frozen=True)
class Scale:
    """A model, what its step trains on, a device by its name, and how many of them; ``both`` where
    all weights and an adapter are told rather than what the load asks for.
    """

    name: str
    shape: Shape
    load: Load
    device: str
    worlds: Sequence[int]
    both: bool

    @property
    def loads(self) -> dict[str, Load]:
        """The load by how it trains."""
        kinds: Sequence[Load] = (self.load,)
        if self.both:
            kinds = (replace(self.load, rank=0), replace(self.load, rank=RANK))
        return {f"LoRA, rank {kind.rank}" if kind.rank else "all weights": kind for kind in kinds}

    def __str__(self) -> str:
        """As lines for a terminal."""
        return "\n".join(_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        shape, device = self.shape, DEVICES[self.device]
        sizes: dict[str, Any] = {}
        for how, load in self.loads.items():
            rows = [estimate(shape, load, device, world) for world in self.worlds]
            sizes[how] = [{**row.to_dict(), "lacks": lacks(device, row) or None} for row in rows]
        flops = {
            "shared": products(shape, self.load, shared=True),
            "apart": products(shape, self.load, shared=False),
        }
        about = {"model": self.name, "parameters": shape.parameters, "device": self.device}
        about |= {"utilisation": device.utilisation, "load": asdict(self.load)}
        return {"schema": 1, **about, "flops": flops, "estimates": sizes}


def _lines(scale: Scale) -> Iterator[str]:
    shape, load, device = scale.shape, scale.load, DEVICES[scale.device]
    yield f"{scale.name}: {shape.parameters / 1e6:,.1f} million weights"
    yield (
        f"a step: {load.prompts} prompts of {load.prompt:,} tokens, {load.group} completions each"
        f" of up to {load.completion:,};"
    )
    yield f"  layers computed {'twice' if load.again else 'once'}"
    yield (
        f"on {scale.device}: {device.memory / 1e9:.0f} GB of which {USABLE:.0%} are used,"
        f" {device.flops / 1e12:.0f} TFLOP/s of which {device.utilisation:.0%};"
    )
    yield "  arithmetic, not yet run on a GPU (docs/scale.md)"
    yield from _work(shape, load)
    for how, kind in scale.loads.items():
        yield f"{how}, a device's GB:"
        yield "    GPUs  weights   grads  Adam  a row  rows fit    KV  split  write + train, s"
        for world in scale.worlds:
            yield _line(device, estimate(shape, kind, device, world))


def _work(shape: Shape, load: Load) -> Iterator[str]:
    shared, apart = (products(shape, load, shared=is_shared) for is_shared in (True, False))
    yield "PFLOP a step:     prompts read once a group    once a completion"
    for part in shared:
        yield f"  {part:<16} {shared[part] / 1e15:>26.3g} {apart[part] / 1e15:>20.3g}"


def _line(device: Device, row: Estimate) -> str:
    gigabytes = {part: size / 1e9 for part, size in row.memory.items()}
    start = (
        f"  {row.world:>6}  {gigabytes['weights']:>7.1f}  {gigabytes['gradients']:>6.1f}"
        f"  {gigabytes['optimiser']:>4.0f}  {row.a_row / 1e9:>5.2f}"
    )
    if fault := lacks(device, row):
        return f"{start}  {fault}"
    seconds = f"{row.generation_seconds:,.1f} + {row.update_seconds:,.1f}"
    how = row.writing
    return f"{start}  {row.fits:>8}  {how.cache / 1e9:>4.1f}  {how.split:>5}  {seconds:>16}"


def lacks(device: Device, row: Estimate) -> str:
    """Why nothing can be trained so, in words; empty if something can."""
    fixed = sum(row.memory.values())
    if fixed > device.room:
        return f"too large by {(fixed - device.room) / 1e9:,.0f} GB"
    if not row.fits:
        return f"no room for a row: {(device.room - fixed) / 1e9:.1f} GB are left"
    if not row.writing.at_once:
        return "no room to write: the weights once more, in 16 bits"
    return ""
