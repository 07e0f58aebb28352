"""Limits of the size and the nesting of pickles.

A pickle can do harm without running code: a number in it can request any amount of memory,
and the hash of a tuple within tuples overflows the stack of the process.
"""

import pickle
import pickletools

# The largest pickles have a few hundred bytes for each tensor of weights and optimizer.
_MOST_BYTES = 32 * 2**20
_MOST_OPCODES = 2_000_000
_DEEPEST = 100


def check_pickle(data: bytes) -> None:
    """Reject a pickle that would take absurdly much memory or nest absurdly deep.

    Raises:
        UnpicklingError: It would, or it is none.
    """
    if len(data) > _MOST_BYTES:
        raise pickle.UnpicklingError(f"what is beside its tensors is larger than {_MOST_BYTES} B")
    stack: list[int] = []  # how deep each value on the pickle's stack nests
    marks: list[int] = []
    memo: dict[int, int] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data), 1):
        if count > _MOST_OPCODES:
            raise pickle.UnpicklingError(f"its pickle has more than {_MOST_OPCODES} operations")
        match opcode.name:
            case "MARK":
                marks.append(len(stack))
            case "POP" if marks and marks[-1] == len(stack):
                marks.pop()
            case "DUP":
                stack.append(stack[-1])
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                # The memo is an array as long as its largest number.
                if not isinstance(argument, int) or not 0 <= argument <= count:
                    raise pickle.UnpicklingError(f"its pickle counts to {argument}")
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                assert isinstance(argument, int)
                stack.append(memo.get(argument, 0))
            case name:
                taken = _take(stack, marks, opcode.stack_before)
                if not opcode.stack_after:
                    continue
                # What only gets items nests as deep as the deepest of them.
                grows = name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
                depth = max(taken[1:] if grows else taken, default=-1) + 1
                if grows:
                    depth = max(depth, taken[0])
                if depth > _DEEPEST:
                    raise pickle.UnpicklingError(f"its pickle nests deeper than {_DEEPEST}")
                stack += [depth] * len(opcode.stack_after)


def _take(stack: list[int], marks: list[int], before: "list[pickletools.StackObject]") -> list[int]:
    """Remove the operands of an operation from a stack of depths, lowest first."""
    first = len(stack) - len(before)
    if pickletools.markobject in before:
        first = marks.pop() - before.index(pickletools.markobject)
    if first < 0:
        raise pickle.UnpicklingError("its pickle takes more than it put")
    taken = stack[first:]
    del stack[first:]
    return taken
