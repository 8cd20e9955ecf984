"""The sandbox: where code that a model wrote is run, so that it can do no harm and cannot say that
it is right.
"""

from llmpolicy.errors import SandboxFault, SandboxUnavailable
from llmpolicy.sandbox.choose import MECHANISMS, probe, sandbox
from llmpolicy.sandbox.pool import Pool
from llmpolicy.sandbox.records import Execution, Job, Limits, Probe

__all__ = [
    "MECHANISMS",
    "Job",
    "Limits",
    "Execution",
    "Pool",
    "Probe",
    "SandboxFault",
    "SandboxUnavailable",
    "probe",
    "sandbox",
]
