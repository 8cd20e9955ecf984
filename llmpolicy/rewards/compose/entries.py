"""From the entries of ``rewards:`` to the tree of the reward; every error names the entry and the
nearest valid thing.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.rewards.compose.check import check
from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.rewards.compose.interval import ANYTHING, Interval
from llmpolicy.rewards.compose.tree import Kind, Node, Role, Term
from llmpolicy.rewards.contract import Component, RewardSpec, default_name
from llmpolicy.rewards.declare import Contract

COMPOSITES: tuple[Kind, ...] = ("min", "product", "sum")
SOURCES = ("fn", *COMPOSITES)
OF_A_REWARD = ("args", "style", "timeout")
OF_A_SPEC = ("fn", "weight", "args", "name", "style", "timeout")
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
    clip: Interval = ANYTHING
    relative: bool = False
    role: Role | None = None
    when: bool = False
    tasks: tuple[str, ...] | None = None

    @property
    def factor(self) -> float:
        """The weight, 1 where none was written."""
        if self.weight is None:
            return 1.0
        return float(self.weight)

    @property
    def plain(self) -> bool:
        """Whether it says nothing of a reward but how to call it."""
        terms = self.weight is not None or self.relative or self.role or self.when
        return self.spec is not None and not terms

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
    entries = []
    for index, entry in enumerate(written):
        entries.append(_entry(entry, f"rewards.{index}", written_at, None))
    return entries


def _entry(written: Any, key: str, written_at: Callable[[str], str], inside: Kind | None) -> Entry:
    where = written_at(key) or key
    if isinstance(written, RewardSpec):
        name = written.name or default_name(written.fn)
        return Entry("reward", name, where, written, weight=written.weight)
    if not isinstance(written, Mapping):
        written = {"fn": written}
    data = {name: value for name, value in written.items() if value is not None}
    kind, spec = _check_keys(data, where, inside), None
    children = []
    if kind == "fn":
        kind, name = "reward", data.get("name") or default_name(data["fn"])
        spec = RewardSpec(**{key: data[key] for key in OF_A_SPEC if key in data})
    else:
        for index, child in enumerate(_listed(data[kind])):
            children.append(_entry(child, f"{key}.{kind}.{index}", written_at, kind))
        if not children:
            raise RecipeError(f"{where}: {kind} of nothing; expected a list of rewards")
        name = data.get("name") or f"{kind}({', '.join(child.name for child in children)})"
    return Entry(
        kind=kind,
        name=name,
        where=where,
        spec=spec,
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
    for name in (*OF_A_TERM, "weight"):
        if inside and name in data and (inside, name) != ("sum", "weight"):
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


def _weight(weight: Any, name: str, where: str) -> float | None:
    if weight is not None and (isinstance(weight, bool) or not math.isfinite(weight)):
        raise RecipeError(
            f"{where}: {name!r} has weight {weight!r}; expected a finite number (0 = only logged)"
        )
    return weight


def _clip(ends: Any, name: str, where: str) -> Interval:
    if ends is None:
        return ANYTHING
    pair = isinstance(ends, list | tuple) and len(ends) == 2
    if not pair or not all(map(_is_finite, ends)) or not ends[0] < ends[1]:
        raise RecipeError(f"{where}: clip of {name!r} is {ends!r}; expected [lowest, highest]")
    return Interval(*map(float, ends))


def _is_finite(end: Any) -> bool:
    number = isinstance(end, int | float) and not isinstance(end, bool)
    return number and math.isfinite(end)


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return value
    return [value]


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
    contracts = {part.name: part.contract for part in components}
    named = any(entry.role == "correctness" for entry in entries)
    terms, where = list[Term](), dict[str, str]()
    for entry in entries:
        role = entry.role or "shaping"
        if named and entry.plain and contracts[entry.name].kind == "format":
            role = "gate"
        terms.append(_term(entry, role, contracts))
        where[entry.name] = entry.where
    composition = Composition(tuple(terms), allow_inversion)
    _check_names(composition, entries)
    check(composition, where, tasks)
    return composition


def _term(entry: Entry, role: Role, contracts: Mapping[str, Contract]) -> Term:
    node = _node(entry, contracts)
    looks_at_group = any(below.relative for below in node.all)
    if role == "gate" and entry.weight is not None:
        raise RecipeError(
            f"{entry.where}: the gate {entry.name!r} has weight {entry.weight}; a gate has none: it"
            " opens or closes"
        )
    if role == "correctness" and entry.weight is not None and entry.weight <= 0:
        raise RecipeError(
            f"{entry.where}: the correctness part {entry.name!r} has weight {entry.weight};"
            " expected above 0"
        )
    for key, holds in (("when", entry.when), ("relative", looks_at_group)):
        if holds and role != "shaping":
            raise RecipeError(
                f"{entry.where}: {key!r} goes with shaping, and {entry.name!r} is a {role} part"
            )
    return Term(node, entry.factor, role, entry.when, entry.tasks)


def _node(entry: Entry, contracts: Mapping[str, Contract]) -> Node:
    declared = ANYTHING
    if entry.kind == "reward" and (ends := contracts[entry.name].range):
        declared = Interval(*map(float, ends))
    return Node(
        name=entry.name,
        kind=entry.kind,
        children=tuple(_node(child, contracts) for child in entry.children),
        weights=tuple(child.factor for child in entry.children),
        declared=declared,
        clip=entry.clip,
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
