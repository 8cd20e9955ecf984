"""How a process of the command uses threads and memory, set before torch is loaded."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt (malloc.h)."""
SPINS = "10000"
"""How often a thread looks whether the others are ready before it sleeps, half a millisecond: what
lies between two products.
"""


def spin_less() -> None:
    """Let threads that wait for each other sleep soon, unless the user said how; before torch is
    loaded, which reads it then.

    Where anything else runs, threads that spin for longer take the cores from each other
    (log/2026-11.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def keep_memory() -> None:
    """Keep freed memory for the next tensor, unless the user said how; glibc would have it zeroed
    anew each time.

    Pages that are new took a tenth of an update (log/2026-11.md). Does nothing where the C library
    has no such setting.
    """
    asked = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None or asked:
        return
    # An older glibc takes 32 MiB at most; with the second setting alone it would map every tensor
    # anew.
    if set_option(M_MMAP_THRESHOLD, 2**30) or set_option(M_MMAP_THRESHOLD, 2**25):
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
