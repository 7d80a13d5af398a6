"""What the generated services are made of."""
from __future__ import annotations

from typing import Awaitable, Callable, Sequence, Type, TypeVar

from .._wire import Message

_M = TypeVar("_M", bound=Message)
Caller = Callable[..., "Awaitable[Message]"]


class Service:
    """Calls of one service. `call` carries them out (AsyncClient.call)."""

    def __init__(self, call: Caller) -> None:
        self.call = call

    async def _call(self, service: str, method: str, request: Message, response: Type[_M],
                    descriptors: Sequence[int]) -> _M:
        answer = await self.call(service, method, request, response, descriptors)
        assert isinstance(answer, response)
        return answer
