"""Whose code a recipe runs: what ran here by the user's own word is remembered by content; for the
rest the user is asked.

`train` and `check-reward` run the code that they are told to run. What reads (explain, evaluate, a
replay, a run that goes on by its own recipe) asks before it runs code whose content this user has
not run on this machine.
"""

import ast
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from llmpolicy.errors import ConsentError
from llmpolicy.provenance.files import installed, written_files
from llmpolicy.recipe import Recipe
from llmpolicy.reference import SHIPPED, shipped_names
from llmpolicy.run.paths import functions_in
from llmpolicy.run.sealed import Facts
from llmpolicy.signals import is_main
from llmpolicy.terminal import again, ask, visible

REFERENCE = re.compile(r"(?:[\w.]+|.*\.py):[\w.]+", re.DOTALL)
"""A text among arguments that may name a function."""

OWN = Path(__file__).resolve().parent
COME_ALONG = (SHIPPED, OWN / "bundled", OWN / "tools", OWN / "environments" / "guess.py")
"""Folders, and a file, whose functions and classes do no more than their pages say; no name of
code and no address is among the arguments of a tool.
"""


@dataclass(frozen=True, slots=True)
class Code:
    """What a recipe has run: the dotted key that names it, what that is in words, and a hash of its
    content.
    """

    key: str
    says: str
    digest: str


def code_of(recipe: Facts, base: Path | None) -> list[Code]:
    """What a recipe's data has run besides what comes with llmpolicy; nothing of it is run or
    imported to say so.
    """
    codes: list[Code] = []
    for key, name, args in _named(recipe):
        codes += _code(key, name, args, base or Path())
        codes += _in_args(f"{key.rpartition('.')[0]}.args", args)
    return [*codes, *_server(recipe), *_taskset(recipe)]


def note(recipe: Recipe) -> list[Code]:
    """Remember the code of a recipe that the user trains; what of it had not run here before."""
    return _remember(_unknown(recipe.model_dump(), recipe.base_dir))


def need(what: str, recipe: Facts, base: Path | None, *, yes: bool) -> None:
    """Ask for code that this user has not run on this machine; ``what`` begins the sentence.

    With ``yes``, or the user's, it is remembered. Raises ConsentError where it is declined, or
    nobody can be asked.
    """
    unknown = _unknown(recipe, base)
    if not unknown:
        return
    listed = "; ".join(dict.fromkeys(f"{code.key}: {code.says}" for code in unknown))
    if not yes:
        answer = ask(
            f"{what} runs code that you have not run here before:\n  {listed}\nRun it? [y/N]"
        )
        if answer is None:
            command = again("--yes") or "the same command with --yes (in Python: yes=True)"
            raise ConsentError(
                f"{what} runs code that you have not run here before ({listed}); read it, then go"
                f" on with: {command}"
            )
        if answer.strip().lower() not in ("y", "yes"):
            raise ConsentError(f"{what}: nothing was run")
    _remember(unknown)


def _unknown(recipe: Facts, base: Path | None) -> list[Code]:
    codes = code_of(recipe, base)
    remembered = _remembered() if codes else set()
    return [code for code in codes if code.digest not in remembered]


def _named(recipe: Facts) -> Iterator[tuple[str, str, Any]]:
    """Each text of a recipe that names code: its dotted key, itself, and the arguments that it is
    given.
    """
    for key, name, block in functions_in(recipe):
        yield key, name, block.get("args") if isinstance(block, Mapping) else None
    environment = recipe.get("environment")
    if isinstance(environment, Mapping) and ":" in str(environment.get("id")):
        yield "environment.id", str(environment["id"]), environment


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """Keys or indices with what lies there."""
    return value.items() if isinstance(value, Mapping) else enumerate(value or ())


def _code(key: str, name: str, args: Any, base: Path) -> Iterator[Code]:
    module, colon, function = name.rpartition(":")
    if not colon:
        return
    is_file = module.endswith(".py")
    files = [(base / module).resolve()] if is_file else _module_files(module)
    if files is None or not all(file.is_file() for file in files):
        return  # there is no such function, as whoever looks for it says
    comes_along = bool(files) and not {files[-1], files[-1].parent}.isdisjoint(COME_ALONG)
    defined = bool(files) and _defines(files[-1], function)
    if comes_along and (defined or not ("." in function or function in _imported(files[-1]))):
        # Where it has no such function, whoever looks for it says so.
        yield from _asking(key, args)
    elif files and not comes_along and (is_file or not all(map(installed, files))):
        contents = {hashlib.sha256(file.read_bytes()).hexdigest() for file in written_files(files)}
        says = f"{visible(name)} in {visible(str(files[-1]))}"
        content: list[Any] = sorted(contents)
        if not defined:
            content += [function, args]
        yield _hashed(key, says, content)
    else:
        yield _hashed(
            key,
            f"{visible(name)} of an installed package, with {visible(str(args or {})):.200}",
            [name, args],
        )


def _in_args(key: str, args: Any) -> Iterator[Code]:
    """What arguments name, however deep: functions (``rule``, ``correctness``), and the addresses
    of further judges.

    A path there starts from the current folder, as no recipe's folder is known to whoever reads it.
    """
    for name, inner in _pairs(args):
        if isinstance(inner, str):
            if REFERENCE.fullmatch(inner):
                yield from _code(f"{key}.{name}", inner, args, Path())
        elif isinstance(inner, Mapping | list | tuple):
            yield from _asking(f"{key}.{name}", inner)
            yield from _in_args(f"{key}.{name}", inner)


def _asking(key: str, args: Any) -> Iterator[Code]:
    """A judge's address: the key for it is sent there."""
    if not isinstance(args, Mapping) or args.get("base_url") is None:
        return
    address, settings = str(args["base_url"]), dict(args)
    if isinstance(args.get("judge"), Mapping):
        settings |= args["judge"]
    says, secret = "sends what is judged", settings.get("api_key_env", "OPENAI_API_KEY")
    if secret:
        says += f", with the key in ${visible(str(secret))},"
    yield _hashed(key, f"{says} to {visible(address)}", [address, str(secret)])


def _server(recipe: Facts) -> Iterator[Code]:
    """The address of an environment: what the model says is sent there."""
    environment = recipe.get("environment")
    if isinstance(environment, Mapping) and environment.get("openenv") is not None:
        address = str(environment["openenv"])
        says = f"sends what the model says to {visible(address)}"
        yield _hashed("environment.openenv", says, [address])


def _taskset(recipe: Facts) -> Iterator[Code]:
    """A taskset of verifiers: a module by its name, with functions and judges in its arguments."""
    environment = recipe.get("environment")
    if not isinstance(environment, Mapping) or environment.get("verifiers") is None:
        return
    name, args = str(environment["verifiers"]), environment.get("args") or {}
    module = name.rpartition("/")[2].partition("@")[0].replace("-", "_").lower()
    files = [file for file in _module_files(module) or [] if not installed(file)]
    content = sorted(
        {hashlib.sha256(each.read_bytes()).hexdigest() for each in written_files(files)}
    )
    says = f"the taskset {visible(name)} of verifiers, with {visible(str(args)):.200}"
    yield _hashed("environment.verifiers", says, [name, args, *content])
    yield from _in_args("environment.args", args)


def _hashed(key: str, says: str, content: Any) -> Code:
    written = json.dumps(content, default=str, sort_keys=True)
    return Code(key, says, hashlib.sha256(written.encode()).hexdigest())


def _defines(file: Path, name: str) -> bool:
    """Whether a module writes a function itself: what it has only imported may do anything with its
    arguments.
    """
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return True
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return True
    return False


def _imported(file: Path) -> set[str]:
    """The names that a module of ours takes from elsewhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


def _module_files(dotted: str) -> list[Path] | None:
    """The files that ``import dotted`` would run, the module's own the last; found without
    importing any.

    None where there is no such module; no file of one that has none, as those built into Python.
    """
    package, *inner = dotted.split(".")
    if package == "__main__":  # a function of a Python session, which a recipe can only speak of
        return None
    if not inner and package in shipped_names():
        return [SHIPPED / f"{package}.py"]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None and package == "reward_fns":
        spec = PathFinder.find_spec(package, [str(SHIPPED.parent)])
    files: list[Path] = []
    for part in [*inner, None]:
        if spec is None:
            return None
        if spec.has_location and spec.origin:
            files.append(Path(spec.origin).resolve())
        if part is not None:
            spec = PathFinder.find_spec(
                f"{spec.name}.{part}", list(spec.submodule_search_locations or [])
            )
    return files


# What is remembered


def _file() -> Path:
    """Where the hashes are kept: in the user's state folder (XDG base directories), never below the
    current one.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return home / "llmpolicy" / "code_that_ran"


def _remembered() -> set[str]:
    with suppress(OSError, RuntimeError, UnicodeDecodeError):
        if _file().stat().st_uid == os.getuid():
            lines = _file().read_text(encoding="utf-8").splitlines()
            return {line.partition(" ")[0] for line in lines}
    return set()


def _remember(codes: Sequence[Code]) -> list[Code]:
    """Write down what may run from now on; where there is no such place, it is asked for again."""
    new = "".join(dict.fromkeys(f"{code.digest}  {code.says}\n" for code in codes))
    if new and is_main():
        with suppress(OSError, RuntimeError):
            _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(new)
    return list(codes)
