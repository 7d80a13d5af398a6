"""The client: functions, and whatever else spored is asked for."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type, TypeVar, Union

from .. import _archive, _frames, _memory
from .. import messages as m
from .._wire import Message
from ..errors import CallError, FunctionError
from ..results import InvokeResult, RunResult, limits
from ._service import Service
from .connection import AsyncConnection
from .services import Services

_M = TypeVar("_M", bound=Message)
_IDLE_CONNECTIONS = 8


class AsyncClient:
    """A client of one daemon. May be used by several threads, or tasks, at once.

    `socket`: path of spored's socket; else SPORE_SOCKET, else /run/spore/spored.sock. `timeout`:
    seconds for each call, after which spored cancels it; None: no limit of the client's.
    Every call that spored knows is there as `services.SERVICE.METHOD`; what follows here is made of
    those and easier to use.
    """

    def __init__(self, socket: Optional[str] = None, timeout: Optional[float] = None) -> None:
        self._path = _frames.socket_path(socket)
        self._timeout = timeout
        self._idle: List[AsyncConnection] = []
        self.services = Services(Service(self.call))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def call(self, service: str, method: str, request: Message, response: Type[_M],
                   descriptors: Sequence[int] = (), timeout: Optional[float] = None) -> _M:
        """One call; descriptors that come back are closed."""
        answer, received = await self.call_with_descriptors(service, method, request, response,
                                                            descriptors, timeout)
        for descriptor in received:
            os.close(descriptor)
        return answer

    async def call_with_descriptors(
            self, service: str, method: str, request: Message, response: Type[_M],
            descriptors: Sequence[int] = (),
            timeout: Optional[float] = None) -> "tuple[_M, list[int]]":
        """One call. The descriptors that come back are the caller's to close."""
        connection = await self._connection()
        reusable = False
        try:
            payload, received = await connection.call(
                service, method, request, self._timeout if timeout is None else timeout, descriptors)
            reusable = True
        except CallError:
            reusable = True
            raise
        finally:
            if reusable and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
            else:
                connection.close()
        return _frames.parse(response, payload), received

    async def _connection(self) -> AsyncConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not connection.stale():
                return connection
            connection.close()
        connection = AsyncConnection(self._path)
        await connection.open()
        return connection

    # ---- functions ----

    async def deploy(self, name: str, code: _archive.Code, *, runtime: str = "python",
                     handler: str = "", image: str = "", isolation: str = "instance",
                     environment: Optional[Mapping[str, str]] = None,
                     memory: int = 0, cpus: float = 0, timeout: float = 0, pids: int = 0, tmp: int = 0,
                     min_instances: int = 0, max_instances: int = 0) -> m.Function:
        """A new function.

        `code`: a folder, a zip or tar file (paths), their bytes, or {name: content}. Sizes are
        bytes, times seconds; 0: the default. Raises AlreadyExists for a name that is taken.
        """
        settings = m.FunctionSettings(
            runtime=runtime, image=image, handler=handler, isolation=_isolation(isolation),
            limits=limits(memory=memory, cpus=cpus, timeout=timeout, pids=pids, tmp=tmp,
                          max_instances=max_instances),
            environment=dict(environment or {}), min_instances=min_instances or None)
        return await self._with_archive(
            code, lambda fds: self.services.functions.deploy(
                m.DeployRequest(name=name, settings=settings), fds))

    async def update(self, name: str, code: Optional[_archive.Code] = None,
                     settings: Optional[m.FunctionSettings] = None) -> m.Function:
        """Replaces code, settings (fields left empty stay), or both."""
        request = m.UpdateRequest(name=name, settings=settings or m.FunctionSettings(),
                                  archive_attached=code is not None,
                                  keep_environment=not (settings and settings.environment))
        if code is None:
            return await self.services.functions.update(request)
        return await self._with_archive(
            code, lambda fds: self.services.functions.update(request, fds))

    async def _with_archive(self, code: _archive.Code, call: Any) -> m.Function:
        descriptor = _memory.sealed(_archive.pack(code))
        try:
            answer: m.Function = await call([descriptor])
            return answer
        finally:
            os.close(descriptor)

    async def function(self, name: str) -> m.Function:
        return await self.services.functions.get(m.GetFunctionRequest(name=name))

    async def functions(self) -> List[m.Function]:
        found: List[m.Function] = []
        request = m.ListFunctionsRequest()
        while True:
            page = await self.services.functions.list(request)
            found += page.functions
            if not page.next_marker:
                return found
            request.marker = page.next_marker

    async def remove(self, name: str) -> None:
        await self.services.functions.remove(m.RemoveFunctionRequest(name=name))

    async def invoke(self, name: str, event: Any = None, *, qualifier: str = "",
                     client_context: Optional[Mapping[str, Any]] = None,
                     timeout: Optional[float] = None) -> Any:
        """The handler's result. Raises FunctionError when the function has failed."""
        return (await self.invoke_for_result(name, event, qualifier=qualifier,
                                             client_context=client_context, timeout=timeout)).value

    async def invoke_for_result(self, name: str, event: Any = None, *, qualifier: str = "",
                                client_context: Optional[Mapping[str, Any]] = None,
                                log_tail: bool = False, trace: bool = False,
                                timeout: Optional[float] = None) -> InvokeResult:
        """As `invoke`, with everything that is known of the call beside its result."""
        payload = json.dumps(event).encode()
        request = m.InvokeRequest(
            name=name, qualifier=qualifier, payload_response_attached=True, log_tail=log_tail,
            trace=trace, client_context=json.dumps(client_context).encode() if client_context else b"")
        attached: List[int] = []
        if len(payload) > _frames.INLINE_PAYLOAD:
            request.payload_attached = True
            attached.append(_memory.sealed(payload))
        else:
            request.payload = payload
        try:
            response, received = await self.call_with_descriptors(
                "Invocations", "Invoke", request, m.InvokeResponse, attached, timeout)
        finally:
            for descriptor in attached:
                os.close(descriptor)
        result = response.payload
        for descriptor in received:
            result = _memory.contents(descriptor)
            os.close(descriptor)
        if response.error is not None:
            error = response.error
            raise FunctionError(error.type, error.message, error.stack_trace, error.death)
        return InvokeResult(value=json.loads(result) if result else None, response=response)

    async def run(self, script: Union[str, bytes], *args: str, runtime: str = "python",
                  image: str = "", stdin: bytes = b"", environment: Optional[Dict[str, str]] = None,
                  memory: int = 0, cpus: float = 0, timeout: float = 0, pids: int = 0,
                  tmp: int = 0) -> RunResult:
        """Runs a script once in a sandbox of its own, to its end."""
        source = script.encode() if isinstance(script, str) else script
        request = m.RunRequest(
            runtime=runtime, image=image, script=source, args=["script", *args],
            environment=environment or {},
            limits=limits(memory=memory, cpus=cpus, timeout=timeout, pids=pids, tmp=tmp))
        streams = [_memory.sealed(stdin)]
        try:
            streams += [os.memfd_create(f"spore-{name}", os.MFD_CLOEXEC) for name in ("out", "err")]
            response = await self.services.invocations.run(request, streams)
            return RunResult(stdout=_memory.contents(streams[1]), stderr=_memory.contents(streams[2]),
                             response=response)
        finally:
            for descriptor in streams:
                os.close(descriptor)

    async def info(self) -> m.InfoResponse:
        return await self.services.system.info()

    async def stats(self) -> m.StatsResponse:
        return await self.services.system.stats()


def _isolation(name: str) -> m.Isolation:
    try:
        return {"instance": m.Isolation.ISOLATION_INSTANCE,
                "invocation": m.Isolation.ISOLATION_INVOCATION}[name]
    except KeyError:
        raise ValueError(f'isolation: "{name}"; expected "instance" or "invocation"') from None
