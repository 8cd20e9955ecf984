"""Processes that rewards run in, so that one that hangs, dies or takes all memory can be ended."""
