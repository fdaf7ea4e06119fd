"""The allocator of a process that decodes for hours."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of freed tensors instead of handing it back to the system with every operation.

    Every activation of a large batch would otherwise be mapped and cleared anew: on two cores a quarter of the
    CPU time of decoding went into page faults. Returns whether there was anything to set. It holds for the process, so
    that commands call it and the library does not.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 2**26))
    accepted = [bool(mallopt(name, value)) for name, value in settings]  # all are tried
    return all(accepted)
