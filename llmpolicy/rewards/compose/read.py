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
from llmpolicy.rewards.declare import contract_of

COMPOSITES: tuple[Kind, ...] = ("min", "product", "sum")
OF_A_REWARD = ("fn", "args", "style", "timeout")
OF_A_TERM = ("role", "when", "tasks")
KEYS = (*OF_A_REWARD, *COMPOSITES, "name", "weight", "clip", "relative", *OF_A_TERM)
ROLES: tuple[Role, ...] = get_args(Role)


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


def read_entries(given: Sequence[Any], written_at: Callable[[str], str] = str) -> list[Entry]:
    """Check what stands in ``rewards:``: functions, references, RewardSpecs, or mappings with the
    keys of a recipe.

    ``written_at`` names the place of a dotted key. Raises RecipeError.
    """
    return [_entry(one, f"rewards.{index}", written_at, None) for index, one in enumerate(given)]


def _entry(given: Any, key: str, written_at: Callable[[str], str], inside: Kind | None) -> Entry:
    where = written_at(key) or key
    if isinstance(given, RewardSpec):
        return Entry(
            "reward", given.name or default_name(given.fn), where, given, weight=given.weight
        )
    data = dict(given) if isinstance(given, Mapping) else {"fn": given}
    data = {name: value for name, value in data.items() if value is not None}
    for name in data:
        if name not in KEYS:
            raise RecipeError(f"{where}: unknown key {name!r}{nearest(str(name), KEYS)}")
    _check_keys(data, where, inside)
    kind: Kind = next((one for one in COMPOSITES if one in data), "reward")
    children = tuple(
        _entry(one, f"{key}.{kind}.{index}", written_at, kind)
        for index, one in enumerate(_listed(data.get(kind, ())))
    )
    if kind != "reward" and not children:
        raise RecipeError(f"{where}: {kind} of nothing; expected a list of rewards")
    spec = _spec(data) if kind == "reward" else None
    name = data.get("name") or (default_name(data["fn"]) if spec else _joined(kind, children))
    weight = data.get("weight")
    if weight is not None and (isinstance(weight, bool) or not math.isfinite(weight)):
        raise RecipeError(
            f"{where}: {name!r} has weight {weight!r}; expected a finite number (0 = only logged)"
        )
    return Entry(
        kind, name, where, spec, children, weight, _clip(data.get("clip"), name, where), "relative" in data,
        data.get("role"), "when" in data, tuple(_listed(data["tasks"])) if "tasks" in data else None,
    )  # fmt: skip


def _check_keys(data: Mapping[str, Any], where: str, inside: Kind | None) -> None:
    """What of an entry goes together."""
    made_of = [name for name in ("fn", *COMPOSITES) if name in data]
    if len(made_of) != 1:
        found = " and ".join(made_of) or "none"
        raise RecipeError(
            f"{where}: a reward is exactly one of fn, {', '.join(COMPOSITES)}; found {found}"
        )
    for name in OF_A_REWARD[1:]:
        if name in data and data[name] not in ({}, "single") and "fn" not in data:
            raise RecipeError(
                f"{where}: {name!r} belongs to a reward, not to {made_of[0]}; write it beside"
                " its fn"
            )
    if inside:
        for name in (*OF_A_TERM, *(["weight"] if inside != "sum" else [])):
            if name in data:
                raise RecipeError(
                    f"{where}: {name!r} belongs to an entry of the outermost list, not to one"
                    f" inside {inside}"
                )
    for name, allowed in (("role", ROLES), ("when", ("correct",)), ("relative", ("group",))):
        if name in data and data[name] not in allowed:
            raise RecipeError(
                f"{where}: {name} cannot be {data[name]!r}{nearest(str(data[name]), allowed)}"
            )


def _spec(data: Mapping[str, Any]) -> RewardSpec:
    given = {
        key: data[key] for key in ("weight", "args", "name", "style", "timeout") if key in data
    }
    return RewardSpec(data["fn"], **given)


def _clip(given: Any, name: str, where: str) -> tuple[float, float] | None:
    if given is None:
        return None
    if (
        not isinstance(given, list | tuple)
        or len(given) != 2
        or any(
            isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end)
            for end in given
        )
        or not given[0] < given[1]
    ):
        raise RecipeError(f"{where}: clip of {name!r} is {given!r}; expected [lowest, highest]")
    return float(given[0]), float(given[1])


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _joined(kind: Kind, children: Sequence[Entry]) -> str:
    return f"{kind}({', '.join(child.name for child in children)})"


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
    functions = {component.name: component.function for component in components}
    ranges = {name: contract_of(function).range for name, function in functions.items()}
    formats = {
        name for name, function in functions.items() if contract_of(function).kind == "format"
    }
    named = any(entry.role == "correctness" for entry in entries)
    entries = [_with_role(entry, named and entry.name in formats) for entry in entries]
    composition = Composition(tuple(_term(entry, ranges) for entry in entries), allow_inversion)
    _check_names(composition, entries)
    check(composition, {entry.name: entry.where for entry in entries}, tasks)
    return composition


def _with_role(entry: Entry, gate: bool) -> Entry:
    bare = entry.role is None and entry.weight is None and not entry.when and not entry.relative
    return replace(
        entry, role="gate" if gate and bare and entry.kind == "reward" else entry.role or "shaping"
    )


def _term(entry: Entry, ranges: Mapping[str, tuple[float, float] | None]) -> Term:
    assert entry.role is not None
    node = _node(entry, ranges)
    looks_at_group = any(one.relative for one in node.all)
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
    for key, found in (("when", entry.when), ("relative", looks_at_group)):
        if found and entry.role != "shaping":
            raise RecipeError(
                f"{entry.where}: {key!r} goes with shaping, and {entry.name!r} is a {entry.role}"
                " part"
            )
    weight = 1.0 if entry.weight is None else float(entry.weight)
    return Term(node, weight, entry.role, entry.when, entry.tasks)


def _node(entry: Entry, ranges: Mapping[str, tuple[float, float] | None]) -> Node:
    declared = ranges.get(entry.name) if entry.kind == "reward" else None
    return Node(
        name=entry.name,
        kind=entry.kind,
        children=tuple(_node(child, ranges) for child in entry.children),
        weights=tuple(
            1.0 if child.weight is None else float(child.weight) for child in entry.children
        ),
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
