"""What can go wrong. Every error of this package is a SporeError."""
from __future__ import annotations

from typing import List, Optional

from .messages import Death

# google.rpc.Code, as far as spored answers with it.
_CODES = {3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 6: "ALREADY_EXISTS",
          7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION",
          12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE"}


class SporeError(Exception):
    """Of all errors here."""


class ConnectionFailed(SporeError, ConnectionError):
    """spored could not be reached, or went away before it answered."""


class CallError(SporeError):
    """spored has refused a call. `code` is a name of google.rpc.Code, `message` says why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = _CODES.get(code, str(code))
        self.message = message


class InvalidArgument(CallError):
    """A field is wrong; the message names the field, the value and what was expected."""


class NotFound(CallError, LookupError):
    """No such function, sandbox, file or image."""


class AlreadyExists(CallError):
    """The name is taken."""


class PermissionDenied(CallError):
    """The caller may not do this."""


class Overloaded(CallError):
    """A limit of the host, the caller, the function or the sandbox is reached."""


class FailedPrecondition(CallError):
    """Not in this state: the sandbox has ended, the image cannot be used, ..."""


_BY_CODE = {3: InvalidArgument, 5: NotFound, 6: AlreadyExists, 7: PermissionDenied, 8: Overloaded,
            9: FailedPrecondition}


def call_error(code: int, message: str) -> CallError:
    return _BY_CODE.get(code, CallError)(code, message)


class FunctionError(SporeError):
    """A function's own failure."""

    def __init__(self, type_: str, message: str, stack_trace: List[str],
                 death: Optional[Death]) -> None:
        super().__init__(f"{type_}: {message}" if type_ else message)
        self.type, self.message, self.stack_trace = type_, message, stack_trace
        # How its instance ended, when it did.
        self.death = death


class CodeFailed(SporeError):
    """A piece of code has raised. `result` is all that came of it."""

    def __init__(self, result: "object", type_: str, message: str, stack_trace: List[str]) -> None:
        super().__init__(f"{type_}: {message}" if message else type_)
        self.result, self.type, self.message, self.stack_trace = result, type_, message, stack_trace


class ExecFailed(SporeError):
    """A program has ended with a code that is not 0. `result` has its output."""

    def __init__(self, result: "object", exit_code: int, stderr: bytes) -> None:
        last = stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        super().__init__(f"exit code {exit_code}" + (f": {last}" if last else ""))
        self.result, self.exit_code = result, exit_code
