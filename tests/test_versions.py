"""The versions: what pyproject allows admits what the constraints install, and ends somewhere."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *EXTRAS["quantization"], *EXTRAS["trackio"]]
]
NEEDED += [Requirement(line) for line in EXTRAS["wasm"]]
DEVELOPED_WITH = [Requirement(line) for line in EXTRAS["dev"] if not line.startswith("llmpolicy")]


def pinned(name: str) -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in lines}


@pytest.mark.parametrize("needed", [*NEEDED, *DEVELOPED_WITH], ids=lambda needed: needed.name)
def test_the_constraints_lie_in_the_ranges(needed: Requirement) -> None:
    versions = pinned("constraints.txt")
    assert needed.specifier.contains(versions[canonicalize_name(needed.name)])


@pytest.mark.parametrize(
    "name", ["torch", "transformers", "trl", "peft", "datasets", "accelerate", "vllm"]
)
def test_the_constraints_of_vllm_lie_in_the_ranges(name: str) -> None:
    lines = [*PROJECT["dependencies"], *EXTRAS["vllm"]]
    needed = next(
        requirement for requirement in map(Requirement, lines) if requirement.name == name
    )
    assert needed.specifier.contains(pinned("constraints-vllm.txt")[name])


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_no_range_is_open_above(needed: Requirement) -> None:
    assert {"<", "=="} & {clause.operator for clause in needed.specifier}
