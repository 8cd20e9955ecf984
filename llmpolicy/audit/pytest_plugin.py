"""The contract of a reward as tests: ``pytest polite.py`` or ``pytest --reward module:function``.

A function with `@reward` is collected from the file that defines it. Nothing else of llmpolicy
loads before one is found.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DECLARED = "__llmpolicy_contract__"
PARTS = ("contract", "battery")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    group = parser.getgroup("llmpolicy", "rewards")
    group.addoption(
        "--reward",
        action="append",
        default=[],
        metavar="NAME",
        help="check this reward, as check-reward does",
    )
    group.addoption(
        "--reward-data",
        metavar="FILE",
        help="rows of the task, whose gold answers --reward must pay",
    )


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> list[pytest.Item] | None:
    """The tests of a declared reward, in the file that defines it."""
    declared = DECLARED in getattr(obj, "__dict__", {})
    if not declared or getattr(obj, "__module__", None) != getattr(collector.obj, "__name__", ""):
        return None
    return list(_items(collector, f"{collector.path}:{name}", name))


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """The tests of the rewards that are named; with no file given they are all there is."""
    named = config.getoption("--reward")
    if named and config.args_source is not pytest.Config.ArgsSource.ARGS:
        items.clear()
    for reference in named:
        items += _items(session, reference, reference, config.getoption("--reward-data"))


class RewardItem(pytest.Item):
    """One part of the check of one reward."""

    def __init__(self, reference: str, part: str, data: str | None, **settings: Any) -> None:
        super().__init__(**settings)
        self.reference, self.part, self.data = reference, part, data

    def runtest(self) -> None:
        """Check, and fail with the report's own words; a reward that says nothing of itself is
        skipped.
        """
        from llmpolicy.audit.check import NOTHING
        from llmpolicy.audit.show import check, told
        from llmpolicy.errors import LLMPolicyError

        data = Path(self.data) if self.data else None
        try:
            report = check(self.reference, data=data, parts=(self.part,), quiet=True)
        except LLMPolicyError as error:
            pytest.fail(str(error), pytrace=False)
        if report.errors == [NOTHING]:
            pytest.skip(NOTHING)
        if not report.clean:
            pytest.fail("\n".join(told(report)), pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where pytest says that the test is."""
        return self.path, None, self.name


def _items(parent: Any, reference: str, name: str, data: str | None = None) -> Iterator[RewardItem]:
    for part in PARTS:
        yield RewardItem.from_parent(
            parent, name=f"{name}[{part}]", reference=reference, part=part, data=data
        )
