"""How many files and connections a process may have open."""

from __future__ import annotations

import contextlib
import resource


def allow_open_files(count: int) -> None:
    """Let this process open so many files, as far as its hard limit goes; the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # A container may forbid it; accept() copes with what there is.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
