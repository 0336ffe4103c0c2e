"""How many threads of a kernel are resident on a multiprocessor at the same time, in theory.

A GPU hides the time that memory takes by having other warps to go on with; so the more are
resident, the better, up to a point. What a multiprocessor has is shared out among the blocks on it:

    threads     a block takes whole warps of 32, and there is a largest number of blocks
    registers   each warp takes 32 times the kernel's registers, rounded up to 256, from the 16384
                of one of the multiprocessor's four quarters
    memory      each block takes its shared memory and, since sm_80, 1024 bytes for the system,
                rounded up to 128 bytes (256 on sm_75)

Sources: table "technical specifications per compute capability" in the CUDA C++ Programming Guide
13.0, and for the units that are rounded to NVIDIA's header cuda_occupancy.h.
"""

from __future__ import annotations

from typing import NamedTuple

WARP = 32
REGISTERS, QUARTERS, REGISTER_UNIT = 65536, 4, 256  # the same in all of them


class Multiprocessor(NamedTuple):
    """What one of an architecture has."""

    threads: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of them that the system takes for each block
    unit: int  # in which they are given out


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(1024, 16, 64 << 10, 0, 256),
    "sm_80": Multiprocessor(2048, 32, 164 << 10, 1024, 128),
    "sm_86": Multiprocessor(1536, 16, 100 << 10, 1024, 128),
    "sm_89": Multiprocessor(1536, 24, 100 << 10, 1024, 128),
    "sm_90": Multiprocessor(2048, 32, 228 << 10, 1024, 128),
    "sm_100": Multiprocessor(2048, 32, 228 << 10, 1024, 128),
    "sm_120": Multiprocessor(1536, 24, 100 << 10, 1024, 128),
}


class Occupancy(NamedTuple):
    """How full a multiprocessor is."""

    blocks: int
    fraction: float  # of the threads that it can have
    limit: str  # what there is no more of: "threads", "blocks", "registers" or "shared memory"


def occupancy(arch: str, threads: int, registers: int, shared: int) -> Occupancy:
    """For blocks of so many threads, with registers for each thread and bytes for each block."""
    limits = {
        "threads": MULTIPROCESSORS[arch].threads // _up(threads, WARP),
        "registers": blocks_by_registers(threads, registers),
        "shared memory": blocks_by_shared(arch, shared),
        "blocks": MULTIPROCESSORS[arch].blocks,
    }
    limit = min(limits, key=lambda name: limits[name])
    fraction = limits[limit] * _up(threads, WARP) / MULTIPROCESSORS[arch].threads
    return Occupancy(limits[limit], fraction, limit)


def blocks_by_registers(threads: int, registers: int) -> int:
    """How many blocks the registers are enough for; 0 if not for one."""
    of_warp = _up(registers * WARP, REGISTER_UNIT)
    warps = _up(threads, WARP) // WARP
    if of_warp * _up(warps, QUARTERS) > REGISTERS:
        return 0
    return REGISTERS // QUARTERS // of_warp * QUARTERS // warps


def blocks_by_shared(arch: str, shared: int) -> int:
    """How many blocks the shared memory is enough for; a large number if they take none."""
    has = MULTIPROCESSORS[arch]
    return has.shared // max(1, _up(shared + has.reserved, has.unit))


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
