"""Sandboxes that live: programs, code that keeps its state, and files in one place."""
from __future__ import annotations

import shlex
from typing import Any, AsyncIterator, List, Mapping, Optional, Sequence, Union

from .. import messages as m
from ..errors import CodeFailed, ExecFailed
from ..results import CodeResult, ExecResult, limits, milliseconds
from .client import AsyncClient

_CHUNK = 1 << 20
_LONGEST_WAIT_MS = 60000
Command = Union[str, Sequence[str]]
Path = Union[str, bytes]


def _args(command: Command) -> List[str]:
    return shlex.split(command) if isinstance(command, str) else list(command)


def _path(path: Path) -> bytes:
    return path.encode(errors="surrogateescape") if isinstance(path, str) else path


class AsyncProcess:
    """A program that runs in a sandbox by itself (AsyncSandbox.start)."""

    def __init__(self, sandbox: AsyncSandbox, execution: m.Execution) -> None:
        self._sandbox = sandbox
        self.exec_id = execution.exec_id
        self.pid = execution.pid

    async def wait(self, timeout: Optional[float] = None) -> Optional[int]:
        """Its exit code; None when it still runs after `timeout` seconds."""
        left = None if timeout is None else milliseconds(timeout) or 1
        while True:
            wait_ms = _LONGEST_WAIT_MS if left is None else min(left, _LONGEST_WAIT_MS)
            state = await self._sandbox.services.wait_exec(m.WaitExecRequest(
                id=self._sandbox.id, exec_id=self.exec_id, wait_ms=wait_ms))
            if state.state == m.ExecutionState.ENDED:
                return state.exit_code
            if left is not None:
                left -= wait_ms
                if left <= 0:
                    return None

    async def signal(self, number: int) -> None:
        """To its process group."""
        await self._sandbox.services.signal_exec(m.SignalExecRequest(
            id=self._sandbox.id, exec_id=self.exec_id, signal=number))

    async def kill(self) -> None:
        await self.signal(9)

    async def output(self, stderr: bool = False) -> AsyncIterator[bytes]:
        """What it writes, as it comes, to its end. Of what is no longer kept nothing comes."""
        position = 0
        while True:
            part = await self._sandbox.services.read_exec_output(m.ReadExecOutputRequest(
                id=self._sandbox.id, exec_id=self.exec_id, stderr=stderr, position=position,
                wait_ms=_LONGEST_WAIT_MS))
            if part.data:
                yield part.data
            if part.end:
                return
            position = part.position + len(part.data)


class AsyncSandbox:
    """A sandbox of its own, until it is killed or its time is over.

    Made by `create` or found by `connect`; a context manager kills it at its end. Sizes are bytes,
    times seconds, `network` is "none" or as "egress:pypi.org:443" (spore-sandbox(1)). Paths are
    absolute; only /tmp and /dev/shm can be written to.
    """

    def __init__(self, client: AsyncClient, session: m.Session, owns_client: bool = False) -> None:
        self._client = client
        self._owns_client = owns_client
        self.services = client.services.sandboxes
        self.session = session  # as last heard of; `refresh` asks again

    @classmethod
    async def create(cls, image: str = "python", *, ttl: float = 0, idle_timeout: float = 0,
                     memory: int = 0, cpus: float = 0, pids: int = 0, tmp: int = 0,
                     environment: Optional[Mapping[str, str]] = None, label: str = "",
                     network: str = "",
                     client: Optional[AsyncClient] = None) -> AsyncSandbox:
        used = client or AsyncClient()
        session = await used.services.sandboxes.create(m.CreateSandboxRequest(
            image=image, limits=limits(memory=memory, cpus=cpus, pids=pids, tmp=tmp),
            ttl_ms=milliseconds(ttl), idle_timeout_ms=milliseconds(idle_timeout),
            environment=dict(environment or {}), label=label, network=network))
        return cls(used, session, client is None)

    @classmethod
    async def connect(cls, id: str, *, client: Optional[AsyncClient] = None) -> AsyncSandbox:
        """One that is there already, by its id or a unique prefix of it."""
        used = client or AsyncClient()
        session = await used.services.sandboxes.inspect(m.InspectSandboxRequest(id=id))
        return cls(used, session, client is None)

    @classmethod
    async def restore(cls, name: str, *, label: str = "", ttl: float = 0,
                      client: Optional[AsyncClient] = None) -> AsyncSandbox:
        """One that goes on where the one that `checkpoint` has put on disk was. That stays.

        It has the time that was left then, or `ttl` seconds. What is on disk is listed and removed
        by `client.services.session_checkpoints`.
        """
        used = client or AsyncClient()
        session = await used.services.session_checkpoints.restore(m.RestoreSessionRequest(
            name=name, label=label, ttl_ms=milliseconds(ttl)))
        return cls(used, session, client is None)

    @property
    def id(self) -> str:
        return self.session.id

    async def __aenter__(self) -> AsyncSandbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """Ends it with all that runs in it. One that has ended already is fine."""
        try:
            self.session = await self.refresh()
            if self.session.state != m.SessionState.DEAD:
                self.session = await self.services.kill(m.KillSandboxRequest(id=self.id))
        finally:
            if self._owns_client:
                await self._client.close()

    async def refresh(self) -> m.Session:
        self.session = await self.services.inspect(m.InspectSandboxRequest(id=self.id))
        return self.session

    async def extend(self, ttl: float) -> m.Session:
        """It lives for at least `ttl` seconds from now."""
        self.session = await self.services.extend(
            m.ExtendSandboxRequest(id=self.id, ttl_ms=milliseconds(ttl)))
        return self.session

    async def pause(self) -> None:
        self.session = await self.services.pause(m.PauseSandboxRequest(id=self.id))

    async def resume(self) -> None:
        self.session = await self.services.resume(m.ResumeSandboxRequest(id=self.id))

    async def branch(self, copies: int = 1, *, label: str = "", ttl: float = 0,
                     only_interpreter: bool = False) -> List[AsyncSandbox]:
        """Copies of it as it is now, each a sandbox of its own: what its interpreter has in memory, and files.

        They end when this one would, or after `ttl` seconds. Other programs that run in it refuse
        that, or are left out with `only_interpreter`.
        """
        made = await self.services.branch(m.BranchSandboxRequest(
            id=self.id, copies=copies, label=label, ttl_ms=milliseconds(ttl),
            only_interpreter=only_interpreter))
        return [AsyncSandbox(self._client, session) for session in made.sessions]

    async def checkpoint(self, name: str = "", *, leave_running: bool = False) -> m.SessionCheckpoint:
        """Puts all that runs in it on disk, and its files, under a name; without one, under its id.

        It ends then, or goes on with `leave_running`. `restore` makes sandboxes of it.
        """
        made = await self._client.services.session_checkpoints.create(
            m.CreateSessionCheckpointRequest(id=self.id, name=name, leave_running=leave_running))
        assert made.checkpoint is not None
        return made.checkpoint

    # ---- programs ----

    async def exec(self, command: Command, *, input: bytes = b"", cwd: str = "",
                   environment: Optional[Mapping[str, str]] = None, timeout: float = 0,
                   check: bool = False) -> ExecResult:
        """Runs a program to its end. A string is split as a shell would, but no shell runs it.

        Of its output the newest part is returned, up to the sandbox's output limit. With `check` an
        exit code that is not 0 raises ExecFailed.
        """
        response = await self.services.exec(self._request(command, input, cwd, environment, timeout))
        execution = response.exec or m.Execution()
        result = ExecResult(execution.exit_code, response.stdout, response.stderr, response)
        if check and result.exit_code != 0:
            raise ExecFailed(result, result.exit_code, result.stderr)
        return result

    async def start(self, command: Command, *, input: bytes = b"", cwd: str = "",
                    environment: Optional[Mapping[str, str]] = None,
                    timeout: float = 0) -> AsyncProcess:
        """Starts a program that goes on by itself."""
        request = self._request(command, input, cwd, environment, timeout)
        request.detach = True
        response = await self.services.exec(request)
        return AsyncProcess(self, response.exec or m.Execution())

    def _request(self, command: Command, input: bytes, cwd: str,
                 environment: Optional[Mapping[str, str]], timeout: float) -> m.ExecRequest:
        return m.ExecRequest(
            id=self.id, args=_args(command), working_directory=cwd, input=input,
            environment=dict(environment or {}), streams=m.ExecRequestStreams.KEPT,
            timeout_ms=milliseconds(timeout))

    async def processes(self) -> List[m.Process]:
        return (await self.services.list_processes(m.ListProcessesRequest(id=self.id))).processes

    # ---- code ----

    async def run_code(self, code: str, *, timeout: float = 0, check: bool = True) -> CodeResult:
        """Runs a piece of code; what it defines is there for the next. With `check` its error raises
        CodeFailed, else it is in the result."""
        response = await self.services.run_code(m.RunCodeRequest(
            id=self.id, code=code, timeout_ms=milliseconds(timeout)))
        result = CodeResult(
            value=response.value if response.has_value else None,
            stdout=response.stdout.decode(errors="replace"),
            stderr=response.stderr.decode(errors="replace"), response=response)
        error = response.error
        if check and error is not None:
            raise CodeFailed(result, error.type, error.message, error.stack_trace)
        return result

    async def interrupt(self) -> bool:
        """Interrupts the code that runs now; False: none does."""
        return (await self.services.interrupt_code(
            m.InterruptCodeRequest(id=self.id))).was_running

    async def restart_code(self) -> None:
        """Forgets what code has defined; files and programs stay."""
        await self.services.restart_code(m.RestartCodeRequest(id=self.id))

    # ---- files ----

    async def read_file(self, path: Path) -> bytes:
        parts, offset = [], 0
        while True:
            answer = await self.services.read_file(m.ReadFileRequest(
                id=self.id, path=_path(path), offset=offset))
            parts.append(answer.data)
            offset += len(answer.data)
            if answer.end or not answer.data:
                return b"".join(parts)

    async def write_file(self, path: Path, content: Union[str, bytes], *, mode: int = 0) -> None:
        data = content.encode() if isinstance(content, str) else content
        for offset in range(0, max(len(data), 1), _CHUNK):
            await self.services.write_file(m.WriteFileRequest(
                id=self.id, path=_path(path), offset=offset, data=data[offset:offset + _CHUNK],
                create=offset == 0, truncate=offset == 0, mode=mode))

    async def list_files(self, path: Path = "/tmp") -> List[m.FileInfo]:
        files: List[m.FileInfo] = []
        cursor = 0
        while True:
            answer = await self.services.list_files(m.ListFilesRequest(
                id=self.id, path=_path(path), cursor=cursor))
            files += answer.files
            cursor = answer.cursor
            if not cursor:
                return files

    async def stat_file(self, path: Path, *, follow: bool = False) -> m.FileInfo:
        return await self.services.stat_file(m.StatFileRequest(
            id=self.id, path=_path(path), follow=follow))

    async def make_directory(self, path: Path, *, parents: bool = False) -> None:
        await self.services.make_directory(m.MakeDirectoryRequest(
            id=self.id, path=_path(path), parents=parents))

    async def remove_file(self, path: Path, *, recursive: bool = False,
                          missing_ok: bool = False) -> None:
        await self.services.remove_file(m.RemoveFileRequest(
            id=self.id, path=_path(path), recursive=recursive, missing_ok=missing_ok))

    async def rename_file(self, old: Path, new: Path, *, replace: bool = False) -> None:
        await self.services.rename_file(m.RenameFileRequest(
            id=self.id, from_=_path(old), to=_path(new), replace=replace))

    async def watch_files(self, path: Path = "/tmp", *,
                          recursive: bool = False) -> AsyncIterator[m.FileEvent]:
        """Changes below a folder, as they happen; without end."""
        request = m.WatchFilesRequest(id=self.id, path=_path(path), recursive=recursive)
        while True:
            answer = await self.services.watch_files(request)
            for event in answer.events:
                yield event
            request = m.WatchFilesRequest(id=self.id, watch=answer.watch,
                                          wait_ms=_LONGEST_WAIT_MS)


async def list_sandboxes(client: AsyncClient, include_dead: bool = False) -> List[m.Session]:
    answer: Any = await client.services.sandboxes.list(
        m.ListSandboxesRequest(include_dead=include_dead))
    sessions: List[m.Session] = answer.sessions
    return sessions
