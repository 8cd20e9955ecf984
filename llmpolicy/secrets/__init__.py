"""Secrets in texts: by the forms of a kept detector and of further services, by their names, by
their looks, by the environment.
"""

from llmpolicy.secrets.find import PIECE, in_setting, redact, secret_in, values_of

__all__ = ["PIECE", "in_setting", "redact", "secret_in", "values_of"]
