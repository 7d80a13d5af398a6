// Written by tools/clients/generate from the .proto files. Do not edit.
import * as m from "./messages";
import { CallOptions, Caller } from "./wire";

export class Async {
  constructor(private readonly caller: Caller) {}

  // Accepts an event. Optional descriptor: the payload, when payload_attached.
  invoke(request: Partial<m.AsyncInvokeRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncInvokeResponse> {
    return this.caller.call("Async", "Invoke", m.AsyncInvokeRequest, request,
        m.AsyncInvokeResponse, options);
  }

  // The newest first.
  list(request: Partial<m.ListEventsRequest> = {},
      options: CallOptions = {}): Promise<m.ListEventsResponse> {
    return this.caller.call("Async", "List", m.ListEventsRequest, request,
        m.ListEventsResponse, options);
  }

  // `id` may be any unique prefix.
  get(request: Partial<m.GetEventRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncEvent> {
    return this.caller.call("Async", "Get", m.GetEventRequest, request,
        m.AsyncEvent, options);
  }

  // Of DEAD: it waits again, as if it had just been accepted, with the settings its function has
  // now. Of WAITING: its next attempt is due at once. FAILED_PRECONDITION in other states.
  retry(request: Partial<m.RetryEventRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncEvent> {
    return this.caller.call("Async", "Retry", m.RetryEventRequest, request,
        m.AsyncEvent, options);
  }

  // Forgets events for good, those that wait included; those that run go on and are not forgotten.
  purge(request: Partial<m.PurgeEventsRequest> = {},
      options: CallOptions = {}): Promise<m.PurgeEventsResponse> {
    return this.caller.call("Async", "Purge", m.PurgeEventsRequest, request,
        m.PurgeEventsResponse, options);
  }

  // What becomes of a function's events. Removed with the function.
  setPolicy(request: Partial<m.SetAsyncPolicyRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncPolicy> {
    return this.caller.call("Async", "SetPolicy", m.SetAsyncPolicyRequest, request,
        m.AsyncPolicy, options);
  }

  getPolicy(request: Partial<m.GetAsyncPolicyRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncPolicy> {
    return this.caller.call("Async", "GetPolicy", m.GetAsyncPolicyRequest, request,
        m.AsyncPolicy, options);
  }

  stats(request: Partial<m.AsyncStatsRequest> = {},
      options: CallOptions = {}): Promise<m.AsyncStatsResponse> {
    return this.caller.call("Async", "Stats", m.AsyncStatsRequest, request,
        m.AsyncStatsResponse, options);
  }
}

export class Calls {
  constructor(private readonly caller: Caller) {}

  // Ends another call of the same connection as the connection's end would: an invocation is taken
  // out of the queue, or its instance is killed. No answer to that call comes after the one to
  // this.
  cancel(request: Partial<m.CancelRequest> = {},
      options: CallOptions = {}): Promise<m.CancelResponse> {
    return this.caller.call("Calls", "Cancel", m.CancelRequest, request,
        m.CancelResponse, options);
  }
}

// Root only.
export class CheckpointTransfer {
  constructor(private readonly caller: Caller) {}

  // The checkpoint's digest is computed before it is answered. The answer comes with a descriptor:
  // the
  // archive, for reading, from its beginning.
  export(request: Partial<m.ExportCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.ExportCheckpointResponse> {
    return this.caller.call("CheckpointTransfer", "Export", m.ExportCheckpointRequest, request,
        m.ExportCheckpointResponse, options);
  }

  // One descriptor, a file or pipe: a checkpoint as above, read to its end. Nothing of it is kept
  // unless
  // all digests are right. FAILED_PRECONDITION says why it cannot be restored here; ALREADY_EXISTS
  // that
  // it is here.
  import(request: Partial<m.ImportCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.ImportCheckpointResponse> {
    return this.caller.call("CheckpointTransfer", "Import", m.ImportCheckpointRequest, request,
        m.ImportCheckpointResponse, options);
  }
}

export class Observability {
  constructor(private readonly caller: Caller) {}

  // How long invocations and their phases took, and how they failed: of all together, and by
  // function.
  histograms(request: Partial<m.HistogramsRequest> = {},
      options: CallOptions = {}): Promise<m.HistogramsResponse> {
    return this.caller.call("Observability", "Histograms", m.HistogramsRequest, request,
        m.HistogramsResponse, options);
  }

  // The most recent invocations of a function, each with its timed steps.
  traces(request: Partial<m.TracesRequest> = {},
      options: CallOptions = {}): Promise<m.TracesResponse> {
    return this.caller.call("Observability", "Traces", m.TracesRequest, request,
        m.TracesResponse, options);
  }

  // What has happened after `after_sequence`; waits up to wait_ms for the first when there is
  // nothing. One
  // uid may have 32 calls waiting at once; another one is answered RESOURCE_EXHAUSTED.
  recentEvents(request: Partial<m.RecentEventsRequest> = {},
      options: CallOptions = {}): Promise<m.RecentEventsResponse> {
    return this.caller.call("Observability", "RecentEvents", m.RecentEventsRequest, request,
        m.RecentEventsResponse, options);
  }
}

export class Sandboxes {
  constructor(private readonly caller: Caller) {}

  // Returns when programs can be executed in it.
  create(request: Partial<m.CreateSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Create", m.CreateSandboxRequest, request,
        m.Session, options);
  }

  list(request: Partial<m.ListSandboxesRequest> = {},
      options: CallOptions = {}): Promise<m.ListSandboxesResponse> {
    return this.caller.call("Sandboxes", "List", m.ListSandboxesRequest, request,
        m.ListSandboxesResponse, options);
  }

  inspect(request: Partial<m.InspectSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Inspect", m.InspectSandboxRequest, request,
        m.Session, options);
  }

  // Ends it with all that runs in it; returns when that is gone.
  kill(request: Partial<m.KillSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Kill", m.KillSandboxRequest, request,
        m.Session, options);
  }

  // Moves the end of its time to ttl_ms from now, if that is later. Nothing else ever moves it.
  extend(request: Partial<m.ExtendSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Extend", m.ExtendSandboxRequest, request,
        m.Session, options);
  }

  // Stops all its processes where they are (the kernel's cgroup freezer); they take no processor
  // time until Resume. Its time goes on, its idleness does not count. Both may be asked for twice.
  pause(request: Partial<m.PauseSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Pause", m.PauseSandboxRequest, request,
        m.Session, options);
  }

  resume(request: Partial<m.ResumeSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("Sandboxes", "Resume", m.ResumeSandboxRequest, request,
        m.Session, options);
  }

  // Copies a running session: all its processes with their threads, memory and open descriptors,
  // and the
  // files of /tmp and /dev/shm. Each copy is a session of its own, with the source's limits and
  // environment, in
  // namespaces, a cgroup and a uid of its own, and shares nothing with the source or with the
  // other
  // copies; the source goes on where it was. All are there, or none. A piece of code that the
  // source is in the
  // middle of goes on in the copies too; its result is for nobody there.
  // Quick where only an interpreter of Python runs; else CRIU dumps and restores the session, as
  // SessionCheckpoints
  // does, without the disk. FAILED_PRECONDITION: it is paused, or has something that cannot be
  // copied, which
  // the message names.
  branch(request: Partial<m.BranchSandboxRequest> = {},
      options: CallOptions = {}): Promise<m.BranchSandboxResponse> {
    return this.caller.call("Sandboxes", "Branch", m.BranchSandboxRequest, request,
        m.BranchSandboxResponse, options);
  }

  // What Spore has to say of it, and what its background wrote: the output of its interpreter
  // between calls. Waits as Logs.Read does.
  readLogs(request: Partial<m.ReadSandboxLogsRequest> = {},
      options: CallOptions = {}): Promise<m.ReadLogsResponse> {
    return this.caller.call("Sandboxes", "ReadLogs", m.ReadSandboxLogsRequest, request,
        m.ReadLogsResponse, options);
  }

  // Executes a program; its descriptors depend on `streams`. Returns when the program has ended,
  // or,
  // with detach, when it has started. Without detach the end of the connection, or of the call's
  // own
  // timeout, kills the program's process group.
  exec(request: Partial<m.ExecRequest> = {},
      options: CallOptions = {}): Promise<m.ExecResponse> {
    return this.caller.call("Sandboxes", "Exec", m.ExecRequest, request,
        m.ExecResponse, options);
  }

  // Running and recently ended ones.
  listExecs(request: Partial<m.ListExecsRequest> = {},
      options: CallOptions = {}): Promise<m.ListExecsResponse> {
    return this.caller.call("Sandboxes", "ListExecs", m.ListExecsRequest, request,
        m.ListExecsResponse, options);
  }

  // Waits for the end of one, at most wait_ms; returns its state then.
  waitExec(request: Partial<m.WaitExecRequest> = {},
      options: CallOptions = {}): Promise<m.Execution> {
    return this.caller.call("Sandboxes", "WaitExec", m.WaitExecRequest, request,
        m.Execution, options);
  }

  // What one with KEPT streams wrote: from a position on, of a ring that holds the newest part.
  readExecOutput(request: Partial<m.ReadExecOutputRequest> = {},
      options: CallOptions = {}): Promise<m.ReadExecOutputResponse> {
    return this.caller.call("Sandboxes", "ReadExecOutput", m.ReadExecOutputRequest, request,
        m.ReadExecOutputResponse, options);
  }

  // A signal to its process group.
  signalExec(request: Partial<m.SignalExecRequest> = {},
      options: CallOptions = {}): Promise<m.SignalExecResponse> {
    return this.caller.call("Sandboxes", "SignalExec", m.SignalExecRequest, request,
        m.SignalExecResponse, options);
  }

  // Runs a piece of code in the session's interpreter, which is started by the first call. One at
  // a
  // time: others wait in turn. Exec and files are not held up. The end of the connection
  // interrupts it.
  runCode(request: Partial<m.RunCodeRequest> = {},
      options: CallOptions = {}): Promise<m.RunCodeResponse> {
    return this.caller.call("Sandboxes", "RunCode", m.RunCodeRequest, request,
        m.RunCodeResponse, options);
  }

  // SIGINT for the code that runs now (in Python a KeyboardInterrupt, in JavaScript an error
  // "Interrupted"),
  // and what it has started.
  interruptCode(request: Partial<m.InterruptCodeRequest> = {},
      options: CallOptions = {}): Promise<m.InterruptCodeResponse> {
    return this.caller.call("Sandboxes", "InterruptCode", m.InterruptCodeRequest, request,
        m.InterruptCodeResponse, options);
  }

  // Ends the interpreter; the next call starts a fresh one. Files and execs stay.
  restartCode(request: Partial<m.RestartCodeRequest> = {},
      options: CallOptions = {}): Promise<m.RestartCodeResponse> {
    return this.caller.call("Sandboxes", "RestartCode", m.RestartCodeRequest, request,
        m.RestartCodeResponse, options);
  }

  readFile(request: Partial<m.ReadFileRequest> = {},
      options: CallOptions = {}): Promise<m.ReadFileResponse> {
    return this.caller.call("Sandboxes", "ReadFile", m.ReadFileRequest, request,
        m.ReadFileResponse, options);
  }

  writeFile(request: Partial<m.WriteFileRequest> = {},
      options: CallOptions = {}): Promise<m.WriteFileResponse> {
    return this.caller.call("Sandboxes", "WriteFile", m.WriteFileRequest, request,
        m.WriteFileResponse, options);
  }

  listFiles(request: Partial<m.ListFilesRequest> = {},
      options: CallOptions = {}): Promise<m.ListFilesResponse> {
    return this.caller.call("Sandboxes", "ListFiles", m.ListFilesRequest, request,
        m.ListFilesResponse, options);
  }

  statFile(request: Partial<m.StatFileRequest> = {},
      options: CallOptions = {}): Promise<m.FileInfo> {
    return this.caller.call("Sandboxes", "StatFile", m.StatFileRequest, request,
        m.FileInfo, options);
  }

  makeDirectory(request: Partial<m.MakeDirectoryRequest> = {},
      options: CallOptions = {}): Promise<m.MakeDirectoryResponse> {
    return this.caller.call("Sandboxes", "MakeDirectory", m.MakeDirectoryRequest, request,
        m.MakeDirectoryResponse, options);
  }

  removeFile(request: Partial<m.RemoveFileRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveFileResponse> {
    return this.caller.call("Sandboxes", "RemoveFile", m.RemoveFileRequest, request,
        m.RemoveFileResponse, options);
  }

  renameFile(request: Partial<m.RenameFileRequest> = {},
      options: CallOptions = {}): Promise<m.RenameFileResponse> {
    return this.caller.call("Sandboxes", "RenameFile", m.RenameFileRequest, request,
        m.RenameFileResponse, options);
  }

  makeSymlink(request: Partial<m.MakeSymlinkRequest> = {},
      options: CallOptions = {}): Promise<m.MakeSymlinkResponse> {
    return this.caller.call("Sandboxes", "MakeSymlink", m.MakeSymlinkRequest, request,
        m.MakeSymlinkResponse, options);
  }

  setAttributes(request: Partial<m.SetAttributesRequest> = {},
      options: CallOptions = {}): Promise<m.SetAttributesResponse> {
    return this.caller.call("Sandboxes", "SetAttributes", m.SetAttributesRequest, request,
        m.SetAttributesResponse, options);
  }

  // Changes below a folder. The first call, without a watch, begins one and returns at once; each
  // further call waits for the first change, at most wait_ms, and returns all since the last call.
  watchFiles(request: Partial<m.WatchFilesRequest> = {},
      options: CallOptions = {}): Promise<m.WatchFilesResponse> {
    return this.caller.call("Sandboxes", "WatchFiles", m.WatchFilesRequest, request,
        m.WatchFilesResponse, options);
  }

  listProcesses(request: Partial<m.ListProcessesRequest> = {},
      options: CallOptions = {}): Promise<m.ListProcessesResponse> {
    return this.caller.call("Sandboxes", "ListProcesses", m.ListProcessesRequest, request,
        m.ListProcessesResponse, options);
  }
}

// Each firing is an event. What was missed while the daemon was down is made up for by one firing.
export class Schedules {
  constructor(private readonly caller: Caller) {}

  // ALREADY_EXISTS: a schedule of this name is there.
  add(request: Partial<m.AddScheduleRequest> = {},
      options: CallOptions = {}): Promise<m.Schedule> {
    return this.caller.call("Schedules", "Add", m.AddScheduleRequest, request,
        m.Schedule, options);
  }

  list(request: Partial<m.ListSchedulesRequest> = {},
      options: CallOptions = {}): Promise<m.ListSchedulesResponse> {
    return this.caller.call("Schedules", "List", m.ListSchedulesRequest, request,
        m.ListSchedulesResponse, options);
  }

  get(request: Partial<m.GetScheduleRequest> = {},
      options: CallOptions = {}): Promise<m.Schedule> {
    return this.caller.call("Schedules", "Get", m.GetScheduleRequest, request,
        m.Schedule, options);
  }

  remove(request: Partial<m.RemoveScheduleRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveScheduleResponse> {
    return this.caller.call("Schedules", "Remove", m.RemoveScheduleRequest, request,
        m.RemoveScheduleResponse, options);
  }

  // Pauses or resumes; firings that were due while it was paused are not made up for.
  setPaused(request: Partial<m.SetSchedulePausedRequest> = {},
      options: CallOptions = {}): Promise<m.Schedule> {
    return this.caller.call("Schedules", "SetPaused", m.SetSchedulePausedRequest, request,
        m.Schedule, options);
  }
}

export class SessionCheckpoints {
  constructor(private readonly caller: Caller) {}

  // Stops a running session, puts it on disk, and ends it, or lets it go on. Returns when it is on
  // disk for good. A
  // session that cannot be put on disk goes on as if nothing had been (FAILED_PRECONDITION; the
  // message names
  // what cannot be), unless the message says that it has ended.
  create(request: Partial<m.CreateSessionCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.CreateSessionCheckpointResponse> {
    return this.caller.call("SessionCheckpoints", "Create", m.CreateSessionCheckpointRequest, request,
        m.CreateSessionCheckpointResponse, options);
  }

  // The caller's own, the newest first; root gets all. Without their execs and environment.
  list(request: Partial<m.ListSessionCheckpointsRequest> = {},
      options: CallOptions = {}): Promise<m.ListSessionCheckpointsResponse> {
    return this.caller.call("SessionCheckpoints", "List", m.ListSessionCheckpointsRequest, request,
        m.ListSessionCheckpointsResponse, options);
  }

  inspect(request: Partial<m.InspectSessionCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.SessionCheckpoint> {
    return this.caller.call("SessionCheckpoints", "Inspect", m.InspectSessionCheckpointRequest, request,
        m.SessionCheckpoint, options);
  }

  // The sessions that were made of it go on.
  remove(request: Partial<m.RemoveSessionCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveSessionCheckpointResponse> {
    return this.caller.call("SessionCheckpoints", "Remove", m.RemoveSessionCheckpointRequest, request,
        m.RemoveSessionCheckpointResponse, options);
  }

  // Makes a session of it: in a sandbox of its own as any session is, with the limits, environment
  // and network it
  // had. The checkpoint stays. FAILED_PRECONDITION: it cannot be restored here; the message says
  // why.
  restore(request: Partial<m.RestoreSessionRequest> = {},
      options: CallOptions = {}): Promise<m.Session> {
    return this.caller.call("SessionCheckpoints", "Restore", m.RestoreSessionRequest, request,
        m.Session, options);
  }
}

// Deployed code.
export class Functions {
  constructor(private readonly caller: Caller) {}

  // Makes a new function. One descriptor: the archive (zip or tar, any compression libarchive
  // reads);
  // none, when it is in the message.
  deploy(request: Partial<m.DeployRequest> = {},
      options: CallOptions = {}): Promise<m.Function> {
    return this.caller.call("Functions", "Deploy", m.DeployRequest, request,
        m.Function, options);
  }

  // Replaces code (one descriptor, when archive_attached; or in the message), settings, or both.
  // Running
  // invocations finish on the version they started with; later ones never see the older version.
  update(request: Partial<m.UpdateRequest> = {},
      options: CallOptions = {}): Promise<m.Function> {
    return this.caller.call("Functions", "Update", m.UpdateRequest, request,
        m.Function, options);
  }

  get(request: Partial<m.GetFunctionRequest> = {},
      options: CallOptions = {}): Promise<m.Function> {
    return this.caller.call("Functions", "Get", m.GetFunctionRequest, request,
        m.Function, options);
  }

  list(request: Partial<m.ListFunctionsRequest> = {},
      options: CallOptions = {}): Promise<m.ListFunctionsResponse> {
    return this.caller.call("Functions", "List", m.ListFunctionsRequest, request,
        m.ListFunctionsResponse, options);
  }

  // Removes the function, its code and logs; its instances are killed.
  remove(request: Partial<m.RemoveFunctionRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveFunctionResponse> {
    return this.caller.call("Functions", "Remove", m.RemoveFunctionRequest, request,
        m.RemoveFunctionResponse, options);
  }

  // Loads the function once in a fresh sandbox, does not call it, and tells what importing took
  // and
  // which library set of its image would save it. FAILED_PRECONDITION: it cannot be loaded, or
  // its runtime cannot tell; says why.
  advise(request: Partial<m.AdviseRequest> = {},
      options: CallOptions = {}): Promise<m.AdviseResponse> {
    return this.caller.call("Functions", "Advise", m.AdviseRequest, request,
        m.AdviseResponse, options);
  }
}

// Running things.
export class Invocations {
  constructor(private readonly caller: Caller) {}

  // One request to a function. Optional descriptor: the payload, when payload_attached.
  invoke(request: Partial<m.InvokeRequest> = {},
      options: CallOptions = {}): Promise<m.InvokeResponse> {
    return this.caller.call("Invocations", "Invoke", m.InvokeRequest, request,
        m.InvokeResponse, options);
  }

  // Runs a script or a program once in a sandbox of its own; returns when it has ended. Three
  // descriptors: what becomes its stdin, stdout and stderr (make them pipes: whatever is passed is
  // in the hands of
  // the script). Regular files, sockets, terminals and /dev/null are taken too; directories and
  // all else are refused. A fourth, when program_attached. The connection's end kills the script.
  run(request: Partial<m.RunRequest> = {},
      options: CallOptions = {}): Promise<m.RunResponse> {
    return this.caller.call("Invocations", "Run", m.RunRequest, request,
        m.RunResponse, options);
  }
}

export class Instances {
  constructor(private readonly caller: Caller) {}

  list(request: Partial<m.ListInstancesRequest> = {},
      options: CallOptions = {}): Promise<m.ListInstancesResponse> {
    return this.caller.call("Instances", "List", m.ListInstancesRequest, request,
        m.ListInstancesResponse, options);
  }

  // `id` may be any unique prefix. Also finds recently ended instances.
  inspect(request: Partial<m.InspectRequest> = {},
      options: CallOptions = {}): Promise<m.Instance> {
    return this.caller.call("Instances", "Inspect", m.InspectRequest, request,
        m.Instance, options);
  }

  kill(request: Partial<m.KillRequest> = {},
      options: CallOptions = {}): Promise<m.KillResponse> {
    return this.caller.call("Instances", "Kill", m.KillRequest, request,
        m.KillResponse, options);
  }
}

export class Logs {
  constructor(private readonly caller: Caller) {}

  // Lines of a function after `cursor`; waits up to wait_ms for the first when there is none.
  read(request: Partial<m.ReadLogsRequest> = {},
      options: CallOptions = {}): Promise<m.ReadLogsResponse> {
    return this.caller.call("Logs", "Read", m.ReadLogsRequest, request,
        m.ReadLogsResponse, options);
  }
}

// Images and what became of their manifests. Anybody may list them; to change them is for root.
export class Images {
  constructor(private readonly caller: Caller) {}

  list(request: Partial<m.ListImagesRequest> = {},
      options: CallOptions = {}): Promise<m.ListImagesResponse> {
    return this.caller.call("Images", "List", m.ListImagesRequest, request,
        m.ListImagesResponse, options);
  }

  // `name`: NAME (of an imported image its newest version) or NAME@VERSION.
  get(request: Partial<m.GetImageRequest> = {},
      options: CallOptions = {}): Promise<m.Image> {
    return this.caller.call("Images", "Get", m.GetImageRequest, request,
        m.Image, options);
  }

  // Makes a version of an image with a root of its own. One descriptor, a file or pipe: a tar
  // archive
  // of the root, or an OCI image layout as a tar archive, read to its end.
  import(request: Partial<m.ImportImageRequest> = {},
      options: CallOptions = {}): Promise<m.ImportImageResponse> {
    return this.caller.call("Images", "Import", m.ImportImageRequest, request,
        m.ImportImageResponse, options);
  }

  // Computes every digest again and tells what is not as it was imported.
  verify(request: Partial<m.VerifyImageRequest> = {},
      options: CallOptions = {}): Promise<m.VerifyImageResponse> {
    return this.caller.call("Images", "Verify", m.VerifyImageRequest, request,
        m.VerifyImageResponse, options);
  }

  // Removes one version (NAME@VERSION) or all (NAME). FAILED_PRECONDITION names who uses it.
  remove(request: Partial<m.RemoveImageRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveImageResponse> {
    return this.caller.call("Images", "Remove", m.RemoveImageRequest, request,
        m.RemoveImageResponse, options);
  }
}

// The processes that images' sandboxes are forked from: of each image the runtime's own, and one
// for
// each library set that is worth its memory. Anybody may list them; all else is for root.
export class Zygotes {
  constructor(private readonly caller: Caller) {}

  list(request: Partial<m.ListZygotesRequest> = {},
      options: CallOptions = {}): Promise<m.ListZygotesResponse> {
    return this.caller.call("Zygotes", "List", m.ListZygotesRequest, request,
        m.ListZygotesResponse, options);
  }

  // Starts the image's zygote, or that of its set, if it has none; returns when it is ready.
  // FAILED_PRECONDITION says why it cannot be.
  warm(request: Partial<m.WarmZygoteRequest> = {},
      options: CallOptions = {}): Promise<m.Zygote> {
    return this.caller.call("Zygotes", "Warm", m.WarmZygoteRequest, request,
        m.Zygote, options);
  }

  // Ends the image's zygote and the sandboxes that wait; returns when they are gone. The next
  // request
  // starts it again. FAILED_PRECONDITION: it has no zygote, or one that is needed. With a set:
  // ends
  // that zygote and those made from it, and does not wait; their functions start from the one
  // above at
  // once, and their instances go on.
  evict(request: Partial<m.EvictZygoteRequest> = {},
      options: CallOptions = {}): Promise<m.EvictZygoteResponse> {
    return this.caller.call("Zygotes", "Evict", m.EvictZygoteRequest, request,
        m.EvictZygoteResponse, options);
  }

  // Starts a fresh zygote beside the one that serves, and has it take over when it and its
  // sandboxes
  // are ready; returns then. Until then, and if it cannot be made ready (FAILED_PRECONDITION says
  // why), the old one serves. Instances of the old one live until they end.
  rotate(request: Partial<m.RotateZygoteRequest> = {},
      options: CallOptions = {}): Promise<m.Zygote> {
    return this.caller.call("Zygotes", "Rotate", m.RotateZygoteRequest, request,
        m.Zygote, options);
  }
}

// Zygotes on disk: dumped by CRIU, restored instead of being loaded again. Root only.
export class Checkpoints {
  constructor(private readonly caller: Caller) {}

  // What is on disk, with why it cannot be restored here if so.
  list(request: Partial<m.ListCheckpointsRequest> = {},
      options: CallOptions = {}): Promise<m.ListCheckpointsResponse> {
    return this.caller.call("Checkpoints", "List", m.ListCheckpointsRequest, request,
        m.ListCheckpointsResponse, options);
  }

  // Starts a zygote of the image that serves nobody, dumps it when it has loaded everything, and
  // returns when that is on disk. The one that serves goes on undisturbed.
  create(request: Partial<m.CreateCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.Checkpoint> {
    return this.caller.call("Checkpoints", "Create", m.CreateCheckpointRequest, request,
        m.Checkpoint, options);
  }

  // Starts or replaces the image's zygote by restoring; returns when that serves.
  // FAILED_PRECONDITION
  // says why it cannot be: a zygote that served goes on, an image without one has it started cold.
  restore(request: Partial<m.RestoreCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.Zygote> {
    return this.caller.call("Checkpoints", "Restore", m.RestoreCheckpointRequest, request,
        m.Zygote, options);
  }

  remove(request: Partial<m.RemoveCheckpointRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveCheckpointResponse> {
    return this.caller.call("Checkpoints", "Remove", m.RemoveCheckpointRequest, request,
        m.RemoveCheckpointResponse, options);
  }
}

export class System {
  constructor(private readonly caller: Caller) {}

  info(request: Partial<m.InfoRequest> = {},
      options: CallOptions = {}): Promise<m.InfoResponse> {
    return this.caller.call("System", "Info", m.InfoRequest, request,
        m.InfoResponse, options);
  }

  stats(request: Partial<m.StatsRequest> = {},
      options: CallOptions = {}): Promise<m.StatsResponse> {
    return this.caller.call("System", "Stats", m.StatsRequest, request,
        m.StatsResponse, options);
  }
}

export class Versions {
  constructor(private readonly caller: Caller) {}

  // Publishes the working copy. When code and settings are those of the newest published version,
  // that
  // one is the answer and nothing is made. RESOURCE_EXHAUSTED: the caller's max-functions, for
  // which
  // each published version counts as a function.
  publish(request: Partial<m.PublishVersionRequest> = {},
      options: CallOptions = {}): Promise<m.PublishVersionResponse> {
    return this.caller.call("Versions", "Publish", m.PublishVersionRequest, request,
        m.PublishVersionResponse, options);
  }

  // In the order of their numbers.
  list(request: Partial<m.ListVersionsRequest> = {},
      options: CallOptions = {}): Promise<m.ListVersionsResponse> {
    return this.caller.call("Versions", "List", m.ListVersionsRequest, request,
        m.ListVersionsResponse, options);
  }

  // FAILED_PRECONDITION: an alias names it. Invocations in progress end on it.
  remove(request: Partial<m.RemoveVersionRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveVersionResponse> {
    return this.caller.call("Versions", "Remove", m.RemoveVersionRequest, request,
        m.RemoveVersionResponse, options);
  }

  // Makes the alias or, unless `create`, changes it.
  setAlias(request: Partial<m.SetAliasRequest> = {},
      options: CallOptions = {}): Promise<m.Alias> {
    return this.caller.call("Versions", "SetAlias", m.SetAliasRequest, request,
        m.Alias, options);
  }

  listAliases(request: Partial<m.ListAliasesRequest> = {},
      options: CallOptions = {}): Promise<m.ListAliasesResponse> {
    return this.caller.call("Versions", "ListAliases", m.ListAliasesRequest, request,
        m.ListAliasesResponse, options);
  }

  removeAlias(request: Partial<m.RemoveAliasRequest> = {},
      options: CallOptions = {}): Promise<m.RemoveAliasResponse> {
    return this.caller.call("Versions", "RemoveAlias", m.RemoveAliasRequest, request,
        m.RemoveAliasResponse, options);
  }

  // Adds, replaces and removes tags of the function.
  tag(request: Partial<m.TagRequest> = {},
      options: CallOptions = {}): Promise<m.TagResponse> {
    return this.caller.call("Versions", "Tag", m.TagRequest, request,
        m.TagResponse, options);
  }

  // Reserves instances: so many at once of the working copy and all published versions together.
  setConcurrency(request: Partial<m.SetConcurrencyRequest> = {},
      options: CallOptions = {}): Promise<m.SetConcurrencyResponse> {
    return this.caller.call("Versions", "SetConcurrency", m.SetConcurrencyRequest, request,
        m.SetConcurrencyResponse, options);
  }

  // Keeps instances of a published version or alias ready, as FunctionSettings.min_instances does
  // of
  // the working copy. What several ask for of one version adds up.
  provision(request: Partial<m.ProvisionRequest> = {},
      options: CallOptions = {}): Promise<m.ProvisionResponse> {
    return this.caller.call("Versions", "Provision", m.ProvisionRequest, request,
        m.ProvisionResponse, options);
  }
}

// Every service of the protocol.
export class Services {
  readonly async: Async;
  readonly calls: Calls;
  readonly checkpointTransfer: CheckpointTransfer;
  readonly observability: Observability;
  readonly sandboxes: Sandboxes;
  readonly schedules: Schedules;
  readonly sessionCheckpoints: SessionCheckpoints;
  readonly functions: Functions;
  readonly invocations: Invocations;
  readonly instances: Instances;
  readonly logs: Logs;
  readonly images: Images;
  readonly zygotes: Zygotes;
  readonly checkpoints: Checkpoints;
  readonly system: System;
  readonly versions: Versions;

  constructor(caller: Caller) {
    this.async = new Async(caller);
    this.calls = new Calls(caller);
    this.checkpointTransfer = new CheckpointTransfer(caller);
    this.observability = new Observability(caller);
    this.sandboxes = new Sandboxes(caller);
    this.schedules = new Schedules(caller);
    this.sessionCheckpoints = new SessionCheckpoints(caller);
    this.functions = new Functions(caller);
    this.invocations = new Invocations(caller);
    this.instances = new Instances(caller);
    this.logs = new Logs(caller);
    this.images = new Images(caller);
    this.zygotes = new Zygotes(caller);
    this.checkpoints = new Checkpoints(caller);
    this.system = new System(caller);
    this.versions = new Versions(caller);
  }
}
