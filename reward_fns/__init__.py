"""Reward functions, one file a family: plain functions of one completion, safe to call directly and
from any thread.
"""
