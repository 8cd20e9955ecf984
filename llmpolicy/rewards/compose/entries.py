"""From the entries of ``rewards:`` to the tree of the reward; every error names the entry and the
nearest valid thing.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.rewards.compose.check import check
from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.rewards.compose.interval import ANYTHING, Interval
from llmpolicy.rewards.compose.tree import Kind, Node, Role, Term
from llmpolicy.rewards.contract import Component, RewardSpec, default_name

COMPOSITES: tuple[Kind, ...] = ("min", "product", "sum")
SOURCES = ("fn", *COMPOSITES)
OF_A_REWARD = ("args", "style", "timeout")
OF_A_TERM = ("role", "when", "tasks")
KEYS = (*SOURCES, *OF_A_REWARD, "name", "weight", "clip", "relative", *OF_A_TERM)
CHOICES = {"role": get_args(Role), "when": ("correct",), "relative": ("group",)}


@dataclass(frozen=True)
class Entry:
    """One entry of ``rewards:`` as it was written: a reward, or min, product or sum of entries.
    None: not written.
    """

    kind: Kind
    name: str
    where: str
    spec: RewardSpec | None = None
    children: tuple["Entry", ...] = ()
    weight: float | None = None
    clip: tuple[float, float] | None = None
    relative: bool = False
    role: Role | None = None
    when: bool = False
    tasks: tuple[str, ...] | None = None

    @property
    def specs(self) -> Iterator[RewardSpec]:
        """The rewards of this entry."""
        if self.spec is not None:
            yield self.spec
        for child in self.children:
            yield from child.specs


def read_entries(written: Sequence[Any], written_at: Callable[[str], str] = str) -> list[Entry]:
    """Check what stands in ``rewards:``: functions, references, RewardSpecs, or mappings with the
    keys of a recipe.

    ``written_at`` names the place of a dotted key. Raises RecipeError.
    """
    pairs = enumerate(written)
    return [_entry(entry, f"rewards.{index}", written_at, None) for index, entry in pairs]


def _entry(written: Any, key: str, written_at: Callable[[str], str], inside: Kind | None) -> Entry:
    where = written_at(key) or key
    if isinstance(written, RewardSpec):
        name = written.name or default_name(written.fn)
        return Entry("reward", name, where, written, weight=written.weight)
    mapping = written if isinstance(written, Mapping) else {"fn": written}
    data = {name: value for name, value in mapping.items() if value is not None}
    source = _check_keys(data, where, inside)
    kind: Kind = "reward" if source == "fn" else source
    children = []
    for index, child in enumerate(_listed(data[kind]) if kind != "reward" else ()):
        children.append(_entry(child, f"{key}.{kind}.{index}", written_at, kind))
    if kind != "reward" and not children:
        raise RecipeError(f"{where}: {kind} of nothing; expected a list of rewards")
    name = data.get("name") or _default_name(data, kind, children)
    return Entry(
        kind=kind,
        name=name,
        where=where,
        spec=_spec(data) if kind == "reward" else None,
        children=tuple(children),
        weight=_weight(data.get("weight"), name, where),
        clip=_clip(data.get("clip"), name, where),
        relative="relative" in data,
        role=data.get("role"),
        when="when" in data,
        tasks=tuple(_listed(data["tasks"])) if "tasks" in data else None,
    )


def _check_keys(data: Mapping[str, Any], where: str, inside: Kind | None) -> Any:
    """Check what of an entry goes together; the one of `SOURCES` that it is made of."""
    for name in data:
        if name not in KEYS:
            raise RecipeError(f"{where}: unknown key {name!r}{nearest(str(name), KEYS)}")
    sources = [name for name in SOURCES if name in data]
    if len(sources) != 1:
        raise RecipeError(
            f"{where}: a reward is exactly one of {', '.join(SOURCES)}; found"
            f" {' and '.join(sources) or 'none'}"
        )
    for name in OF_A_REWARD:
        if sources != ["fn"] and data.get(name) not in (None, {}, "single"):
            raise RecipeError(
                f"{where}: {name!r} belongs to a reward, not to {sources[0]}; write it beside"
                " its fn"
            )
    outermost = OF_A_TERM if inside == "sum" else (*OF_A_TERM, "weight")
    for name in outermost if inside else ():
        if name in data:
            raise RecipeError(
                f"{where}: {name!r} belongs to an entry of the outermost list, not to one inside"
                f" {inside}"
            )
    for name, allowed in CHOICES.items():
        if name in data and data[name] not in allowed:
            raise RecipeError(
                f"{where}: {name} cannot be {data[name]!r}{nearest(str(data[name]), allowed)}"
            )
    return sources[0]


def _spec(data: Mapping[str, Any]) -> RewardSpec:
    fields = ("weight", "args", "name", "style", "timeout")
    return RewardSpec(data["fn"], **{key: data[key] for key in fields if key in data})


def _default_name(data: Mapping[str, Any], kind: Kind, children: Sequence[Entry]) -> str:
    if kind == "reward":
        return default_name(data["fn"])
    return f"{kind}({', '.join(child.name for child in children)})"


def _weight(weight: Any, name: str, where: str) -> float | None:
    if weight is not None and (isinstance(weight, bool) or not math.isfinite(weight)):
        raise RecipeError(
            f"{where}: {name!r} has weight {weight!r}; expected a finite number (0 = only logged)"
        )
    return weight


def _clip(ends: Any, name: str, where: str) -> tuple[float, float] | None:
    if ends is None:
        return None
    pair = isinstance(ends, list | tuple) and len(ends) == 2
    if not pair or not all(map(_is_finite, ends)) or not ends[0] < ends[1]:
        raise RecipeError(f"{where}: clip of {name!r} is {ends!r}; expected [lowest, highest]")
    return float(ends[0]), float(ends[1])


def _is_finite(end: Any) -> bool:
    number = isinstance(end, int | float) and not isinstance(end, bool)
    return number and math.isfinite(end)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def compose(
    entries: Sequence[Entry],
    components: Sequence[Component],
    *,
    tasks: Sequence[str] = (),
    allow_inversion: bool = False,
) -> Composition:
    """The reward that the entries describe; ``tasks`` names those of the recipe, trained on or held
    out.

    A reward of kind "format" is a gate where the recipe names a correctness part and the entry says
    nothing but how to call it. Raises RecipeError for what cannot be, or lets a wrong answer reach
    a right one.
    """
    ranges = {part.name: part.contract.range for part in components}
    formats = {part.name for part in components if part.contract.kind == "format"}
    named = any(entry.role == "correctness" for entry in entries)
    entries = [_with_role(entry, named and entry.name in formats) for entry in entries]
    composition = Composition(tuple(_term(entry, ranges) for entry in entries), allow_inversion)
    _check_names(composition, entries)
    check(composition, {entry.name: entry.where for entry in entries}, tasks)
    return composition


def _with_role(entry: Entry, gate: bool) -> Entry:
    bare = entry.role is None and entry.weight is None and not entry.when and not entry.relative
    if gate and bare and entry.kind == "reward":
        return replace(entry, role="gate")
    return replace(entry, role=entry.role or "shaping")


def _term(entry: Entry, ranges: Mapping[str, tuple[float, float] | None]) -> Term:
    assert entry.role is not None
    node = _node(entry, ranges)
    looks_at_group = any(below.relative for below in node.all)
    if entry.role == "gate" and entry.weight is not None:
        raise RecipeError(
            f"{entry.where}: the gate {entry.name!r} has weight {entry.weight}; a gate has none: it"
            " opens or closes"
        )
    if entry.role == "correctness" and entry.weight is not None and entry.weight <= 0:
        raise RecipeError(
            f"{entry.where}: the correctness part {entry.name!r} has weight {entry.weight};"
            " expected above 0"
        )
    for key, holds in (("when", entry.when), ("relative", looks_at_group)):
        if holds and entry.role != "shaping":
            raise RecipeError(
                f"{entry.where}: {key!r} goes with shaping, and {entry.name!r} is a {entry.role}"
                " part"
            )
    return Term(node, _or_one(entry.weight), entry.role, entry.when, entry.tasks)


def _or_one(weight: float | None) -> float:
    return 1.0 if weight is None else float(weight)


def _node(entry: Entry, ranges: Mapping[str, tuple[float, float] | None]) -> Node:
    declared = ranges.get(entry.name) if entry.kind == "reward" else None
    return Node(
        name=entry.name,
        kind=entry.kind,
        children=tuple(_node(child, ranges) for child in entry.children),
        weights=tuple(_or_one(child.weight) for child in entry.children),
        declared=Interval(*map(float, declared)) if declared else ANYTHING,
        clip=ANYTHING if entry.clip is None else Interval(*entry.clip),
        relative=entry.relative,
    )


def _check_names(composition: Composition, entries: Sequence[Entry]) -> None:
    seen: set[str] = set()
    for term, entry in zip(composition.terms, entries, strict=True):
        for node in term.node.all:
            if node.name in seen:
                raise RecipeError(
                    f"{entry.where}: two rewards are called {node.name!r}; give one of them another"
                    " `name`"
                )
            seen.add(node.name)
