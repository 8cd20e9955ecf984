"""The contract that is declared beside a reward: it is read back, it leaves the function alone, and
it is checked.
"""

from functools import partial

import pytest

from llmpolicy.rewards import Contract, RewardError, contract_of, reward


def test_a_declared_reward_stays_the_same_callable() -> None:
    def plain(completion: str) -> float:
        return 1.0

    declared = reward(passes=[{"completion": "a"}], range=(0, 1), timeout=2.0, kind="answer")(plain)
    assert declared is plain and declared("x") == 1.0
    assert contract_of(plain) == Contract(
        passes=({"completion": "a"},), range=(0, 1), timeout=2.0, kind="answer"
    )
    assert contract_of(partial(plain, completion="b")).timeout == 2.0
    assert contract_of(lambda completion: 0.0) == Contract()
    assert reward(plain) is plain and contract_of(plain) == Contract()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"range": (1, 0)}, "expected (lowest, highest)"),
        ({"range": (1, 1)}, "expected (lowest, highest)"),
        ({"range": 1}, "expected (lowest, highest)"),
        ({"timeout": 0}, "expected seconds above 0"),
        ({"timeout": float("nan")}, "expected seconds above 0"),
        ({"kind": "anwser"}, "did you mean 'answer'?"),
        ({"fails": ["5"]}, "expected a mapping of arguments"),
    ],
)
def test_a_contract_that_is_none_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(RewardError, match="@reward of 'mine'") as caught:

        @reward(**wrong)
        def mine(completion: str) -> float:
            return 0.0

    assert said in str(caught.value)


def test_an_unknown_term_is_named() -> None:
    with pytest.raises(RewardError, match="@reward takes no 'rnage'; did you mean 'range'?"):
        reward(rnage=(0, 1))  # type: ignore[call-overload]
