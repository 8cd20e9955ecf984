"""The plugin of `llmpolicy.audit.pytest_plugin`, by the name in entry points installed before."""

from llmpolicy.audit.pytest_plugin import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_pycollect_makeitem,
)

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_pycollect_makeitem"]
