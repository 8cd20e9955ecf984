"""Rewards: the contract of a reward function, how it is named, how a batch is scored. No torch
here.
"""

from llmpolicy.errors import RewardError
from llmpolicy.provenance.code import describe
from llmpolicy.reference import resolve
from llmpolicy.rewards.contract import RESERVED, RewardSpec
from llmpolicy.rewards.declare import COMMON_FORMATS, Contract, contract_of, reward
from llmpolicy.rewards.scoring import Rewards, RowScore
from llmpolicy.types import Sample, Score

__all__ = [
    "COMMON_FORMATS",
    "RESERVED",
    "Contract",
    "RewardError",
    "RewardSpec",
    "Rewards",
    "RowScore",
    "Sample",
    "Score",
    "contract_of",
    "describe",
    "resolve",
    "reward",
]
