"""How kernels are compiled, memory for them, and instructions of the processor that Numba has no name for."""

import mmap
import sys
from math import prod

import numba as nb
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

compiled = nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy")
"""Without reference counts, which cost more than all the rest: no kernel makes or keeps an array. Other threads go on meanwhile."""
inlined = nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy", forceinline=True)
"""For what every session does: a call would hand over dozens of arrays."""


HUGE_PAGE = 2**21
"""Bytes. What fills an eighth of one gets one of its own."""


def wide_zeros(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros for kernels that look at places all over them: in huge pages of their own where the system has any, not in what the allocator has at hand."""
    count = prod(shape)
    size = count * np.dtype(dtype).itemsize
    if sys.platform != "linux" or size < HUGE_PAGE // 8:
        return np.zeros(shape, dtype)
    try:
        pages = mmap.mmap(-1, -(-size // HUGE_PAGE) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pages.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, OverflowError):  # too little memory, or a system without them
        return np.zeros(shape, dtype)
    return np.frombuffer(pages, dtype, count).reshape(shape)


@inlined
def index(number: int) -> int:
    """A place in an array that the compiler knows not to be negative, so that it need not ask whether to count from the end."""
    return np.int64(np.uint32(number))  # type: ignore[return-value]


@inlined
def whole(number: int, unit: int) -> int:
    """How many whole units go into a number >= 0: without the question what becomes of a negative one."""
    return np.int64(np.uint64(number) // np.uint64(unit))  # type: ignore[return-value]


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """The place of the lowest bit set in 64 that are not all 0."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 1))

    return types.int64(bits), build


@intrinsic
def fetch_ahead(typing_context, array, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Ask the processor for the memory at a place of an array, counted in elements from its first, that will soon be read."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(call, [address, *(ir.Constant(ir.IntType(32), n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), build
