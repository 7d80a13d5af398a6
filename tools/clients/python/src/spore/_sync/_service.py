# Written by tools/clients/generate from _async/_service.py. Do not edit.
"""What the generated services are made of."""
from __future__ import annotations

from typing import Awaitable, Callable, Sequence, Type, TypeVar

from .._wire import Message

_M = TypeVar("_M", bound=Message)
Caller = Callable[..., "Message"]


class Service:
    """Calls of one service. `call` carries them out (Client.call)."""

    def __init__(self, call: Caller) -> None:
        self.call = call

    def _call(self, service: str, method: str, request: Message, response: Type[_M],
                    descriptors: Sequence[int]) -> _M:
        answer = self.call(service, method, request, response, descriptors)
        assert isinstance(answer, response)
        return answer
