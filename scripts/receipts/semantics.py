"""What each version of TRL makes of every loss on the same rows: what ``make semantics`` compares
the installed one with.
"""

from typing import Any

from scripts import semantics

SOURCES = [
    "tests/semantics/[cprs]*.py",
    "tests/oracle/world.py",
    "scripts/semantics.py",
    "scripts/receipts/semantics.py",
]
VERSIONS = ("1.9.0", "1.10.0", "1.14.2", "1.15.0", "1.16.0")
"""The last is installed, and the newest of the index."""


def measure() -> dict[str, Any]:
    """Every version, and what differs from each to the next."""
    found = {version: semantics.of_version(version) for version in VERSIONS}
    drift = {
        f"{old} to {new}": semantics.differences(found[old], found[new])
        for old, new in zip(VERSIONS, VERSIONS[1:], strict=False)
    }
    return {"versions": found, "drift": drift}
