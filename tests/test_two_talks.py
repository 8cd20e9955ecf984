"""Two processes hold dialogues: the same ones give the update of one process, though a group spans
both, and though an environment fails on one of them only.
"""

from typing import Any

import pytest
import torch

from tests.test_two_processes import updates
from tests.two_talks import ROWS, WAYS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("talks")
    return [updates(folder / f"{count}", count, "two_talks.py", ()) for count in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_make_the_update_of_one(both: Any, way: str) -> None:
    alone, two = (of[way] for of in both)
    assert (alone["world_size"], two["world_size"]) == (1, 2)
    assert len(two["ended"]) == ROWS
    for what in ("messages", "ended", "scores"):
        assert alone[what] == two[what]
    assert alone["moved"].abs().max() > 1e-4
    torch.testing.assert_close(two["moved"], alone["moved"], rtol=1e-4, atol=1e-5)
    failed = alone["ended"].count("failed")
    assert (failed in (8, 16)) if way.endswith("failing on one") else failed == 0
