"""What calls return, where the protocol's own message is not handy enough."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional

from . import messages as m


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds else 0


def limits(memory: int = 0, cpus: float = 0, timeout: float = 0, pids: int = 0, tmp: int = 0,
           max_instances: int = 0) -> m.Limits:
    return m.Limits(memory_bytes=memory, cpu_millis=round(cpus * 1000), pids=pids, tmp_bytes=tmp,
                    timeout_ms=milliseconds(timeout), max_instances=max_instances)


@dataclass
class InvokeResult:
    value: Any                   # what the handler has returned
    response: m.InvokeResponse   # start kind, version, duration, log tail, trace, ...


@dataclass
class RunResult:
    stdout: bytes
    stderr: bytes
    response: m.RunResponse

    @property
    def exit_code(self) -> int:
        """The script's own; 128 and the signal that ended it; -1 for all else (`death` says what)."""
        death = self.death
        if death.cause == m.DeathCause.EXIT:
            return death.exit_code
        return 128 + death.signal if death.cause == m.DeathCause.SIGNAL else -1

    @property
    def death(self) -> m.Death:
        return self.response.death or m.Death()


@dataclass
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes
    response: m.ExecResponse

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")


@dataclass
class CodeResult:
    """What came of a piece of code, as it says itself."""

    value: Optional[str]         # repr of the last expression; None: there was none, or it was None
    stdout: str
    stderr: str
    response: m.RunCodeResponse

    @property
    def data(self) -> Any:
        """The last expression's value, where it can be JSON; else None."""
        return json.loads(self.response.json) if self.response.json else None

    @property
    def error(self) -> Optional[m.CodeError]:
        return self.response.error
