"""The shipped advantages against the oracle's, which are written in numpy, and as a recipe sees
them.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmpolicy import advantages
from llmpolicy.prove import prove_advantage
from tests.oracle import estimators

NAMES = ("leave_one_out", "maximum_likelihood", "extremes")
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=9)


@pytest.mark.parametrize("name", NAMES)
def test_an_advantage_is_a_number_for_every_group(name: str) -> None:
    prove_advantage(getattr(advantages, name), name)


@pytest.mark.parametrize("name", NAMES)
@given(scores=SCORES)
def test_it_is_the_one_of_the_oracle(name: str, scores: list[float]) -> None:
    found = getattr(advantages, name)(torch.tensor(scores, dtype=torch.float64)).numpy()
    expected = getattr(estimators, name)(np.array([scores]))[0]
    assert found == pytest.approx(expected, abs=1e-9)
