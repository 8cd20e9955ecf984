# ruff: noqa: BLE001
"""What tests that are programs see of the program that they test, which is not there: they run in a
sandbox of their own.

What they ask of it is written down and answered elsewhere (`perform`). As long as there is no
answer they go on with a stand-in that agrees with everything, to find out what else they will ask.
This text runs behind `wire` and in front of `stage_tools` and `stage_tests`.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .wire import pack, unpack


_DECIDED = 200


class Refused(BaseException):
    """The tests do what cannot be done here; the message says what."""


class Lost(BaseException):
    """What comes next hangs on an answer that is not there yet."""


class Desk:
    """What one test asks, and what was answered so far; ``null``: a value that answers everything,
    to see what tests hold.
    """

    def __init__(
        self, answers: "list[tuple[Any, Any]]", null: "tuple[Any, ...]" = (), careful: bool = True
    ) -> None:
        self.answers = answers
        self.null = null
        self.asked: list[Any] = []
        self.guessing = False
        self.checks = 0
        self.kept = self.decided = 0
        self.careful = careful
        self.expected: set[str] = set()

    def ask(self, what: str, *parts: "Any") -> "Any":
        """The answer to an operation, or a stand-in for it."""
        packed = [what, *(pack(part, _reference) for part in parts)]
        number = len(self.asked)
        if self.guessing and self.careful and any(map(self._tells, packed)):
            raise Lost
        self.asked.append(packed)
        if self.null:
            return self.null[0]
        if self.guessing or number >= len(self.answers) or self.answers[number][0] != packed:
            self.kept = self.kept if self.guessing else number
            self.guessing = True
            return Thing("unknown", number, _is_built(packed))
        return _answered(self.answers[number][1], number, packed, parts)

    def decide(self) -> None:
        """Take an answer that is not there yet for true; Lost after so many that it may be a loop
        without end.
        """
        self.decided += 1
        if self.decided > _DECIDED:
            raise Lost

    def expect(self, value: "Any") -> None:
        """Remember what an answer that is not there yet is compared with: no earlier call may see
        it as an argument.
        """
        try:
            self.expected.add(repr(pack(value, _reference)))
        except (Refused, Lost):
            return

    def _tells(self, packed: "Any") -> bool:
        if isinstance(packed, dict):
            packed = list(packed.values())
        if isinstance(packed, list) and any(map(self._tells, packed)):
            return True
        return not _is_common(packed) and repr(packed) in self.expected


def _is_common(packed: "Any") -> bool:
    """A value that turns up everywhere, so that seeing it tells nothing."""
    if isinstance(packed, str):
        return len(packed) < 4
    if isinstance(packed, list | dict):
        return not packed
    return packed is None or (abs(packed) < 1000 and packed == int(packed))


desk = Desk([])


def is_guessing() -> bool:
    """Whether an answer is missing at the desk in use."""
    return desk.guessing


def sit(seat: Desk) -> None:
    """Whatever is asked from now on is asked at this desk."""
    global desk
    desk = seat


def _is_built(packed: "list[Any]") -> bool:
    """Whether an object comes from a class of the program that the tests name, or is made of
    such.
    """
    what, *parts = packed
    if what != "call" or type(parts[0]) is not dict:
        return False
    ref = parts[0].get("ref")
    return type(ref) is str and ref[:1].isupper()


def _answered(
    answer: "dict[str, Any]", number: int, packed: "list[Any]", parts: "tuple[Any, ...]"
) -> "Any":
    if "raised" in answer:
        raise _raised(answer["raised"], answer["said"])
    for position, now in answer["changed"].items():
        _change(parts[1][int(position)], unpack(now, lambda ref: None))
    built = _is_built(packed)

    def refer(ref: "Any") -> Thing:
        return Thing("object", number if ref == [number, 0] else ref, built)

    return unpack(answer["value"], refer)


def _change(held: "Any", now: "Any") -> None:
    if type(held) is list or type(held) is bytearray:
        held[:] = now
    elif type(held) is dict or type(held) is set:
        held.clear()
        held.update(now)


def _raised(names: "list[str]", message: str) -> BaseException:
    """An exception as the program raised it: of a class of Python's, or of one that is named
    alike.
    """
    kind = next(filter(None, map(_class_of, names)), Exception)
    if _class_of(names[0]) is None:
        kind = type(names[0].rpartition(".")[2], (kind,), {})
    try:
        return kind(message)
    except Exception:
        error = kind.__new__(kind)
        error.args = (message,)
        return error


def _class_of(name: str) -> "type[BaseException] | None":
    module, _, last = name.rpartition(".")
    if module == "solution":
        return errors.get(last)
    kind = getattr(sys.modules.get(module), last, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None


errors: "dict[str, type[BaseException]]" = {}


def _reference(value: "Any") -> "Any":
    if type(value) is Thing and value._kind != "derived":
        return value._ref
    for name, error in errors.items():
        if value is error:
            return name
    if desk.guessing and type(value) is Thing:
        raise Lost
    raise Refused(f"hand the program a {type(value).__name__}, which cannot be carried over")


class Thing:
    """Something of the program's, seen from the tests: a name, an object, an answer not known yet,
    or what derives from one.
    """

    def __init__(self, kind: str, ref: "Any" = None, built: bool = False) -> None:
        self.__dict__.update(_kind=kind, _ref=ref, _built=built)

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__":
            raise AttributeError(name)
        return Thing("derived") if self._kind == "derived" else desk.ask("get", self, name)

    def __setattr__(self, name: str, value: "Any") -> None:
        if self._kind != "derived":
            desk.ask("set", self, name, value)

    def __call__(self, *args: "Any", **named: "Any") -> "Any":
        if self._kind == "derived":
            return Thing("derived")
        return desk.ask("call", self, list(args), named)

    def __instancecheck__(self, value: "Any") -> "Any":
        if type(value) is not Thing:
            return False
        return value._kind == "derived" or desk.ask("isinstance", value, self)


_COMPARED = dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "contains", "bool"), True)
_PLAIN = {"len": 1, "int": 1, "float": 1.0, "index": 1, "str": "?", "repr": "?", "format": "?"}
_PAIRS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul")
_ALONE = ("neg", "abs", "round", "invert")
_KEYED = ("getitem", "setitem", "delitem")
_WALKED = ("iter", "next", "enter", "exit", "hash")


def _dunder(name: str) -> "Callable[..., Any]":
    def method(asked: Thing, *operands: "Any") -> "Any":
        if asked._kind == "name":
            return _of_name(name, asked, operands)
        if asked._kind == "object":
            return _of_object(name, asked, operands)
        return _of_unknown(name, asked, operands)

    return method


for _name in (
    *_COMPARED,
    *_PLAIN,
    *_PAIRS,
    *(f"r{_pair}" for _pair in _PAIRS),
    *_ALONE,
    *_KEYED,
    *_WALKED,
):
    setattr(Thing, f"__{_name}__", _dunder(_name))


def _of_name(name: str, asked: Thing, operands: "tuple[Any, ...]") -> "Any":
    if name == "hash":
        return hash(asked._ref)
    if name in ("eq", "ne") and operands[0] is asked:
        return name == "eq"
    value = desk.ask("value", asked)
    return getattr(value, f"__{name}__")(*operands)


def _of_unknown(name: str, asked: Thing, operands: "tuple[Any, ...]") -> "Any":
    if name in ("eq", "ne") and type(operands[0]) is Thing and (asked._built or operands[0]._built):
        raise Refused(
            "compare objects of the program's own classes, which only the program itself could do"
        )
    if name == "eq":
        desk.expect(operands[0])
    elif name in _COMPARED:
        desk.decide()
    if name in _COMPARED or name in _PLAIN:
        return {**_COMPARED, **_PLAIN}[name]
    if name in ("next", "exit", "setitem", "delitem"):
        return None
    if name == "iter":
        return iter(())
    if name == "hash":
        return id(asked)
    return asked if name == "enter" else Thing("derived")


def _of_object(name: str, asked: Thing, operands: "tuple[Any, ...]") -> "Any":
    """An operation on an object; what is expected stands beside it and must not reach it, so it is
    equal to itself alone.
    """
    if name in ("eq", "ne"):
        return (type(operands[0]) is Thing and operands[0]._ref == asked._ref) is (name == "eq")
    if name == "hash":
        return hash(str(asked._ref))
    if name == "iter":
        return iter(desk.ask("list", asked))
    if name == "getitem":
        return desk.ask(name, asked, *operands)
    if name in ("len", "bool", "str", "repr", "next", "enter", "exit"):
        return desk.ask(name, asked)
    if not asked._built or name in ("lt", "le", "gt", "ge", "index", "format"):
        raise TypeError(f"an object of the program's own has no {name} here")
    sides = (asked, *operands)
    if name not in _PAIRS and name.removeprefix("r") in _PAIRS:
        name, sides = name.removeprefix("r"), (operands[0], asked)
    result = desk.ask(f"{name}_" if name in ("and", "or") else name, *sides)
    if type(result) is Thing:
        result.__dict__["_built"] = True
    return result


def check_softly(body: "Callable[[], Any]") -> "Any":
    """Do what may fail; while guessing, its failure says nothing."""
    desk.checks += 1
    try:
        return body()
    except Exception:
        if not desk.guessing:
            raise
        return Thing("derived")


def counted() -> None:
    desk.checks += 1


def soft() -> None:
    if isinstance(sys.exc_info()[1], MemoryError):
        raise Refused("need too much memory")
    if not desk.guessing:
        raise
