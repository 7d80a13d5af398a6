# Written by tools/clients/generate from _async/sandbox.py. Do not edit.
"""Sandboxes that live: programs, code that keeps its state, and files in one place."""
from __future__ import annotations

import shlex
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Union

from .. import messages as m
from ..errors import CodeFailed, ExecFailed
from ..results import CodeResult, ExecResult, limits, milliseconds
from .client import Client

_CHUNK = 1 << 20
_LONGEST_WAIT_MS = 60000
Command = Union[str, Sequence[str]]
Path = Union[str, bytes]


def _args(command: Command) -> List[str]:
    return shlex.split(command) if isinstance(command, str) else list(command)


def _path(path: Path) -> bytes:
    return path.encode(errors="surrogateescape") if isinstance(path, str) else path


class Process:
    """A program that runs in a sandbox by itself (Sandbox.start)."""

    def __init__(self, sandbox: Sandbox, execution: m.Execution) -> None:
        self._sandbox = sandbox
        self.exec_id = execution.exec_id
        self.pid = execution.pid

    def wait(self, timeout: Optional[float] = None) -> Optional[int]:
        """Its exit code; None when it still runs after `timeout` seconds."""
        left = None if timeout is None else milliseconds(timeout) or 1
        while True:
            wait_ms = _LONGEST_WAIT_MS if left is None else min(left, _LONGEST_WAIT_MS)
            state = self._sandbox.services.wait_exec(m.WaitExecRequest(
                id=self._sandbox.id, exec_id=self.exec_id, wait_ms=wait_ms))
            if state.state == m.ExecutionState.ENDED:
                return state.exit_code
            if left is not None:
                left -= wait_ms
                if left <= 0:
                    return None

    def signal(self, number: int) -> None:
        """To its process group."""
        self._sandbox.services.signal_exec(m.SignalExecRequest(
            id=self._sandbox.id, exec_id=self.exec_id, signal=number))

    def kill(self) -> None:
        self.signal(9)

    def output(self, stderr: bool = False) -> Iterator[bytes]:
        """What it writes, as it comes, to its end. Of what is no longer kept nothing comes."""
        position = 0
        while True:
            part = self._sandbox.services.read_exec_output(m.ReadExecOutputRequest(
                id=self._sandbox.id, exec_id=self.exec_id, stderr=stderr, position=position,
                wait_ms=_LONGEST_WAIT_MS))
            if part.data:
                yield part.data
            if part.end:
                return
            position = part.position + len(part.data)


class Sandbox:
    """A sandbox of its own, until it is killed or its time is over.

    Made by `create` or found by `connect`; a context manager kills it at its end. Sizes are bytes,
    times seconds, `network` is "none" or as "egress:pypi.org:443" (spore-sandbox(1)). Paths are
    absolute; only /tmp and /dev/shm can be written to.
    """

    def __init__(self, client: Client, session: m.Session, owns_client: bool = False) -> None:
        self._client = client
        self._owns_client = owns_client
        self.services = client.services.sandboxes
        self.session = session  # as last heard of; `refresh` asks again

    @classmethod
    def create(cls, image: str = "python", *, ttl: float = 0, idle_timeout: float = 0,
                     memory: int = 0, cpus: float = 0, pids: int = 0, tmp: int = 0,
                     environment: Optional[Mapping[str, str]] = None, label: str = "",
                     network: str = "",
                     client: Optional[Client] = None) -> Sandbox:
        used = client or Client()
        session = used.services.sandboxes.create(m.CreateSandboxRequest(
            image=image, limits=limits(memory=memory, cpus=cpus, pids=pids, tmp=tmp),
            ttl_ms=milliseconds(ttl), idle_timeout_ms=milliseconds(idle_timeout),
            environment=dict(environment or {}), label=label, network=network))
        return cls(used, session, client is None)

    @classmethod
    def connect(cls, id: str, *, client: Optional[Client] = None) -> Sandbox:
        """One that is there already, by its id or a unique prefix of it."""
        used = client or Client()
        session = used.services.sandboxes.inspect(m.InspectSandboxRequest(id=id))
        return cls(used, session, client is None)

    @classmethod
    def restore(cls, name: str, *, label: str = "", ttl: float = 0,
                      client: Optional[Client] = None) -> Sandbox:
        """One that goes on where the one that `checkpoint` has put on disk was. That stays.

        It has the time that was left then, or `ttl` seconds. What is on disk is listed and removed
        by `client.services.session_checkpoints`.
        """
        used = client or Client()
        session = used.services.session_checkpoints.restore(m.RestoreSessionRequest(
            name=name, label=label, ttl_ms=milliseconds(ttl)))
        return cls(used, session, client is None)

    @property
    def id(self) -> str:
        return self.session.id

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends it with all that runs in it. One that has ended already is fine."""
        try:
            self.session = self.refresh()
            if self.session.state != m.SessionState.DEAD:
                self.session = self.services.kill(m.KillSandboxRequest(id=self.id))
        finally:
            if self._owns_client:
                self._client.close()

    def refresh(self) -> m.Session:
        self.session = self.services.inspect(m.InspectSandboxRequest(id=self.id))
        return self.session

    def extend(self, ttl: float) -> m.Session:
        """It lives for at least `ttl` seconds from now."""
        self.session = self.services.extend(
            m.ExtendSandboxRequest(id=self.id, ttl_ms=milliseconds(ttl)))
        return self.session

    def pause(self) -> None:
        self.session = self.services.pause(m.PauseSandboxRequest(id=self.id))

    def resume(self) -> None:
        self.session = self.services.resume(m.ResumeSandboxRequest(id=self.id))

    def branch(self, copies: int = 1, *, label: str = "", ttl: float = 0,
                     only_interpreter: bool = False) -> List[Sandbox]:
        """Copies of it as it is now, each a sandbox of its own: what its interpreter has in memory, and files.

        They end when this one would, or after `ttl` seconds. Other programs that run in it refuse
        that, or are left out with `only_interpreter`.
        """
        made = self.services.branch(m.BranchSandboxRequest(
            id=self.id, copies=copies, label=label, ttl_ms=milliseconds(ttl),
            only_interpreter=only_interpreter))
        return [Sandbox(self._client, session) for session in made.sessions]

    def checkpoint(self, name: str = "", *, leave_running: bool = False) -> m.SessionCheckpoint:
        """Puts all that runs in it on disk, and its files, under a name; without one, under its id.

        It ends then, or goes on with `leave_running`. `restore` makes sandboxes of it.
        """
        made = self._client.services.session_checkpoints.create(
            m.CreateSessionCheckpointRequest(id=self.id, name=name, leave_running=leave_running))
        assert made.checkpoint is not None
        return made.checkpoint

    # ---- programs ----

    def exec(self, command: Command, *, input: bytes = b"", cwd: str = "",
                   environment: Optional[Mapping[str, str]] = None, timeout: float = 0,
                   check: bool = False) -> ExecResult:
        """Runs a program to its end. A string is split as a shell would, but no shell runs it.

        Of its output the newest part is returned, up to the sandbox's output limit. With `check` an
        exit code that is not 0 raises ExecFailed.
        """
        response = self.services.exec(self._request(command, input, cwd, environment, timeout))
        execution = response.exec or m.Execution()
        result = ExecResult(execution.exit_code, response.stdout, response.stderr, response)
        if check and result.exit_code != 0:
            raise ExecFailed(result, result.exit_code, result.stderr)
        return result

    def start(self, command: Command, *, input: bytes = b"", cwd: str = "",
                    environment: Optional[Mapping[str, str]] = None,
                    timeout: float = 0) -> Process:
        """Starts a program that goes on by itself."""
        request = self._request(command, input, cwd, environment, timeout)
        request.detach = True
        response = self.services.exec(request)
        return Process(self, response.exec or m.Execution())

    def _request(self, command: Command, input: bytes, cwd: str,
                 environment: Optional[Mapping[str, str]], timeout: float) -> m.ExecRequest:
        return m.ExecRequest(
            id=self.id, args=_args(command), working_directory=cwd, input=input,
            environment=dict(environment or {}), streams=m.ExecRequestStreams.KEPT,
            timeout_ms=milliseconds(timeout))

    def processes(self) -> List[m.Process]:
        return (self.services.list_processes(m.ListProcessesRequest(id=self.id))).processes

    # ---- code ----

    def run_code(self, code: str, *, timeout: float = 0, check: bool = True) -> CodeResult:
        """Runs a piece of code; what it defines is there for the next. With `check` its error raises
        CodeFailed, else it is in the result."""
        response = self.services.run_code(m.RunCodeRequest(
            id=self.id, code=code, timeout_ms=milliseconds(timeout)))
        result = CodeResult(
            value=response.value if response.has_value else None,
            stdout=response.stdout.decode(errors="replace"),
            stderr=response.stderr.decode(errors="replace"), response=response)
        error = response.error
        if check and error is not None:
            raise CodeFailed(result, error.type, error.message, error.stack_trace)
        return result

    def interrupt(self) -> bool:
        """Interrupts the code that runs now; False: none does."""
        return (self.services.interrupt_code(
            m.InterruptCodeRequest(id=self.id))).was_running

    def restart_code(self) -> None:
        """Forgets what code has defined; files and programs stay."""
        self.services.restart_code(m.RestartCodeRequest(id=self.id))

    # ---- files ----

    def read_file(self, path: Path) -> bytes:
        parts, offset = [], 0
        while True:
            answer = self.services.read_file(m.ReadFileRequest(
                id=self.id, path=_path(path), offset=offset))
            parts.append(answer.data)
            offset += len(answer.data)
            if answer.end or not answer.data:
                return b"".join(parts)

    def write_file(self, path: Path, content: Union[str, bytes], *, mode: int = 0) -> None:
        data = content.encode() if isinstance(content, str) else content
        for offset in range(0, max(len(data), 1), _CHUNK):
            self.services.write_file(m.WriteFileRequest(
                id=self.id, path=_path(path), offset=offset, data=data[offset:offset + _CHUNK],
                create=offset == 0, truncate=offset == 0, mode=mode))

    def list_files(self, path: Path = "/tmp") -> List[m.FileInfo]:
        files: List[m.FileInfo] = []
        cursor = 0
        while True:
            answer = self.services.list_files(m.ListFilesRequest(
                id=self.id, path=_path(path), cursor=cursor))
            files += answer.files
            cursor = answer.cursor
            if not cursor:
                return files

    def stat_file(self, path: Path, *, follow: bool = False) -> m.FileInfo:
        return self.services.stat_file(m.StatFileRequest(
            id=self.id, path=_path(path), follow=follow))

    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        self.services.make_directory(m.MakeDirectoryRequest(
            id=self.id, path=_path(path), parents=parents))

    def remove_file(self, path: Path, *, recursive: bool = False,
                          missing_ok: bool = False) -> None:
        self.services.remove_file(m.RemoveFileRequest(
            id=self.id, path=_path(path), recursive=recursive, missing_ok=missing_ok))

    def rename_file(self, old: Path, new: Path, *, replace: bool = False) -> None:
        self.services.rename_file(m.RenameFileRequest(
            id=self.id, from_=_path(old), to=_path(new), replace=replace))

    def watch_files(self, path: Path = "/tmp", *,
                          recursive: bool = False) -> Iterator[m.FileEvent]:
        """Changes below a folder, as they happen; without end."""
        request = m.WatchFilesRequest(id=self.id, path=_path(path), recursive=recursive)
        while True:
            answer = self.services.watch_files(request)
            for event in answer.events:
                yield event
            request = m.WatchFilesRequest(id=self.id, watch=answer.watch,
                                          wait_ms=_LONGEST_WAIT_MS)


def list_sandboxes(client: Client, include_dead: bool = False) -> List[m.Session]:
    answer: Any = client.services.sandboxes.list(
        m.ListSandboxesRequest(include_dead=include_dead))
    sessions: List[m.Session] = answer.sessions
    return sessions
