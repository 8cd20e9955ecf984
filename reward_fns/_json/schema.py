"""Does a JSON value have the shape of a schema? jsonschema, without the network and without
backtracking.
"""

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from llmpolicy.rewards import RewardError
from llmpolicy.strict_json import NotJson, read

from .._text.regex import compiled, encodable
from .document import identity

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def misfit(value: Any, schema: Any, where: str) -> str:
    """What about the value does not fit the schema, "" when it fits; RewardError, from ``where``,
    for no schema.
    """
    validator = _validator(_as_text(schema, where), where)
    from referencing.exceptions import Unresolvable

    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as unresolved:
        raise RewardError(
            f"{where}: the schema refers to {unresolved.ref!r}, and holds no such thing."
        ) from None
    except RecursionError:
        raise RewardError(f"{where}: the schema refers to itself without end.") from None
    if error is None:
        return ""
    return f"the value{_path(error)} breaks {error.validator!r} of the schema"


def _path(error: Any) -> str:
    return "".join(f"[{part!r}]" for part in error.absolute_path)


def _as_text(schema: Any, where: str) -> str:
    if isinstance(schema, str):
        return schema
    try:
        return json.dumps(schema, sort_keys=True, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardError(f"{where}: the schema is no JSON: {error}.") from error


@lru_cache(maxsize=256)
def _validator(text: str, where: str) -> Any:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing.jsonschema import EMPTY_REGISTRY

    try:
        schema = read(text)
    except NotJson as error:
        raise RewardError(f"{where}: the schema is no JSON: {error}.") from error
    if not isinstance(schema, dict | bool):
        raise RewardError(f"{where}: the schema is {text:.60}; expected an object.")
    draft = validator_for(schema, default=Draft202012Validator)
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise RewardError(
            f"{where}: this is no JSON schema: schema{_path(error)} holds {error.instance!r:.80}."
        ) from error
    ids = {name.rstrip("#") for name in _texts(schema, "$id", "id")}
    for ref in _texts(schema, "$ref", "$dynamicRef"):
        if "://" in ref and ref.partition("#")[0] not in ids:
            raise RewardError(
                f"{where}: the schema refers to {ref!r}; nothing is fetched, so put it under"
                " '$defs'."
            )
    return _hardened(draft)(schema, registry=EMPTY_REGISTRY, format_checker=_formats())


@lru_cache
def _hardened(draft: Any) -> Any:
    """The draft's validator with every keyword replaced that could take long, or errs, on a text of
    the model's.
    """
    from jsonschema.validators import extend

    checks = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "multipleOf": _multiple_of,
    }
    for name in set(checks).difference(draft.VALIDATORS):
        del checks[name]
    return extend(draft, checks)


@lru_cache
def _formats() -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=["date", "time", "email", "ipv4", "ipv6", "uuid"])
    checker.checks("date-time", raises=ValueError)(_is_date_time)
    return checker


def _is_date_time(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    return _DATE_TIME.fullmatch(value) is not None and bool(
        datetime.datetime.fromisoformat(value.upper())
    )


def _found(pattern: str, text: str) -> bool:
    return compiled(pattern, "A JSON schema").search(encodable(text)) is not None


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _found(pattern, value):
        yield _error("no match")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(value, dict):
        for pattern, inner in patterns.items():
            for key in value:
                if _found(pattern, key):
                    yield from validator.descend(value[key], inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for key in value:
            if key not in known and not any(_found(pattern, key) for pattern in patterns):
                yield from validator.descend(value[key], inner, path=key)


def _unique_items(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
    if wanted and isinstance(value, list) and len({identity(item) for item in value}) < len(value):
        yield _error("the same item twice")


def _multiple_of(validator: Any, step: Any, value: Any, schema: Any) -> Iterator[Any]:
    # As decimals: 0.3 is a multiple of 0.1, which it is not in binary.
    if validator.is_type(value, "number") and Fraction(repr(value)) % Fraction(repr(step)):
        yield _error("no multiple")


def _texts(schema: Any, *keys: str) -> Iterator[str]:
    """The texts under these keys of any object in a schema."""
    inner: Iterable[Any] = schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        inner = schema.values()
        yield from (schema[key] for key in keys if isinstance(schema.get(key), str))
    for part in inner:
        yield from _texts(part, *keys)
