"""What a user's class offers: which of its methods are tools, and how they are described to a
model; read in a process of the class's own.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmpolicy.environments.asks import Offer
from llmpolicy.errors import RecipeError, nearest
from llmpolicy.reference import name_of

Tool = Callable[..., Any]

OWN = ("reset", "step", "get_reward")
"""The methods of a conversation that are no tools."""

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def offer(instance: Any, functions: Sequence[Tool]) -> Offer:
    """What an instance (None: there is none) and functions beside it offer; RecipeError for a class
    without reset, or a tool that cannot be described.
    """
    offered = tools(instance, functions)
    if instance is None:
        return Offer([_schema(tool) for tool in offered.values()], False, False, ())
    reset = _reset(instance)
    described = [_schema(tool) for tool in offered.values()]
    parameters = inspect.signature(reset).parameters.values()
    taken = tuple(each.name for each in parameters if each.kind in NAMED)
    return Offer(
        described,
        has_step=callable(getattr(instance, "step", None)),
        has_reward=callable(getattr(instance, "get_reward", None)),
        wants=None if any(each.kind is each.VAR_KEYWORD for each in parameters) else taken,
        needs=tuple(
            each.name for each in parameters if each.kind in NAMED and each.default is each.empty
        ),
    )


def _reset(instance: Any) -> Callable[..., Any]:
    """The method that begins an episode; RecipeError where there is none."""
    reset = getattr(instance, "reset", None)
    if callable(reset):
        return reset
    methods = [name for name in dir(instance) if not name.startswith("_")]
    raise RecipeError(
        f"Environment {type(instance).__name__!r} has no reset{nearest('reset', methods)}; it"
        " begins every episode"
    )


def check_arguments(make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """RecipeError where a class does not take its ``args``, or needs more of them."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # of a class in another language
        return
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    named = {each.name: each for each in signature.parameters.values() if each.kind in NAMED}
    for name in arguments:
        if name not in named and inspect.Parameter.VAR_KEYWORD not in kinds:
            hint = nearest(name, named) or "; it takes none"
            raise RecipeError(f"environment.args: {name_of(make)!r} takes no {name!r}{hint}")
    for name, parameter in named.items():
        if name not in arguments and parameter.default is parameter.empty:
            beside = "" if inspect.isclass(make) else ", or `tools:` where it is a tool"
            raise RecipeError(
                f"environment.args: {name_of(make)!r} needs {name!r}; write `args: {{{name}: ...}}`"
                f"{beside}"
            )


def tools(instance: Any, functions: Sequence[Tool]) -> dict[str, Tool]:
    """The functions by name, and the public methods of an instance, those of base classes first;
    RecipeError where two are of one name.
    """
    offered: dict[str, Tool] = {name: getattr(instance, name) for name in _methods(type(instance))}
    for function in functions:
        name = name_of(function)
        if name in offered:
            raise RecipeError(
                f"Two tools are named {name!r}; expected one of each name, so rename one of them"
            )
        offered[name] = function
    return offered


def _methods(kind: type) -> list[str]:
    """Names of public methods, in order of definition."""
    if kind is type(None):
        return []
    names: dict[str, None] = {}
    for base in reversed(kind.__mro__[:-1]):
        names.update(dict.fromkeys(vars(base)))
    callables = (staticmethod, classmethod)
    return [
        name
        for name in names
        if not name.startswith("_")
        and name not in OWN
        and (
            inspect.isfunction(item := inspect.getattr_static(kind, name))
            or isinstance(item, callables)
        )
    ]


def _schema(tool: Tool) -> dict[str, Any]:
    """As transformers describes a tool to a chat template; a parameter that the docstring leaves
    out is described by its name.
    """
    name = name_of(tool)
    if not (inspect.getdoc(tool) or "").strip():
        raise RecipeError(
            f"Tool {name!r} has no docstring, which is what the model reads of it; write one, or"
            f" begin its name with _ where it is no tool"
        )
    _check_parameters(name, tool)
    from transformers.utils import chat_template_utils as templates

    if "torch" not in sys.modules:  # it would be imported, to tell a tensor by its type
        templates.is_torch_available = lambda: False
    try:
        return dict(templates.get_json_schema(_documented(tool, templates)))
    except Exception as error:
        words = " ".join(str(error).split())
        raise RecipeError(f"Tool {name!r} cannot be described to a model: {words:.300}") from error


def _check_parameters(name: str, tool: Tool) -> None:
    for parameter in inspect.signature(tool).parameters.values():
        if parameter.kind not in NAMED:
            raise RecipeError(
                f"Tool {name!r} takes {str(parameter)!r}; expected parameters that have a name each"
            )
        if parameter.annotation is parameter.empty:
            raise RecipeError(
                f"Tool {name!r} has the parameter {parameter.name!r} without a type; expected one"
                f" such as `{parameter.name}: str`"
            )


def _documented(tool: Tool, templates: Any) -> Tool:
    """The tool with a docstring that has a line for each parameter."""
    description, lines, returns = templates.parse_google_format_docstring(inspect.getdoc(tool))
    parameters = inspect.signature(tool).parameters
    if set(parameters) <= set(lines):
        return tool

    @functools.wraps(tool)
    def documented(*arguments: Any, **more: Any) -> Any:
        return tool(*arguments, **more)

    text = [description or "", "", "Args:"]
    text += [f"    {each}: {lines.get(each) or each.replace('_', ' ')}" for each in parameters]
    text += ["", "Returns:", f"    {returns}"] if returns else []
    documented.__doc__ = "\n".join(text)
    return documented


def misuse(schemas: Sequence[Mapping[str, Any]], name: str, arguments: Any) -> str:
    """What is wrong with a model's call of a tool, in a clause for the model; empty where nothing
    is.
    """
    try:
        return _misuse(schemas, name, arguments)
    except RecursionError:
        return f"the arguments of {name:.80} are nested too deeply"


def _misuse(schemas: Sequence[Mapping[str, Any]], name: str, arguments: Any) -> str:
    known = {schema["function"]["name"]: schema["function"]["parameters"] for schema in schemas}
    if name not in known:
        return (
            f"there is no tool {name!r:.80}{nearest(str(name)[:80], known) or '; there are none'}"
        )
    if not isinstance(arguments, Mapping):
        return f"the arguments of {name} are {arguments!r:.80}; expected an object of named values"
    properties, required = known[name]["properties"], known[name].get("required", ())
    for argument in arguments:
        if argument not in properties:
            hint = nearest(str(argument)[:80], properties) or "; it takes none"
            return f"{name} has no argument {argument!r:.80}{hint}"
    for argument in required:
        if argument not in arguments:
            return f"{name} needs the argument {argument!r}"
    for argument, value in arguments.items():
        if not _fits(properties[argument], value):
            expected = _kind(properties[argument])
            return f"the argument {argument!r} of {name} is {value!r:.80}; expected {expected}"
    return ""


def _kind(schema: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in schema.items() if key != "description"}
    if "enum" in plain:
        return f"one of: {', '.join(map(repr, plain['enum']))}"
    return str(plain["type"]) if plain.keys() == {"type"} else str(plain)


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is of a schema as transformers writes them."""
    import jsonschema

    try:
        return bool(jsonschema.Draft202012Validator(_standard(schema)).is_valid(value))
    except jsonschema.exceptions.UnknownType:  # of an image: no schema says how a model writes one
        return True


def _standard(schema: Any) -> Any:
    """The schema in the standard's own words, which have no ``nullable``."""
    if isinstance(schema, list):
        return [_standard(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: _standard(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("nullable") is True else inner
