"""How a process keeps its memory where blocks of megabytes come and go: matrices of queries, bodies of requests."""

from __future__ import annotations

import ctypes

# glibc's names for the settings of mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
BLOCK_BYTES_MAX = 32 * 2**20  # The largest that glibc takes here.
# What one arena of memory may keep for the next operation: two matrices of 1,000 series × 8,000 steps.
KEPT_BYTES_MAX = 128 * 2**20


def keep_large_blocks(arena_count_max: int, kept_bytes_max: int = KEPT_BYTES_MAX) -> bool:
    """Tell glibc to use freed blocks of up to 32 MiB again instead of giving them back to the kernel.

    By default every block over 128 KiB is mapped anew, and its pages cost more to fault in than the arithmetic on them:
    the mean of 1,000 series × 360 steps takes 3.5 ms instead of 10 ms. To be called once, at the start of the process.
    arena_count_max: how many threads allocate much at once; more arenas would keep freed blocks for nobody.
    Returns: whether the C library took the settings; another one than glibc does not, and nothing changes.
    """
    return _set(
        (M_MMAP_THRESHOLD, BLOCK_BYTES_MAX),
        (M_TRIM_THRESHOLD, kept_bytes_max),
        (M_ARENA_MAX, arena_count_max),
    )


def keep_blocks_of_any_size(kept_bytes_max: int) -> bool:
    """Tell glibc to use freed blocks again whatever their size, up to so many bytes of them at the end of the heap.

    Matrices of 100,000 series × 360 steps have 288 MB. On a virtual machine whose host takes back what the kernel has
    free, their pages took 600 ms to fault in, twice as long as the query itself. All threads share one arena, for only
    the first may grow over 64 MiB. To be called once, at the start of the process. Returns: as keep_large_blocks().
    """
    return _set((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, kept_bytes_max), (M_ARENA_MAX, 1))


def _set(*settings: tuple[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    taken = [bool(mallopt(name, value)) for name, value in settings]
    return all(taken)
