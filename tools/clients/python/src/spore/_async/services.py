"""Written by tools/clients/generate from the .proto files. Do not edit."""
from __future__ import annotations

from typing import Sequence

from .. import messages as m
from ._service import Service


class Async(Service):

    async def invoke(
        self, request: m.AsyncInvokeRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncInvokeResponse:
        """Accepts an event. Optional descriptor: the payload, when payload_attached."""
        return await self._call("Async", "Invoke",
                                request or m.AsyncInvokeRequest(), m.AsyncInvokeResponse, descriptors)

    async def list(
        self, request: m.ListEventsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListEventsResponse:
        """The newest first."""
        return await self._call("Async", "List",
                                request or m.ListEventsRequest(), m.ListEventsResponse, descriptors)

    async def get(
        self, request: m.GetEventRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncEvent:
        """`id` may be any unique prefix."""
        return await self._call("Async", "Get",
                                request or m.GetEventRequest(), m.AsyncEvent, descriptors)

    async def retry(
        self, request: m.RetryEventRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncEvent:
        """Of DEAD: it waits again, as if it had just been accepted, with the settings its
        function has now. Of WAITING: its next attempt is due at once. FAILED_PRECONDITION in
        other states.
        """
        return await self._call("Async", "Retry",
                                request or m.RetryEventRequest(), m.AsyncEvent, descriptors)

    async def purge(
        self, request: m.PurgeEventsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.PurgeEventsResponse:
        """Forgets events for good, those that wait included; those that run go on and are not
        forgotten.
        """
        return await self._call("Async", "Purge",
                                request or m.PurgeEventsRequest(), m.PurgeEventsResponse, descriptors)

    async def set_policy(
        self, request: m.SetAsyncPolicyRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncPolicy:
        """What becomes of a function's events. Removed with the function."""
        return await self._call("Async", "SetPolicy",
                                request or m.SetAsyncPolicyRequest(), m.AsyncPolicy, descriptors)

    async def get_policy(
        self, request: m.GetAsyncPolicyRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncPolicy:
        return await self._call("Async", "GetPolicy",
                                request or m.GetAsyncPolicyRequest(), m.AsyncPolicy, descriptors)

    async def stats(
        self, request: m.AsyncStatsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AsyncStatsResponse:
        return await self._call("Async", "Stats",
                                request or m.AsyncStatsRequest(), m.AsyncStatsResponse, descriptors)


class Calls(Service):

    async def cancel(
        self, request: m.CancelRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.CancelResponse:
        """Ends another call of the same connection as the connection's end would: an invocation
        is taken out of the queue, or its instance is killed. No answer to that call comes
        after the one to this.
        """
        return await self._call("Calls", "Cancel",
                                request or m.CancelRequest(), m.CancelResponse, descriptors)


class CheckpointTransfer(Service):
    """Root only."""

    async def export(
        self, request: m.ExportCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ExportCheckpointResponse:
        """The checkpoint's digest is computed before it is answered. The answer comes with a
        descriptor: the archive, for reading, from its beginning.
        """
        return await self._call("CheckpointTransfer", "Export",
                                request or m.ExportCheckpointRequest(), m.ExportCheckpointResponse, descriptors)

    async def import_(
        self, request: m.ImportCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ImportCheckpointResponse:
        """One descriptor, a file or pipe: a checkpoint as above, read to its end. Nothing of it
        is kept unless all digests are right. FAILED_PRECONDITION says why it cannot be
        restored here; ALREADY_EXISTS that it is here.
        """
        return await self._call("CheckpointTransfer", "Import",
                                request or m.ImportCheckpointRequest(), m.ImportCheckpointResponse, descriptors)


class Observability(Service):

    async def histograms(
        self, request: m.HistogramsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.HistogramsResponse:
        """How long invocations and their phases took, and how they failed: of all together, and
        by function.
        """
        return await self._call("Observability", "Histograms",
                                request or m.HistogramsRequest(), m.HistogramsResponse, descriptors)

    async def traces(
        self, request: m.TracesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.TracesResponse:
        """The most recent invocations of a function, each with its timed steps."""
        return await self._call("Observability", "Traces",
                                request or m.TracesRequest(), m.TracesResponse, descriptors)

    async def recent_events(
        self, request: m.RecentEventsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RecentEventsResponse:
        """What has happened after `after_sequence`; waits up to wait_ms for the first when there
        is nothing. One uid may have 32 calls waiting at once; another one is answered
        RESOURCE_EXHAUSTED.
        """
        return await self._call("Observability", "RecentEvents",
                                request or m.RecentEventsRequest(), m.RecentEventsResponse, descriptors)


class Sandboxes(Service):

    async def create(
        self, request: m.CreateSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        """Returns when programs can be executed in it."""
        return await self._call("Sandboxes", "Create",
                                request or m.CreateSandboxRequest(), m.Session, descriptors)

    async def list(
        self, request: m.ListSandboxesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListSandboxesResponse:
        return await self._call("Sandboxes", "List",
                                request or m.ListSandboxesRequest(), m.ListSandboxesResponse, descriptors)

    async def inspect(
        self, request: m.InspectSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        return await self._call("Sandboxes", "Inspect",
                                request or m.InspectSandboxRequest(), m.Session, descriptors)

    async def kill(
        self, request: m.KillSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        """Ends it with all that runs in it; returns when that is gone."""
        return await self._call("Sandboxes", "Kill",
                                request or m.KillSandboxRequest(), m.Session, descriptors)

    async def extend(
        self, request: m.ExtendSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        """Moves the end of its time to ttl_ms from now, if that is later. Nothing else ever
        moves it.
        """
        return await self._call("Sandboxes", "Extend",
                                request or m.ExtendSandboxRequest(), m.Session, descriptors)

    async def pause(
        self, request: m.PauseSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        """Stops all its processes where they are (the kernel's cgroup freezer); they take no
        processor time until Resume. Its time goes on, its idleness does not count. Both may
        be asked for twice.
        """
        return await self._call("Sandboxes", "Pause",
                                request or m.PauseSandboxRequest(), m.Session, descriptors)

    async def resume(
        self, request: m.ResumeSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        return await self._call("Sandboxes", "Resume",
                                request or m.ResumeSandboxRequest(), m.Session, descriptors)

    async def branch(
        self, request: m.BranchSandboxRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.BranchSandboxResponse:
        """Copies a running session: all its processes with their threads, memory and open
        descriptors, and the files of /tmp and /dev/shm. Each copy is a session of its own,
        with the source's limits and environment, in namespaces, a cgroup and a uid of its
        own, and shares nothing with the source or with the other copies; the source goes on
        where it was. All are there, or none. A piece of code that the source is in the middle
        of goes on in the copies too; its result is for nobody there. Quick where only an
        interpreter of Python runs; else CRIU dumps and restores the session, as
        SessionCheckpoints does, without the disk. FAILED_PRECONDITION: it is paused, or has
        something that cannot be copied, which the message names.
        """
        return await self._call("Sandboxes", "Branch",
                                request or m.BranchSandboxRequest(), m.BranchSandboxResponse, descriptors)

    async def read_logs(
        self, request: m.ReadSandboxLogsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ReadLogsResponse:
        """What Spore has to say of it, and what its background wrote: the output of its
        interpreter between calls. Waits as Logs.Read does.
        """
        return await self._call("Sandboxes", "ReadLogs",
                                request or m.ReadSandboxLogsRequest(), m.ReadLogsResponse, descriptors)

    async def exec(
        self, request: m.ExecRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ExecResponse:
        """Executes a program; its descriptors depend on `streams`. Returns when the program has
        ended, or, with detach, when it has started. Without detach the end of the connection,
        or of the call's own timeout, kills the program's process group.
        """
        return await self._call("Sandboxes", "Exec",
                                request or m.ExecRequest(), m.ExecResponse, descriptors)

    async def list_execs(
        self, request: m.ListExecsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListExecsResponse:
        """Running and recently ended ones."""
        return await self._call("Sandboxes", "ListExecs",
                                request or m.ListExecsRequest(), m.ListExecsResponse, descriptors)

    async def wait_exec(
        self, request: m.WaitExecRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Execution:
        """Waits for the end of one, at most wait_ms; returns its state then."""
        return await self._call("Sandboxes", "WaitExec",
                                request or m.WaitExecRequest(), m.Execution, descriptors)

    async def read_exec_output(
        self, request: m.ReadExecOutputRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ReadExecOutputResponse:
        """What one with KEPT streams wrote: from a position on, of a ring that holds the newest
        part.
        """
        return await self._call("Sandboxes", "ReadExecOutput",
                                request or m.ReadExecOutputRequest(), m.ReadExecOutputResponse, descriptors)

    async def signal_exec(
        self, request: m.SignalExecRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.SignalExecResponse:
        """A signal to its process group."""
        return await self._call("Sandboxes", "SignalExec",
                                request or m.SignalExecRequest(), m.SignalExecResponse, descriptors)

    async def run_code(
        self, request: m.RunCodeRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RunCodeResponse:
        """Runs a piece of code in the session's interpreter, which is started by the first call.
        One at a time: others wait in turn. Exec and files are not held up. The end of the
        connection interrupts it.
        """
        return await self._call("Sandboxes", "RunCode",
                                request or m.RunCodeRequest(), m.RunCodeResponse, descriptors)

    async def interrupt_code(
        self, request: m.InterruptCodeRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.InterruptCodeResponse:
        """SIGINT for the code that runs now (in Python a KeyboardInterrupt, in JavaScript an
        error "Interrupted"), and what it has started.
        """
        return await self._call("Sandboxes", "InterruptCode",
                                request or m.InterruptCodeRequest(), m.InterruptCodeResponse, descriptors)

    async def restart_code(
        self, request: m.RestartCodeRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RestartCodeResponse:
        """Ends the interpreter; the next call starts a fresh one. Files and execs stay."""
        return await self._call("Sandboxes", "RestartCode",
                                request or m.RestartCodeRequest(), m.RestartCodeResponse, descriptors)

    async def read_file(
        self, request: m.ReadFileRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ReadFileResponse:
        return await self._call("Sandboxes", "ReadFile",
                                request or m.ReadFileRequest(), m.ReadFileResponse, descriptors)

    async def write_file(
        self, request: m.WriteFileRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.WriteFileResponse:
        return await self._call("Sandboxes", "WriteFile",
                                request or m.WriteFileRequest(), m.WriteFileResponse, descriptors)

    async def list_files(
        self, request: m.ListFilesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListFilesResponse:
        return await self._call("Sandboxes", "ListFiles",
                                request or m.ListFilesRequest(), m.ListFilesResponse, descriptors)

    async def stat_file(
        self, request: m.StatFileRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.FileInfo:
        return await self._call("Sandboxes", "StatFile",
                                request or m.StatFileRequest(), m.FileInfo, descriptors)

    async def make_directory(
        self, request: m.MakeDirectoryRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.MakeDirectoryResponse:
        return await self._call("Sandboxes", "MakeDirectory",
                                request or m.MakeDirectoryRequest(), m.MakeDirectoryResponse, descriptors)

    async def remove_file(
        self, request: m.RemoveFileRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveFileResponse:
        return await self._call("Sandboxes", "RemoveFile",
                                request or m.RemoveFileRequest(), m.RemoveFileResponse, descriptors)

    async def rename_file(
        self, request: m.RenameFileRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RenameFileResponse:
        return await self._call("Sandboxes", "RenameFile",
                                request or m.RenameFileRequest(), m.RenameFileResponse, descriptors)

    async def make_symlink(
        self, request: m.MakeSymlinkRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.MakeSymlinkResponse:
        return await self._call("Sandboxes", "MakeSymlink",
                                request or m.MakeSymlinkRequest(), m.MakeSymlinkResponse, descriptors)

    async def set_attributes(
        self, request: m.SetAttributesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.SetAttributesResponse:
        return await self._call("Sandboxes", "SetAttributes",
                                request or m.SetAttributesRequest(), m.SetAttributesResponse, descriptors)

    async def watch_files(
        self, request: m.WatchFilesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.WatchFilesResponse:
        """Changes below a folder. The first call, without a watch, begins one and returns at
        once; each further call waits for the first change, at most wait_ms, and returns all
        since the last call.
        """
        return await self._call("Sandboxes", "WatchFiles",
                                request or m.WatchFilesRequest(), m.WatchFilesResponse, descriptors)

    async def list_processes(
        self, request: m.ListProcessesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListProcessesResponse:
        return await self._call("Sandboxes", "ListProcesses",
                                request or m.ListProcessesRequest(), m.ListProcessesResponse, descriptors)


class Schedules(Service):
    """Each firing is an event. What was missed while the daemon was down is made up for by one
    firing.
    """

    async def add(
        self, request: m.AddScheduleRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Schedule:
        """ALREADY_EXISTS: a schedule of this name is there."""
        return await self._call("Schedules", "Add",
                                request or m.AddScheduleRequest(), m.Schedule, descriptors)

    async def list(
        self, request: m.ListSchedulesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListSchedulesResponse:
        return await self._call("Schedules", "List",
                                request or m.ListSchedulesRequest(), m.ListSchedulesResponse, descriptors)

    async def get(
        self, request: m.GetScheduleRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Schedule:
        return await self._call("Schedules", "Get",
                                request or m.GetScheduleRequest(), m.Schedule, descriptors)

    async def remove(
        self, request: m.RemoveScheduleRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveScheduleResponse:
        return await self._call("Schedules", "Remove",
                                request or m.RemoveScheduleRequest(), m.RemoveScheduleResponse, descriptors)

    async def set_paused(
        self, request: m.SetSchedulePausedRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Schedule:
        """Pauses or resumes; firings that were due while it was paused are not made up for."""
        return await self._call("Schedules", "SetPaused",
                                request or m.SetSchedulePausedRequest(), m.Schedule, descriptors)


class SessionCheckpoints(Service):

    async def create(
        self, request: m.CreateSessionCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.CreateSessionCheckpointResponse:
        """Stops a running session, puts it on disk, and ends it, or lets it go on. Returns when
        it is on disk for good. A session that cannot be put on disk goes on as if nothing had
        been (FAILED_PRECONDITION; the message names what cannot be), unless the message says
        that it has ended.
        """
        return await self._call("SessionCheckpoints", "Create",
                                request or m.CreateSessionCheckpointRequest(), m.CreateSessionCheckpointResponse, descriptors)

    async def list(
        self, request: m.ListSessionCheckpointsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListSessionCheckpointsResponse:
        """The caller's own, the newest first; root gets all. Without their execs and
        environment.
        """
        return await self._call("SessionCheckpoints", "List",
                                request or m.ListSessionCheckpointsRequest(), m.ListSessionCheckpointsResponse, descriptors)

    async def inspect(
        self, request: m.InspectSessionCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.SessionCheckpoint:
        return await self._call("SessionCheckpoints", "Inspect",
                                request or m.InspectSessionCheckpointRequest(), m.SessionCheckpoint, descriptors)

    async def remove(
        self, request: m.RemoveSessionCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveSessionCheckpointResponse:
        """The sessions that were made of it go on."""
        return await self._call("SessionCheckpoints", "Remove",
                                request or m.RemoveSessionCheckpointRequest(), m.RemoveSessionCheckpointResponse, descriptors)

    async def restore(
        self, request: m.RestoreSessionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Session:
        """Makes a session of it: in a sandbox of its own as any session is, with the limits,
        environment and network it had. The checkpoint stays. FAILED_PRECONDITION: it cannot
        be restored here; the message says why.
        """
        return await self._call("SessionCheckpoints", "Restore",
                                request or m.RestoreSessionRequest(), m.Session, descriptors)


class Functions(Service):
    """Deployed code."""

    async def deploy(
        self, request: m.DeployRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Function:
        """Makes a new function. One descriptor: the archive (zip or tar, any compression
        libarchive reads); none, when it is in the message.
        """
        return await self._call("Functions", "Deploy",
                                request or m.DeployRequest(), m.Function, descriptors)

    async def update(
        self, request: m.UpdateRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Function:
        """Replaces code (one descriptor, when archive_attached; or in the message), settings, or
        both. Running invocations finish on the version they started with; later ones never
        see the older version.
        """
        return await self._call("Functions", "Update",
                                request or m.UpdateRequest(), m.Function, descriptors)

    async def get(
        self, request: m.GetFunctionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Function:
        return await self._call("Functions", "Get",
                                request or m.GetFunctionRequest(), m.Function, descriptors)

    async def list(
        self, request: m.ListFunctionsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListFunctionsResponse:
        return await self._call("Functions", "List",
                                request or m.ListFunctionsRequest(), m.ListFunctionsResponse, descriptors)

    async def remove(
        self, request: m.RemoveFunctionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveFunctionResponse:
        """Removes the function, its code and logs; its instances are killed."""
        return await self._call("Functions", "Remove",
                                request or m.RemoveFunctionRequest(), m.RemoveFunctionResponse, descriptors)

    async def advise(
        self, request: m.AdviseRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.AdviseResponse:
        """Loads the function once in a fresh sandbox, does not call it, and tells what importing
        took and which library set of its image would save it. FAILED_PRECONDITION: it cannot
        be loaded, or its runtime cannot tell; says why.
        """
        return await self._call("Functions", "Advise",
                                request or m.AdviseRequest(), m.AdviseResponse, descriptors)


class Invocations(Service):
    """Running things."""

    async def invoke(
        self, request: m.InvokeRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.InvokeResponse:
        """One request to a function. Optional descriptor: the payload, when payload_attached."""
        return await self._call("Invocations", "Invoke",
                                request or m.InvokeRequest(), m.InvokeResponse, descriptors)

    async def run(
        self, request: m.RunRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RunResponse:
        """Runs a script or a program once in a sandbox of its own; returns when it has ended.
        Three descriptors: what becomes its stdin, stdout and stderr (make them pipes:
        whatever is passed is in the hands of the script). Regular files, sockets, terminals
        and /dev/null are taken too; directories and all else are refused. A fourth, when
        program_attached. The connection's end kills the script.
        """
        return await self._call("Invocations", "Run",
                                request or m.RunRequest(), m.RunResponse, descriptors)


class Instances(Service):

    async def list(
        self, request: m.ListInstancesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListInstancesResponse:
        return await self._call("Instances", "List",
                                request or m.ListInstancesRequest(), m.ListInstancesResponse, descriptors)

    async def inspect(
        self, request: m.InspectRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Instance:
        """`id` may be any unique prefix. Also finds recently ended instances."""
        return await self._call("Instances", "Inspect",
                                request or m.InspectRequest(), m.Instance, descriptors)

    async def kill(
        self, request: m.KillRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.KillResponse:
        return await self._call("Instances", "Kill",
                                request or m.KillRequest(), m.KillResponse, descriptors)


class Logs(Service):

    async def read(
        self, request: m.ReadLogsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ReadLogsResponse:
        """Lines of a function after `cursor`; waits up to wait_ms for the first when there is
        none.
        """
        return await self._call("Logs", "Read",
                                request or m.ReadLogsRequest(), m.ReadLogsResponse, descriptors)


class Images(Service):
    """Images and what became of their manifests. Anybody may list them; to change them is for
    root.
    """

    async def list(
        self, request: m.ListImagesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListImagesResponse:
        return await self._call("Images", "List",
                                request or m.ListImagesRequest(), m.ListImagesResponse, descriptors)

    async def get(
        self, request: m.GetImageRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Image:
        """`name`: NAME (of an imported image its newest version) or NAME@VERSION."""
        return await self._call("Images", "Get",
                                request or m.GetImageRequest(), m.Image, descriptors)

    async def import_(
        self, request: m.ImportImageRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ImportImageResponse:
        """Makes a version of an image with a root of its own. One descriptor, a file or pipe: a
        tar archive of the root, or an OCI image layout as a tar archive, read to its end.
        """
        return await self._call("Images", "Import",
                                request or m.ImportImageRequest(), m.ImportImageResponse, descriptors)

    async def verify(
        self, request: m.VerifyImageRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.VerifyImageResponse:
        """Computes every digest again and tells what is not as it was imported."""
        return await self._call("Images", "Verify",
                                request or m.VerifyImageRequest(), m.VerifyImageResponse, descriptors)

    async def remove(
        self, request: m.RemoveImageRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveImageResponse:
        """Removes one version (NAME@VERSION) or all (NAME). FAILED_PRECONDITION names who uses
        it.
        """
        return await self._call("Images", "Remove",
                                request or m.RemoveImageRequest(), m.RemoveImageResponse, descriptors)


class Zygotes(Service):
    """The processes that images' sandboxes are forked from: of each image the runtime's own, and
    one for each library set that is worth its memory. Anybody may list them; all else is for
    root.
    """

    async def list(
        self, request: m.ListZygotesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListZygotesResponse:
        return await self._call("Zygotes", "List",
                                request or m.ListZygotesRequest(), m.ListZygotesResponse, descriptors)

    async def warm(
        self, request: m.WarmZygoteRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Zygote:
        """Starts the image's zygote, or that of its set, if it has none; returns when it is
        ready. FAILED_PRECONDITION says why it cannot be.
        """
        return await self._call("Zygotes", "Warm",
                                request or m.WarmZygoteRequest(), m.Zygote, descriptors)

    async def evict(
        self, request: m.EvictZygoteRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.EvictZygoteResponse:
        """Ends the image's zygote and the sandboxes that wait; returns when they are gone. The
        next request starts it again. FAILED_PRECONDITION: it has no zygote, or one that is
        needed. With a set: ends that zygote and those made from it, and does not wait; their
        functions start from the one above at once, and their instances go on.
        """
        return await self._call("Zygotes", "Evict",
                                request or m.EvictZygoteRequest(), m.EvictZygoteResponse, descriptors)

    async def rotate(
        self, request: m.RotateZygoteRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Zygote:
        """Starts a fresh zygote beside the one that serves, and has it take over when it and its
        sandboxes are ready; returns then. Until then, and if it cannot be made ready
        (FAILED_PRECONDITION says why), the old one serves. Instances of the old one live
        until they end.
        """
        return await self._call("Zygotes", "Rotate",
                                request or m.RotateZygoteRequest(), m.Zygote, descriptors)


class Checkpoints(Service):
    """Zygotes on disk: dumped by CRIU, restored instead of being loaded again. Root only."""

    async def list(
        self, request: m.ListCheckpointsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListCheckpointsResponse:
        """What is on disk, with why it cannot be restored here if so."""
        return await self._call("Checkpoints", "List",
                                request or m.ListCheckpointsRequest(), m.ListCheckpointsResponse, descriptors)

    async def create(
        self, request: m.CreateCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Checkpoint:
        """Starts a zygote of the image that serves nobody, dumps it when it has loaded
        everything, and returns when that is on disk. The one that serves goes on undisturbed.
        """
        return await self._call("Checkpoints", "Create",
                                request or m.CreateCheckpointRequest(), m.Checkpoint, descriptors)

    async def restore(
        self, request: m.RestoreCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Zygote:
        """Starts or replaces the image's zygote by restoring; returns when that serves.
        FAILED_PRECONDITION says why it cannot be: a zygote that served goes on, an image
        without one has it started cold.
        """
        return await self._call("Checkpoints", "Restore",
                                request or m.RestoreCheckpointRequest(), m.Zygote, descriptors)

    async def remove(
        self, request: m.RemoveCheckpointRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveCheckpointResponse:
        return await self._call("Checkpoints", "Remove",
                                request or m.RemoveCheckpointRequest(), m.RemoveCheckpointResponse, descriptors)


class System(Service):

    async def info(
        self, request: m.InfoRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.InfoResponse:
        return await self._call("System", "Info",
                                request or m.InfoRequest(), m.InfoResponse, descriptors)

    async def stats(
        self, request: m.StatsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.StatsResponse:
        return await self._call("System", "Stats",
                                request or m.StatsRequest(), m.StatsResponse, descriptors)


class Versions(Service):

    async def publish(
        self, request: m.PublishVersionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.PublishVersionResponse:
        """Publishes the working copy. When code and settings are those of the newest published
        version, that one is the answer and nothing is made. RESOURCE_EXHAUSTED: the caller's
        max-functions, for which each published version counts as a function.
        """
        return await self._call("Versions", "Publish",
                                request or m.PublishVersionRequest(), m.PublishVersionResponse, descriptors)

    async def list(
        self, request: m.ListVersionsRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListVersionsResponse:
        """In the order of their numbers."""
        return await self._call("Versions", "List",
                                request or m.ListVersionsRequest(), m.ListVersionsResponse, descriptors)

    async def remove(
        self, request: m.RemoveVersionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveVersionResponse:
        """FAILED_PRECONDITION: an alias names it. Invocations in progress end on it."""
        return await self._call("Versions", "Remove",
                                request or m.RemoveVersionRequest(), m.RemoveVersionResponse, descriptors)

    async def set_alias(
        self, request: m.SetAliasRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.Alias:
        """Makes the alias or, unless `create`, changes it."""
        return await self._call("Versions", "SetAlias",
                                request or m.SetAliasRequest(), m.Alias, descriptors)

    async def list_aliases(
        self, request: m.ListAliasesRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ListAliasesResponse:
        return await self._call("Versions", "ListAliases",
                                request or m.ListAliasesRequest(), m.ListAliasesResponse, descriptors)

    async def remove_alias(
        self, request: m.RemoveAliasRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.RemoveAliasResponse:
        return await self._call("Versions", "RemoveAlias",
                                request or m.RemoveAliasRequest(), m.RemoveAliasResponse, descriptors)

    async def tag(
        self, request: m.TagRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.TagResponse:
        """Adds, replaces and removes tags of the function."""
        return await self._call("Versions", "Tag",
                                request or m.TagRequest(), m.TagResponse, descriptors)

    async def set_concurrency(
        self, request: m.SetConcurrencyRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.SetConcurrencyResponse:
        """Reserves instances: so many at once of the working copy and all published versions
        together.
        """
        return await self._call("Versions", "SetConcurrency",
                                request or m.SetConcurrencyRequest(), m.SetConcurrencyResponse, descriptors)

    async def provision(
        self, request: m.ProvisionRequest | None = None, descriptors: Sequence[int] = ()
    ) -> m.ProvisionResponse:
        """Keeps instances of a published version or alias ready, as
        FunctionSettings.min_instances does of the working copy. What several ask for of one
        version adds up.
        """
        return await self._call("Versions", "Provision",
                                request or m.ProvisionRequest(), m.ProvisionResponse, descriptors)


class Services(Service):
    """Every service of the protocol, by its name in lower case."""

    def __init__(self, caller: Service) -> None:
        super().__init__(caller.call)
        self.async_ = Async(caller.call)
        self.calls = Calls(caller.call)
        self.checkpoint_transfer = CheckpointTransfer(caller.call)
        self.observability = Observability(caller.call)
        self.sandboxes = Sandboxes(caller.call)
        self.schedules = Schedules(caller.call)
        self.session_checkpoints = SessionCheckpoints(caller.call)
        self.functions = Functions(caller.call)
        self.invocations = Invocations(caller.call)
        self.instances = Instances(caller.call)
        self.logs = Logs(caller.call)
        self.images = Images(caller.call)
        self.zygotes = Zygotes(caller.call)
        self.checkpoints = Checkpoints(caller.call)
        self.system = System(caller.call)
        self.versions = Versions(caller.call)
