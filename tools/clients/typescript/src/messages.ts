// Written by tools/clients/generate from the .proto files. Do not edit.
import { message, MessageType } from "./wire";

export enum AsyncEventState {
  STATE_UNSPECIFIED = 0,
  // for its first attempt, or the next one
  WAITING = 1,
  RUNNING = 2,
  // the handler succeeded
  DONE = 3,
  // given up, and told to the destination if there is one
  FAILED = 4,
  // given up, in the dead-letter list: Retry has it carried out again
  DEAD = 5,
}

export enum HostEventKind {
  KIND_UNSPECIFIED = 0,
  DAEMON_STARTED = 1,
  DAEMON_STOPPING = 2,
  FUNCTION_DEPLOYED = 3,
  FUNCTION_UPDATED = 4,
  FUNCTION_PUBLISHED = 5,
  FUNCTION_REMOVED = 6,
  INSTANCE_STARTED = 7,
  // `cause` says how
  INSTANCE_ENDED = 8,
  // at a limit; `cause` is "throttled" or "overloaded"
  REQUEST_REFUSED = 9,
  // a sandbox that lives
  SESSION_STARTED = 10,
  SESSION_ENDED = 11,
  ZYGOTE_READY = 12,
  // it did not start, or ended by itself
  ZYGOTE_FAILED = 13,
  ZYGOTE_EVICTED = 14,
  // a fresh one serves in the place of the old one
  ZYGOTE_ROTATED = 15,
  // it was to be replaced and could not be
  ZYGOTE_KEPT = 16,
  CHECKPOINT_MADE = 17,
  CHECKPOINT_FAILED = 18,
  // a zygote came from it
  CHECKPOINT_RESTORED = 19,
  IMAGE_IMPORTED = 20,
  IMAGE_REMOVED = 21,
  // `count` idle instances or zygotes were ended for it
  MEMORY_SHORT = 22,
}

export enum SessionState {
  STATE_UNSPECIFIED = 0,
  STARTING = 1,
  RUNNING = 2,
  PAUSED = 3,
  // its processes are being killed
  ENDING = 4,
  // `death` says of what
  DEAD = 5,
}

export enum ExecRequestStreams {
  // Three descriptors: what becomes stdin, stdout and stderr; as for Invocations.Run.
  ATTACHED = 0,
  // One: the slave of a pseudoterminal that the caller has made. It becomes the controlling
  // terminal
  // of a new session; size, signals and hang-up come through the master.
  TERMINAL = 1,
  // None: stdin is /dev/null, stdout and stderr are kept, the newest limits.output_bytes of each.
  KEPT = 2,
}

export enum ExecutionState {
  STATE_UNSPECIFIED = 0,
  RUNNING = 1,
  ENDED = 2,
}

export enum FileInfoKind {
  KIND_UNSPECIFIED = 0,
  FILE = 1,
  DIRECTORY = 2,
  SYMLINK = 3,
  // a pipe, socket or device
  OTHER = 4,
}

export enum FileEventKind {
  KIND_UNSPECIFIED = 0,
  CREATED = 1,
  // content or attributes
  CHANGED = 2,
  REMOVED = 3,
}

// Whether each invocation gets a sandbox of its own.
export enum Isolation {
  // on deploy: INSTANCE; on update: unchanged
  ISOLATION_UNSPECIFIED = 0,
  // a fresh sandbox for every invocation
  ISOLATION_INVOCATION = 1,
  // an instance serves one invocation at a time, then the next
  ISOLATION_INSTANCE = 2,
}

export enum StartKind {
  START_KIND_UNSPECIFIED = 0,
  // an idle instance was reused
  START_KIND_WARM = 1,
  // a copy of a zygote that was there
  START_KIND_FORK = 2,
  // the same, but the zygote had to be restored from a checkpoint first
  START_KIND_RESTORE = 3,
  // the zygote had to be loaded first; or a program was executed
  START_KIND_COLD = 4,
}

export enum DeathCause {
  CAUSE_UNSPECIFIED = 0,
  // exit_code
  EXIT = 1,
  // signal; also seccomp kills (SIGSYS)
  SIGNAL = 2,
  // the kernel's oom killer, inside the sandbox's memory limit
  OUT_OF_MEMORY = 3,
  // the wall-clock limit
  TIMEOUT = 4,
  // ended by itself after it had hit the pids limit
  PIDS = 5,
  // idle too long, replaced by an update, memory wanted
  EVICTION = 6,
  // `spore kill`, or the client went away
  KILLED = 7,
  RESPONSE_TOO_LARGE = 8,
  // it wrote rubbish to its request channel
  PROTOCOL = 9,
  // spored stopped, or its zygote died
  DAEMON = 10,
}

export enum InstanceState {
  STATE_UNSPECIFIED = 0,
  STARTING = 1,
  IDLE = 2,
  BUSY = 3,
  DEAD = 4,
}

export enum LogLineStream {
  STREAM_UNSPECIFIED = 0,
  STDOUT = 1,
  STDERR = 2,
  SYSTEM = 3,
}

export enum ImageState {
  STATE_UNSPECIFIED = 0,
  // nobody has needed its zygote, or not since it was evicted
  STOPPED = 1,
  STARTING = 2,
  READY = 3,
  // it cannot be used: its zygote does not start
  FAILED = 4,
}

export enum ZygoteState {
  STATE_UNSPECIFIED = 0,
  // beside one that is READY: it will replace that
  STARTING = 1,
  // sandboxes come from it
  READY = 2,
  // it has ended or was replaced; instances of it are still there
  DRAINING = 3,
  // of a set: there is none now, `reason` says why
  ABSENT = 4,
}

export interface AsyncInvokeRequest {
  // function
  name: string;
  // JSON; empty means null. Attach what is above 1 MiB.
  payload: Uint8Array;
  payloadAttached: boolean;
  // JSON, given to the handler as context.client_context
  clientContext: Uint8Array;
  // A published version's number, an alias, or "$LATEST"; empty: the working copy. What an alias
  // names is looked up again for each attempt, and drawn where it names two.
  qualifier: string;
}
export const AsyncInvokeRequest: MessageType<AsyncInvokeRequest> = message("AsyncInvokeRequest", [
  [1, "name", "scalar", "string"],
  [2, "payload", "scalar", "bytes"],
  [3, "payloadAttached", "scalar", "bool"],
  [4, "clientContext", "scalar", "bytes"],
  [5, "qualifier", "scalar", "string"],
]);

export interface AsyncInvokeResponse {
  // a UUID, and the request id of each attempt
  id: string;
}
export const AsyncInvokeResponse: MessageType<AsyncInvokeResponse> = message("AsyncInvokeResponse", [
  [1, "id", "scalar", "string"],
]);

// How events of a function are carried out, whatever their qualifier. Attempts, age and back-off
// are an event's own from its
// acceptance on; the destinations are those at its end.
export interface AsyncPolicy {
  function: string;
  // after the first attempt, 0 to 100; default 2
  retries: number;
  // from acceptance, 1000 to 14 days; default 6 hours
  maxAgeMs: number;
  // before the first retry, doubled for each after it, at most an hour;
  backoffMs: number;
  // 1 to 3600000; default 60000
  // A function of the same owner that gets a record of each event that succeeded; empty: none.
  onSuccess: string;
  // The same of those that failed for good. Empty: they stay in the dead-letter list (state DEAD);
  // "none": they are given up.
  onFailure: string;
}
export const AsyncPolicy: MessageType<AsyncPolicy> = message("AsyncPolicy", [
  [1, "function", "scalar", "string"],
  [2, "retries", "scalar", "uint32"],
  [3, "maxAgeMs", "scalar", "uint64"],
  [4, "backoffMs", "scalar", "uint64"],
  [5, "onSuccess", "scalar", "string"],
  [6, "onFailure", "scalar", "string"],
]);

export interface SetAsyncPolicyRequest {
  function: string;
  // absent: unchanged, as all below
  retries: number | undefined;
  maxAgeMs: number | undefined;
  backoffMs: number | undefined;
  // "": none
  onSuccess: string | undefined;
  // "": the dead-letter list
  onFailure: string | undefined;
}
export const SetAsyncPolicyRequest: MessageType<SetAsyncPolicyRequest> = message("SetAsyncPolicyRequest", [
  [1, "function", "scalar", "string"],
  [2, "retries", "scalar", "uint32", "optional"],
  [3, "maxAgeMs", "scalar", "uint64", "optional"],
  [4, "backoffMs", "scalar", "uint64", "optional"],
  [5, "onSuccess", "scalar", "string", "optional"],
  [6, "onFailure", "scalar", "string", "optional"],
]);

export interface GetAsyncPolicyRequest {
  function: string;
}
export const GetAsyncPolicyRequest: MessageType<GetAsyncPolicyRequest> = message("GetAsyncPolicyRequest", [
  [1, "function", "scalar", "string"],
]);

export interface AsyncEvent {
  id: string;
  function: string;
  ownerUid: number;
  state: AsyncEventState;
  acceptedUnixMs: number;
  // of WAITING: not before
  dueUnixMs: number;
  // given up when it has not succeeded by then
  expiresUnixMs: number;
  // of DONE, FAILED, DEAD
  finishedUnixMs: number;
  // in which the handler was called and answered or died of itself
  attempts: number;
  maxAttempts: number;
  payloadBytes: number;
  // Get only, of WAITING, RUNNING, DEAD, up to 1 MiB
  payload: Uint8Array;
  // Get only: the handler's result of the last attempt, up to 64 KiB
  response: Uint8Array;
  // of the whole
  responseBytes: number;
  // of the last attempt that failed
  error: FunctionError | undefined;
  // Why it was given up: "RetriesExhausted", "EventAgeExceeded", "FunctionRemoved" (or the version
  // or
  // alias that it was for; `note` says so), "Refused".
  condition: string;
  // what else there is to say, for people: a destination that refused
  note: string;
  // "schedule NAME", "event ID" (of which this is a destination's record)
  origin: string;
  // so many events led to this one; those beyond 8 are not accepted
  depth: number;
  // by which it was asked for
  qualifier: string;
  // of the last attempt: "$LATEST" or a number; empty: there was none
  executedVersion: string;
}
export const AsyncEvent: MessageType<AsyncEvent> = message("AsyncEvent", [
  [1, "id", "scalar", "string"],
  [2, "function", "scalar", "string"],
  [3, "ownerUid", "scalar", "uint32"],
  [4, "state", "enum", "AsyncEventState"],
  [5, "acceptedUnixMs", "scalar", "int64"],
  [6, "dueUnixMs", "scalar", "int64"],
  [7, "expiresUnixMs", "scalar", "int64"],
  [8, "finishedUnixMs", "scalar", "int64"],
  [9, "attempts", "scalar", "uint32"],
  [10, "maxAttempts", "scalar", "uint32"],
  [11, "payloadBytes", "scalar", "uint64"],
  [12, "payload", "scalar", "bytes"],
  [13, "response", "scalar", "bytes"],
  [14, "responseBytes", "scalar", "uint64"],
  [15, "error", "message", () => FunctionError],
  [16, "condition", "scalar", "string"],
  [17, "note", "scalar", "string"],
  [18, "origin", "scalar", "string"],
  [19, "depth", "scalar", "uint32"],
  [20, "qualifier", "scalar", "string"],
  [21, "executedVersion", "scalar", "string"],
]);

export interface ListEventsRequest {
  // empty: all
  function: string;
  // empty: all
  states: AsyncEventState[];
  // 1 to 1000; 0: 100
  limit: number;
  // `next` of the answer before; 0: from the newest
  before: number;
}
export const ListEventsRequest: MessageType<ListEventsRequest> = message("ListEventsRequest", [
  [1, "function", "scalar", "string"],
  [2, "states", "enum", "AsyncEventState", "repeated"],
  [3, "limit", "scalar", "uint32"],
  [4, "before", "scalar", "uint64"],
]);

export interface ListEventsResponse {
  events: AsyncEvent[];
  // 0: there are no more
  next: number;
}
export const ListEventsResponse: MessageType<ListEventsResponse> = message("ListEventsResponse", [
  [1, "events", "message", () => AsyncEvent, "repeated"],
  [2, "next", "scalar", "uint64"],
]);

export interface GetEventRequest {
  id: string;
}
export const GetEventRequest: MessageType<GetEventRequest> = message("GetEventRequest", [
  [1, "id", "scalar", "string"],
]);

export interface RetryEventRequest {
  id: string;
}
export const RetryEventRequest: MessageType<RetryEventRequest> = message("RetryEventRequest", [
  [1, "id", "scalar", "string"],
]);

export interface PurgeEventsRequest {
  // this one, or any unique prefix; else those that fit:
  id: string;
  // empty: of all functions
  function: string;
  // of these; at least one where `id` is empty
  states: AsyncEventState[];
}
export const PurgeEventsRequest: MessageType<PurgeEventsRequest> = message("PurgeEventsRequest", [
  [1, "id", "scalar", "string"],
  [2, "function", "scalar", "string"],
  [3, "states", "enum", "AsyncEventState", "repeated"],
]);

export interface PurgeEventsResponse {
  purged: number;
}
export const PurgeEventsResponse: MessageType<PurgeEventsResponse> = message("PurgeEventsResponse", [
  [1, "purged", "scalar", "uint64"],
]);

export interface AsyncStatsRequest {
}
export const AsyncStatsRequest: MessageType<AsyncStatsRequest> = message("AsyncStatsRequest", [
]);

// Since the daemon's start, but for the last four: now.
export interface AsyncStatsResponse {
  accepted: number;
  done: number;
  // given up, dead letters included
  failed: number;
  // attempts that failed and were followed by another
  retried: number;
  deadLettered: number;
  // dispatches for which there was no room, or that Spore failed
  postponed: number;
  // not accepted: limits, disk
  refused: number;
  // of schedules
  fired: number;
  // firings of schedules that were not accepted
  misfired: number;
  waiting: number;
  running: number;
  // in the dead-letter list
  dead: number;
  // of payloads that wait, run or are dead
  bytes: number;
}
export const AsyncStatsResponse: MessageType<AsyncStatsResponse> = message("AsyncStatsResponse", [
  [1, "accepted", "scalar", "uint64"],
  [2, "done", "scalar", "uint64"],
  [3, "failed", "scalar", "uint64"],
  [4, "retried", "scalar", "uint64"],
  [5, "deadLettered", "scalar", "uint64"],
  [6, "postponed", "scalar", "uint64"],
  [7, "refused", "scalar", "uint64"],
  [8, "fired", "scalar", "uint64"],
  [9, "misfired", "scalar", "uint64"],
  [10, "waiting", "scalar", "uint64"],
  [11, "running", "scalar", "uint64"],
  [12, "dead", "scalar", "uint64"],
  [13, "bytes", "scalar", "uint64"],
]);

export interface CancelRequest {
  // ttrpc's, of the call to be ended
  streamId: number;
}
export const CancelRequest: MessageType<CancelRequest> = message("CancelRequest", [
  [1, "streamId", "scalar", "uint32"],
]);

export interface CancelResponse {
  // false: there is no such call, or it was answered before
  cancelled: boolean;
}
export const CancelResponse: MessageType<CancelResponse> = message("CancelResponse", [
  [1, "cancelled", "scalar", "bool"],
]);

export interface ExportCheckpointRequest {
  // 12 hexadecimal digits
  id: string;
}
export const ExportCheckpointRequest: MessageType<ExportCheckpointRequest> = message("ExportCheckpointRequest", [
  [1, "id", "scalar", "string"],
]);

export interface ExportCheckpointResponse {
  // the file up to its archive
  head: Uint8Array;
  // of the descriptor, which end the file
  archiveBytes: number;
}
export const ExportCheckpointResponse: MessageType<ExportCheckpointResponse> = message("ExportCheckpointResponse", [
  [1, "head", "scalar", "bytes"],
  [2, "archiveBytes", "scalar", "uint64"],
]);

export interface ImportCheckpointRequest {
  // also one that cannot be restored here; it then says why
  keepUnusable: boolean;
}
export const ImportCheckpointRequest: MessageType<ImportCheckpointRequest> = message("ImportCheckpointRequest", [
  [1, "keepUnusable", "scalar", "bool"],
]);

export interface ImportCheckpointResponse {
  // as it is here; its archive was packed again
  checkpoint: Checkpoint | undefined;
}
export const ImportCheckpointResponse: MessageType<ImportCheckpointResponse> = message("ImportCheckpointResponse", [
  [1, "checkpoint", "message", () => Checkpoint],
]);

// Durations, counted in buckets of which each is at most an eighth as wide as where it begins.
export interface Histogram {
  count: number;
  sumUs: number;
  maxUs: number;
  // the shortest durations first; empty buckets are left out
  buckets: HistogramBucket[];
}
export const Histogram: MessageType<Histogram> = message("Histogram", [
  [1, "count", "scalar", "uint64"],
  [2, "sumUs", "scalar", "uint64"],
  [3, "maxUs", "scalar", "uint64"],
  [4, "buckets", "message", () => HistogramBucket, "repeated"],
]);

// Those of `up_to_us` and less, and of more than the bucket before it. Each power of two less 1 is
// such a bound,
// between 8 us and 71 minutes; what is longer is in the last bucket.
export interface HistogramBucket {
  upToUs: number;
  count: number;
}
export const HistogramBucket: MessageType<HistogramBucket> = message("HistogramBucket", [
  [1, "upToUs", "scalar", "uint64"],
  [2, "count", "scalar", "uint64"],
]);

// Of one function, or of all together.
export interface Figures {
  // empty: of all together
  function: string;
  // answered, failed ones included
  invocations: number;
  // of those
  failures: number;
  // From request read to answer, by how the invocation found its instance: "warm", "ahead" (a fork
  // that had
  // loaded the function before the request came), "fork", "restore", "cold".
  total: Record<string, number>;
  // "queue": until there was a place for an instance; "sandbox": until there was a sandbox;
  // "start": until it
  // was confined; "load": until the function was loaded; "handler": until it had answered.
  phases: Record<string, number>;
  // Failures by cause: "handler" (it said so itself), "import", "handler_not_found", "syntax",
  // "marshal",
  // "unmarshal", or how its instance ended (Death.Cause in lower case).
  failuresByCause: Record<string, number>;
  // Requests that got no instance: "throttled" (the function's own limit of instances),
  // "overloaded" (another
  // limit), "unavailable", "not_found", "precondition", "internal" and so on, as the codes of
  // spore.proto.
  refusalsByCause: Record<string, number>;
}
export const Figures: MessageType<Figures> = message("Figures", [
  [1, "function", "scalar", "string"],
  [2, "invocations", "scalar", "uint64"],
  [3, "failures", "scalar", "uint64"],
  [4, "total", "map", "string:Histogram"],
  [5, "phases", "map", "string:Histogram"],
  [6, "failuresByCause", "map", "string:uint64"],
  [7, "refusalsByCause", "map", "string:uint64"],
]);

export interface HistogramsRequest {
  // only this one; empty: all together
  function: string;
  // with an empty `function`: `functions` too
  byFunction: boolean;
}
export const HistogramsRequest: MessageType<HistogramsRequest> = message("HistogramsRequest", [
  [1, "function", "scalar", "string"],
  [2, "byFunction", "scalar", "bool"],
]);

export interface HistogramsResponse {
  // what was asked for; of a function that was never invoked empty ones
  figures: Figures | undefined;
  // By name, those that the caller may see. Of at most 256 functions there are any: of the owner
  // of most of them
  // the one that was invoked the longest ago is forgotten first. Where histograms do not fit into
  // the message, the
  // last ones have none.
  functions: Figures[];
  // How often what has happened on this host, by HostEvent.Kind in lower case.
  events: Record<string, number>;
  // another one after each start of the daemon: counts began again
  epoch: string;
}
export const HistogramsResponse: MessageType<HistogramsResponse> = message("HistogramsResponse", [
  [1, "figures", "message", () => Figures],
  [2, "functions", "message", () => Figures, "repeated"],
  [3, "events", "map", "string:uint64"],
  [4, "epoch", "scalar", "string"],
]);

export interface TracesRequest {
  function: string;
  // at most so many, and never more than the 32 that are kept; 0: all
  limit: number;
}
export const TracesRequest: MessageType<TracesRequest> = message("TracesRequest", [
  [1, "function", "scalar", "string"],
  [2, "limit", "scalar", "uint32"],
]);

export interface TracesResponse {
  // the most recent first
  traces: InvocationTrace[];
}
export const TracesResponse: MessageType<TracesResponse> = message("TracesResponse", [
  [1, "traces", "message", () => InvocationTrace, "repeated"],
]);

export interface InvocationTrace {
  requestId: string;
  instanceId: string;
  // when its request had been read: where the steps' times begin
  receivedUnixUs: number;
  startKind: StartKind;
  loadedAhead: boolean;
  functionVersion: number;
  // "$LATEST", or the published version's number
  executedVersion: string;
  // empty, or its cause as in Figures.failures_by_cause
  failure: string;
  // at most 40 steps
  trace: Trace | undefined;
}
export const InvocationTrace: MessageType<InvocationTrace> = message("InvocationTrace", [
  [1, "requestId", "scalar", "string"],
  [2, "instanceId", "scalar", "string"],
  [3, "receivedUnixUs", "scalar", "int64"],
  [4, "startKind", "enum", "StartKind"],
  [5, "loadedAhead", "scalar", "bool"],
  [6, "functionVersion", "scalar", "uint64"],
  [7, "executedVersion", "scalar", "string"],
  [8, "failure", "scalar", "string"],
  [9, "trace", "message", () => Trace],
]);

// Something that has happened.
export interface HostEvent {
  // counts up from 1 with each event of the daemon's run
  sequence: number;
  unixUs: number;
  kind: HostEventKind;
  // empty: of none, or a run
  function: string;
  // or the session's
  instanceId: string;
  image: string;
  // library set of the image
  set: string;
  // Death.Cause in lower case, "throttled" or "overloaded"
  cause: string;
  // of what has started
  startKind: StartKind;
  // one line for a person, at most 120 bytes
  message: string;
  // Of REQUEST_REFUSED: so many, this one and those like it since the one before that was told: of
  // a
  // function's (or a client's runs') one a second is told. Of MEMORY_SHORT, what was ended.
  count: number;
  // that it took, or lived
  durationUs: number;
  // of INSTANCE_ENDED and SESSION_ENDED
  memoryPeakBytes: number;
  // likewise
  cpuUs: number;
  // of the function, instance or session; of the host's own 0
  ownerUid: number;
}
export const HostEvent: MessageType<HostEvent> = message("HostEvent", [
  [1, "sequence", "scalar", "uint64"],
  [2, "unixUs", "scalar", "int64"],
  [3, "kind", "enum", "HostEventKind"],
  [4, "function", "scalar", "string"],
  [5, "instanceId", "scalar", "string"],
  [6, "image", "scalar", "string"],
  [7, "set", "scalar", "string"],
  [8, "cause", "scalar", "string"],
  [9, "startKind", "enum", "StartKind"],
  [10, "message", "scalar", "string"],
  [11, "count", "scalar", "uint64"],
  [12, "durationUs", "scalar", "uint64"],
  [13, "memoryPeakBytes", "scalar", "uint64"],
  [14, "cpuUs", "scalar", "uint64"],
  [15, "ownerUid", "scalar", "uint32"],
]);

export interface RecentEventsRequest {
  // With after_sequence: the epoch that came with it. That of another run of the daemon: all that
  // this run
  // has kept is told.
  epoch: string;
  // the response's last_sequence; 0: from the oldest kept
  afterSequence: number;
  // at most 60000
  waitMs: number;
  // at most so many in one answer, and never more than 1000; 0: 1000
  limit: number;
  // with after_sequence 0: only the last `tail`; 0 means all kept
  tail: number;
}
export const RecentEventsRequest: MessageType<RecentEventsRequest> = message("RecentEventsRequest", [
  [1, "epoch", "scalar", "string"],
  [2, "afterSequence", "scalar", "uint64"],
  [3, "waitMs", "scalar", "uint32"],
  [4, "limit", "scalar", "uint32"],
  [5, "tail", "scalar", "uint32"],
]);

export interface RecentEventsResponse {
  events: HostEvent[];
  // of this run of the daemon
  epoch: string;
  // for the next call
  lastSequence: number;
  // events after the asked one that were not kept long enough
  dropped: number;
  // the asked epoch is not this one's
  restarted: boolean;
}
export const RecentEventsResponse: MessageType<RecentEventsResponse> = message("RecentEventsResponse", [
  [1, "events", "message", () => HostEvent, "repeated"],
  [2, "epoch", "scalar", "string"],
  [3, "lastSequence", "scalar", "uint64"],
  [4, "dropped", "scalar", "uint64"],
  [5, "restarted", "scalar", "bool"],
]);

export interface CreateSandboxRequest {
  // empty: "python"
  image: string;
  // memory_bytes, cpu_millis, pids, tmp_bytes, open_files; output_bytes: kept of one RunCode or
  // Exec.
  // 0: the image's default. The others do not concern a session and must be 0.
  limits: Limits | undefined;
  // it ends after this, 1000 to 86400000; 0: 600000
  ttlMs: number;
  // it ends when nobody has asked for anything for this long, and no call is
  idleTimeoutMs: number;
  // in progress; 0: never before its ttl
  // of all that runs in it
  environment: Record<string, string>;
  // for people, up to 64 characters of [A-Za-z0-9_.-]; need not be unique
  label: string;
  // Where its connections may go. "none", or empty: nowhere. "egress:RULE,RULE,..": through a
  // proxy
  // of Spore's, to what a rule lists; each has to be within what the daemon's configuration
  // allows.
  // A rule is HOST:PORT. HOST: a name, "*.example.com" (below it, at any depth), "*" (any public
  // host), an address, a network ("10.0.0.0/8", "[2001:db8::/32]"). PORT: one, a range
  // "8000-8010", "*".
  // Names lead to public addresses only: others have to be listed by address too.
  network: string;
}
export const CreateSandboxRequest: MessageType<CreateSandboxRequest> = message("CreateSandboxRequest", [
  [1, "image", "scalar", "string"],
  [2, "limits", "message", () => Limits],
  [3, "ttlMs", "scalar", "uint64"],
  [4, "idleTimeoutMs", "scalar", "uint64"],
  [5, "environment", "map", "string:string"],
  [6, "label", "scalar", "string"],
  [7, "network", "scalar", "string"],
]);

// What has become of a session's connections out of it.
export interface Egress {
  rules: string[];
  // now
  open: number;
  // that were let through, so far
  connections: number;
  // by the rules
  refused: number;
  // no such name, no answer, a broken request, too many at once
  failed: number;
  // out of the session
  sentBytes: number;
  receivedBytes: number;
  // the proxy is there
  serving: boolean;
  // of it, after it has ended by itself
  restarts: number;
}
export const Egress: MessageType<Egress> = message("Egress", [
  [1, "rules", "scalar", "string", "repeated"],
  [2, "open", "scalar", "uint32"],
  [3, "connections", "scalar", "uint64"],
  [4, "refused", "scalar", "uint64"],
  [5, "failed", "scalar", "uint64"],
  [6, "sentBytes", "scalar", "uint64"],
  [7, "receivedBytes", "scalar", "uint64"],
  [8, "serving", "scalar", "bool"],
  [9, "restarts", "scalar", "uint32"],
]);

// A sandbox that lives, or has ended of late.
export interface Session {
  id: string;
  label: string;
  image: string;
  // of the image
  runtime: string;
  state: SessionState;
  ownerUid: number;
  createdUnixMs: number;
  // the end of its time
  expiresUnixMs: number;
  idleTimeoutMs: number;
  // 0: a call is in progress
  idleSinceUnixMs: number;
  limits: Limits | undefined;
  // of its agent, in the daemon's pid namespace; 0 once dead
  pid: number;
  // the host's view of its uid
  uid: number;
  // charged now
  memoryBytes: number;
  cpuUs: number;
  pids: number;
  execsRunning: number;
  // so far
  execs: number;
  // so far
  codeRuns: number;
  // that RunCode takes here; empty: none
  language: string;
  startKind: StartKind;
  // TIMEOUT: its ttl; EVICTION: idle, or its image was removed; OUT_OF_MEMORY; KILLED; SIGNAL and
  // EXIT: its
  // agent was ended from inside; PROTOCOL: it was made to talk rubbish; DAEMON: spored stopped.
  death: Death | undefined;
  cgroups: string[];
  environment: Record<string, string>;
  // as in CreateSandboxRequest, never empty
  network: string;
  // where it is not "none"
  egress: Egress | undefined;
  // the session that it was copied from; empty: none
  branchedFrom: string;
  // the name of the checkpoint that it was made of; empty: none
  restoredFrom: string;
}
export const Session: MessageType<Session> = message("Session", [
  [1, "id", "scalar", "string"],
  [2, "label", "scalar", "string"],
  [3, "image", "scalar", "string"],
  [4, "runtime", "scalar", "string"],
  [5, "state", "enum", "SessionState"],
  [6, "ownerUid", "scalar", "uint32"],
  [7, "createdUnixMs", "scalar", "int64"],
  [8, "expiresUnixMs", "scalar", "int64"],
  [9, "idleTimeoutMs", "scalar", "uint64"],
  [10, "idleSinceUnixMs", "scalar", "int64"],
  [11, "limits", "message", () => Limits],
  [12, "pid", "scalar", "int32"],
  [13, "uid", "scalar", "uint32"],
  [14, "memoryBytes", "scalar", "uint64"],
  [15, "cpuUs", "scalar", "uint64"],
  [16, "pids", "scalar", "uint32"],
  [17, "execsRunning", "scalar", "uint32"],
  [18, "execs", "scalar", "uint64"],
  [19, "codeRuns", "scalar", "uint64"],
  [20, "language", "scalar", "string"],
  [21, "startKind", "enum", "StartKind"],
  [22, "death", "message", () => Death],
  [23, "cgroups", "scalar", "string", "repeated"],
  [24, "environment", "map", "string:string"],
  [25, "network", "scalar", "string"],
  [26, "egress", "message", () => Egress],
  [27, "branchedFrom", "scalar", "string"],
  [28, "restoredFrom", "scalar", "string"],
]);

export interface BranchSandboxRequest {
  id: string;
  // 1 to 16; 0: 1
  copies: number;
  // of each; as in CreateSandboxRequest
  label: string;
  // of each, from now; as in CreateSandboxRequest. 0: they end when the source would
  ttlMs: number;
  // other programs that run in the session are left out; only the quick way is tried
  onlyInterpreter: boolean;
}
export const BranchSandboxRequest: MessageType<BranchSandboxRequest> = message("BranchSandboxRequest", [
  [1, "id", "scalar", "string"],
  [2, "copies", "scalar", "uint32"],
  [3, "label", "scalar", "string"],
  [4, "ttlMs", "scalar", "uint64"],
  [5, "onlyInterpreter", "scalar", "bool"],
]);

export interface BranchSandboxResponse {
  sessions: Session[];
  // that the source was stopped: its interpreter, or all of it
  stoppedUs: number;
  // of memory, all copies together; 0 where it was not the quick way
  copiedBytes: number;
  // from the request to this
  trace: Trace | undefined;
}
export const BranchSandboxResponse: MessageType<BranchSandboxResponse> = message("BranchSandboxResponse", [
  [1, "sessions", "message", () => Session, "repeated"],
  [2, "stoppedUs", "scalar", "uint64"],
  [3, "copiedBytes", "scalar", "uint64"],
  [4, "trace", "message", () => Trace],
]);

export interface ListSandboxesRequest {
  includeDead: boolean;
}
export const ListSandboxesRequest: MessageType<ListSandboxesRequest> = message("ListSandboxesRequest", [
  [1, "includeDead", "scalar", "bool"],
]);

export interface ListSandboxesResponse {
  sessions: Session[];
}
export const ListSandboxesResponse: MessageType<ListSandboxesResponse> = message("ListSandboxesResponse", [
  [1, "sessions", "message", () => Session, "repeated"],
]);

export interface InspectSandboxRequest {
  id: string;
}
export const InspectSandboxRequest: MessageType<InspectSandboxRequest> = message("InspectSandboxRequest", [
  [1, "id", "scalar", "string"],
]);

export interface KillSandboxRequest {
  id: string;
}
export const KillSandboxRequest: MessageType<KillSandboxRequest> = message("KillSandboxRequest", [
  [1, "id", "scalar", "string"],
]);

export interface ExtendSandboxRequest {
  id: string;
  // from now; as in CreateSandboxRequest
  ttlMs: number;
}
export const ExtendSandboxRequest: MessageType<ExtendSandboxRequest> = message("ExtendSandboxRequest", [
  [1, "id", "scalar", "string"],
  [2, "ttlMs", "scalar", "uint64"],
]);

export interface PauseSandboxRequest {
  id: string;
}
export const PauseSandboxRequest: MessageType<PauseSandboxRequest> = message("PauseSandboxRequest", [
  [1, "id", "scalar", "string"],
]);

export interface ResumeSandboxRequest {
  id: string;
}
export const ResumeSandboxRequest: MessageType<ResumeSandboxRequest> = message("ResumeSandboxRequest", [
  [1, "id", "scalar", "string"],
]);

export interface ReadSandboxLogsRequest {
  id: string;
  // as in ReadLogsRequest
  cursor: number;
  waitMs: number;
  tail: number;
}
export const ReadSandboxLogsRequest: MessageType<ReadSandboxLogsRequest> = message("ReadSandboxLogsRequest", [
  [1, "id", "scalar", "string"],
  [2, "cursor", "scalar", "uint64"],
  [3, "waitMs", "scalar", "uint32"],
  [4, "tail", "scalar", "uint32"],
]);

export interface ExecRequest {
  id: string;
  // args[0]: a path, or a name that is looked up in PATH
  args: string[];
  // empty: /tmp
  workingDirectory: string;
  // on top of the session's
  environment: Record<string, string>;
  streams: ExecRequestStreams;
  detach: boolean;
  // its process group is killed after this; 0: never before the session
  timeoutMs: number;
  // with KEPT: what it reads from its stdin, up to 1 MiB
  input: Uint8Array;
}
export const ExecRequest: MessageType<ExecRequest> = message("ExecRequest", [
  [1, "id", "scalar", "string"],
  [2, "args", "scalar", "string", "repeated"],
  [3, "workingDirectory", "scalar", "string"],
  [4, "environment", "map", "string:string"],
  [5, "streams", "enum", "ExecRequestStreams"],
  [6, "detach", "scalar", "bool"],
  [7, "timeoutMs", "scalar", "uint64"],
  [8, "input", "scalar", "bytes"],
]);

export interface Execution {
  // within the session, counted from 1
  execId: number;
  args: string[];
  state: ExecutionState;
  // as the session's processes see it; 0: it could not be started
  pid: number;
  startedUnixMs: number;
  endedUnixMs: number;
  // The program's own; 128 + signal; 127: no such program; 126: it cannot be executed; 125: Spore
  // could not start it. `error` says why of the last three.
  exitCode: number;
  // that ended it; 0: none
  signal: number;
  error: string;
  timedOut: boolean;
  // its output is
  kept: boolean;
}
export const Execution: MessageType<Execution> = message("Execution", [
  [1, "execId", "scalar", "uint32"],
  [2, "args", "scalar", "string", "repeated"],
  [3, "state", "enum", "ExecutionState"],
  [4, "pid", "scalar", "int32"],
  [5, "startedUnixMs", "scalar", "int64"],
  [6, "endedUnixMs", "scalar", "int64"],
  [7, "exitCode", "scalar", "int32"],
  [8, "signal", "scalar", "int32"],
  [9, "error", "scalar", "string"],
  [10, "timedOut", "scalar", "bool"],
  [11, "kept", "scalar", "bool"],
]);

export interface ExecResponse {
  exec: Execution | undefined;
  // With KEPT and without detach: the newest part of each, and how many bytes came before that.
  stdout: Uint8Array;
  stderr: Uint8Array;
  stdoutDropped: number;
  stderrDropped: number;
}
export const ExecResponse: MessageType<ExecResponse> = message("ExecResponse", [
  [1, "exec", "message", () => Execution],
  [2, "stdout", "scalar", "bytes"],
  [3, "stderr", "scalar", "bytes"],
  [4, "stdoutDropped", "scalar", "uint64"],
  [5, "stderrDropped", "scalar", "uint64"],
]);

export interface ListExecsRequest {
  id: string;
}
export const ListExecsRequest: MessageType<ListExecsRequest> = message("ListExecsRequest", [
  [1, "id", "scalar", "string"],
]);

export interface ListExecsResponse {
  execs: Execution[];
}
export const ListExecsResponse: MessageType<ListExecsResponse> = message("ListExecsResponse", [
  [1, "execs", "message", () => Execution, "repeated"],
]);

export interface WaitExecRequest {
  id: string;
  execId: number;
  // at most 60000
  waitMs: number;
}
export const WaitExecRequest: MessageType<WaitExecRequest> = message("WaitExecRequest", [
  [1, "id", "scalar", "string"],
  [2, "execId", "scalar", "uint32"],
  [3, "waitMs", "scalar", "uint32"],
]);

export interface ReadExecOutputRequest {
  id: string;
  execId: number;
  // else stdout
  stderr: boolean;
  // bytes since its start; of what is no longer kept: the oldest kept
  position: number;
  // for something beyond `position`, or its end; at most 60000
  waitMs: number;
}
export const ReadExecOutputRequest: MessageType<ReadExecOutputRequest> = message("ReadExecOutputRequest", [
  [1, "id", "scalar", "string"],
  [2, "execId", "scalar", "uint32"],
  [3, "stderr", "scalar", "bool"],
  [4, "position", "scalar", "uint64"],
  [5, "waitMs", "scalar", "uint32"],
]);

export interface ReadExecOutputResponse {
  // up to 1 MiB
  data: Uint8Array;
  // of the first byte of data
  position: number;
  // nothing comes after data
  end: boolean;
}
export const ReadExecOutputResponse: MessageType<ReadExecOutputResponse> = message("ReadExecOutputResponse", [
  [1, "data", "scalar", "bytes"],
  [2, "position", "scalar", "uint64"],
  [3, "end", "scalar", "bool"],
]);

export interface SignalExecRequest {
  id: string;
  execId: number;
  // 1 to 64
  signal: number;
}
export const SignalExecRequest: MessageType<SignalExecRequest> = message("SignalExecRequest", [
  [1, "id", "scalar", "string"],
  [2, "execId", "scalar", "uint32"],
  [3, "signal", "scalar", "int32"],
]);

export interface SignalExecResponse {
}
export const SignalExecResponse: MessageType<SignalExecResponse> = message("SignalExecResponse", [
]);

export interface RunCodeRequest {
  id: string;
  // up to 1 MiB
  code: string;
  // "python", "javascript"; empty: what the session's image has
  language: string;
  // it is interrupted after this, and the interpreter ended when that does
  timeoutMs: number;
}
export const RunCodeRequest: MessageType<RunCodeRequest> = message("RunCodeRequest", [
  [1, "id", "scalar", "string"],
  [2, "code", "scalar", "string"],
  [3, "language", "scalar", "string"],
  [4, "timeoutMs", "scalar", "uint64"],
]);

export interface CodeError {
  // exception class
  type: string;
  message: string;
  // lines
  stackTrace: string[];
}
export const CodeError: MessageType<CodeError> = message("CodeError", [
  [1, "type", "scalar", "string"],
  [2, "message", "scalar", "string"],
  [3, "stackTrace", "scalar", "string", "repeated"],
]);

// As the code in the session says; nothing here is more than its word.
export interface RunCodeResponse {
  // the last statement was an expression whose value is not None (undefined)
  hasValue: boolean;
  // its repr, or what util.inspect makes of it, up to 256 KiB
  value: string;
  valueCut: boolean;
  // it as JSON, where it can be and has at most 1 MiB; else empty
  json: Uint8Array;
  // Other forms that it offers (`_repr_html_`, `_repr_png_`, ..; Symbol.for("Jupyter.display")),
  // by media type;
  // at most 1 MiB in all.
  forms: Record<string, Uint8Array>;
  // The first limits.output_bytes of each, and how many bytes were dropped after that.
  stdout: Uint8Array;
  stderr: Uint8Array;
  stdoutDropped: number;
  stderrDropped: number;
  // set when it raised
  error: CodeError | undefined;
  // timeout_ms had passed
  timedOut: boolean;
  // The interpreter has ended during this call (exit, crash, out of memory, RestartCode): its
  // state is lost, the
  // next call starts afresh. `error` says how it ended.
  interpreterEnded: boolean;
  // counts the calls of this interpreter from 1
  run: number;
  // by spored's clock, without the time it waited its turn
  durationUs: number;
}
export const RunCodeResponse: MessageType<RunCodeResponse> = message("RunCodeResponse", [
  [1, "hasValue", "scalar", "bool"],
  [2, "value", "scalar", "string"],
  [3, "valueCut", "scalar", "bool"],
  [4, "json", "scalar", "bytes"],
  [5, "forms", "map", "string:bytes"],
  [6, "stdout", "scalar", "bytes"],
  [7, "stderr", "scalar", "bytes"],
  [8, "stdoutDropped", "scalar", "uint64"],
  [9, "stderrDropped", "scalar", "uint64"],
  [10, "error", "message", () => CodeError],
  [11, "timedOut", "scalar", "bool"],
  [12, "interpreterEnded", "scalar", "bool"],
  [13, "run", "scalar", "uint64"],
  [14, "durationUs", "scalar", "uint64"],
]);

export interface InterruptCodeRequest {
  id: string;
}
export const InterruptCodeRequest: MessageType<InterruptCodeRequest> = message("InterruptCodeRequest", [
  [1, "id", "scalar", "string"],
]);

export interface InterruptCodeResponse {
  wasRunning: boolean;
}
export const InterruptCodeResponse: MessageType<InterruptCodeResponse> = message("InterruptCodeResponse", [
  [1, "wasRunning", "scalar", "bool"],
]);

export interface RestartCodeRequest {
  id: string;
}
export const RestartCodeRequest: MessageType<RestartCodeRequest> = message("RestartCodeRequest", [
  [1, "id", "scalar", "string"],
]);

export interface RestartCodeResponse {
  wasThere: boolean;
}
export const RestartCodeResponse: MessageType<RestartCodeResponse> = message("RestartCodeResponse", [
  [1, "wasThere", "scalar", "bool"],
]);

export interface FileInfo {
  // in a listing: the name alone
  path: Uint8Array;
  kind: FileInfoKind;
  size: number;
  // permission bits
  mode: number;
  modifiedUnixNs: number;
  // of a symlink
  target: Uint8Array;
  links: number;
  inode: number;
}
export const FileInfo: MessageType<FileInfo> = message("FileInfo", [
  [1, "path", "scalar", "bytes"],
  [2, "kind", "enum", "FileInfoKind"],
  [3, "size", "scalar", "uint64"],
  [4, "mode", "scalar", "uint32"],
  [5, "modifiedUnixNs", "scalar", "int64"],
  [6, "target", "scalar", "bytes"],
  [7, "links", "scalar", "uint32"],
  [8, "inode", "scalar", "uint64"],
]);

export interface ReadFileRequest {
  id: string;
  path: Uint8Array;
  offset: number;
  // up to 1 MiB; 0: 1 MiB
  length: number;
  // refuse a symlink as the last part of the path
  noFollow: boolean;
}
export const ReadFileRequest: MessageType<ReadFileRequest> = message("ReadFileRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "offset", "scalar", "uint64"],
  [4, "length", "scalar", "uint32"],
  [5, "noFollow", "scalar", "bool"],
]);

export interface ReadFileResponse {
  data: Uint8Array;
  // of the file now
  size: number;
  // nothing lies after data
  end: boolean;
}
export const ReadFileResponse: MessageType<ReadFileResponse> = message("ReadFileResponse", [
  [1, "data", "scalar", "bytes"],
  [2, "size", "scalar", "uint64"],
  [3, "end", "scalar", "bool"],
]);

export interface WriteFileRequest {
  id: string;
  path: Uint8Array;
  offset: number;
  // up to 1 MiB
  data: Uint8Array;
  // if it is not there
  create: boolean;
  // first
  truncate: boolean;
  // with create: refuse when it is there
  exclusive: boolean;
  // in place of `offset`
  append: boolean;
  // of one that is created, permission bits; 0: 0644
  mode: number;
  noFollow: boolean;
}
export const WriteFileRequest: MessageType<WriteFileRequest> = message("WriteFileRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "offset", "scalar", "uint64"],
  [4, "data", "scalar", "bytes"],
  [5, "create", "scalar", "bool"],
  [6, "truncate", "scalar", "bool"],
  [7, "exclusive", "scalar", "bool"],
  [8, "append", "scalar", "bool"],
  [9, "mode", "scalar", "uint32"],
  [10, "noFollow", "scalar", "bool"],
]);

export interface WriteFileResponse {
  size: number;
}
export const WriteFileResponse: MessageType<WriteFileResponse> = message("WriteFileResponse", [
  [1, "size", "scalar", "uint64"],
]);

export interface ListFilesRequest {
  id: string;
  path: Uint8Array;
  // 0: from the start; else of the last answer
  cursor: number;
  // entries, up to 1000; 0: 1000
  limit: number;
}
export const ListFilesRequest: MessageType<ListFilesRequest> = message("ListFilesRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "cursor", "scalar", "uint64"],
  [4, "limit", "scalar", "uint32"],
]);

export interface ListFilesResponse {
  // in no order, without "." and ".."
  files: FileInfo[];
  // 0: that was all
  cursor: number;
}
export const ListFilesResponse: MessageType<ListFilesResponse> = message("ListFilesResponse", [
  [1, "files", "message", () => FileInfo, "repeated"],
  [2, "cursor", "scalar", "uint64"],
]);

export interface StatFileRequest {
  id: string;
  path: Uint8Array;
  // a symlink
  follow: boolean;
}
export const StatFileRequest: MessageType<StatFileRequest> = message("StatFileRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "follow", "scalar", "bool"],
]);

export interface MakeDirectoryRequest {
  id: string;
  path: Uint8Array;
  // those that are missing too; and that it is there already is no error
  parents: boolean;
  // 0: 0755
  mode: number;
}
export const MakeDirectoryRequest: MessageType<MakeDirectoryRequest> = message("MakeDirectoryRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "parents", "scalar", "bool"],
  [4, "mode", "scalar", "uint32"],
]);

export interface MakeDirectoryResponse {
}
export const MakeDirectoryResponse: MessageType<MakeDirectoryResponse> = message("MakeDirectoryResponse", [
]);

export interface RemoveFileRequest {
  id: string;
  path: Uint8Array;
  // a folder with all below it; no symlink is followed
  recursive: boolean;
  missingOk: boolean;
}
export const RemoveFileRequest: MessageType<RemoveFileRequest> = message("RemoveFileRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "recursive", "scalar", "bool"],
  [4, "missingOk", "scalar", "bool"],
]);

export interface RemoveFileResponse {
}
export const RemoveFileResponse: MessageType<RemoveFileResponse> = message("RemoveFileResponse", [
]);

export interface RenameFileRequest {
  id: string;
  from: Uint8Array;
  to: Uint8Array;
  // what is there
  replace: boolean;
}
export const RenameFileRequest: MessageType<RenameFileRequest> = message("RenameFileRequest", [
  [1, "id", "scalar", "string"],
  [2, "from", "scalar", "bytes"],
  [3, "to", "scalar", "bytes"],
  [4, "replace", "scalar", "bool"],
]);

export interface RenameFileResponse {
}
export const RenameFileResponse: MessageType<RenameFileResponse> = message("RenameFileResponse", [
]);

export interface MakeSymlinkRequest {
  id: string;
  // any bytes
  target: Uint8Array;
  path: Uint8Array;
}
export const MakeSymlinkRequest: MessageType<MakeSymlinkRequest> = message("MakeSymlinkRequest", [
  [1, "id", "scalar", "string"],
  [2, "target", "scalar", "bytes"],
  [3, "path", "scalar", "bytes"],
]);

export interface MakeSymlinkResponse {
}
export const MakeSymlinkResponse: MessageType<MakeSymlinkResponse> = message("MakeSymlinkResponse", [
]);

export interface SetAttributesRequest {
  id: string;
  // a symlink as its last part is refused when `mode` is set
  path: Uint8Array;
  mode: number | undefined;
  modifiedUnixNs: number | undefined;
}
export const SetAttributesRequest: MessageType<SetAttributesRequest> = message("SetAttributesRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "mode", "scalar", "uint32", "optional"],
  [4, "modifiedUnixNs", "scalar", "int64", "optional"],
]);

export interface SetAttributesResponse {
}
export const SetAttributesResponse: MessageType<SetAttributesResponse> = message("SetAttributesResponse", [
]);

export interface WatchFilesRequest {
  id: string;
  // a folder; of the first call
  path: Uint8Array;
  // of the first call
  recursive: boolean;
  // of a further call; it is forgotten when none has come for 2 minutes
  watch: number;
  // at most 60000
  waitMs: number;
}
export const WatchFilesRequest: MessageType<WatchFilesRequest> = message("WatchFilesRequest", [
  [1, "id", "scalar", "string"],
  [2, "path", "scalar", "bytes"],
  [3, "recursive", "scalar", "bool"],
  [4, "watch", "scalar", "uint32"],
  [5, "waitMs", "scalar", "uint32"],
]);

export interface FileEvent {
  kind: FileEventKind;
  // below the folder
  path: Uint8Array;
}
export const FileEvent: MessageType<FileEvent> = message("FileEvent", [
  [1, "kind", "enum", "FileEventKind"],
  [2, "path", "scalar", "bytes"],
]);

export interface WatchFilesResponse {
  watch: number;
  // What differs from the last look, a few looks a second: what came and went between two is not
  // seen.
  events: FileEvent[];
  // more lies below the folder than is watched (4096 files)
  overflow: boolean;
}
export const WatchFilesResponse: MessageType<WatchFilesResponse> = message("WatchFilesResponse", [
  [1, "watch", "scalar", "uint32"],
  [2, "events", "message", () => FileEvent, "repeated"],
  [3, "overflow", "scalar", "bool"],
]);

export interface ListProcessesRequest {
  id: string;
}
export const ListProcessesRequest: MessageType<ListProcessesRequest> = message("ListProcessesRequest", [
  [1, "id", "scalar", "string"],
]);

export interface Process {
  // as the session's processes see it
  pid: number;
  parent: number;
  name: string;
  // cut after 4 KiB
  args: string[];
  // one letter, as in proc(5)
  state: string;
  cpuUs: number;
  // resident
  memoryBytes: number;
  // of an exec's first process
  execId: number;
  // Spore's own
  agent: boolean;
  interpreter: boolean;
}
export const Process: MessageType<Process> = message("Process", [
  [1, "pid", "scalar", "int32"],
  [2, "parent", "scalar", "int32"],
  [3, "name", "scalar", "string"],
  [4, "args", "scalar", "string", "repeated"],
  [5, "state", "scalar", "string"],
  [6, "cpuUs", "scalar", "uint64"],
  [7, "memoryBytes", "scalar", "uint64"],
  [8, "execId", "scalar", "uint32"],
  [9, "agent", "scalar", "bool"],
  [10, "interpreter", "scalar", "bool"],
]);

export interface ListProcessesResponse {
  processes: Process[];
}
export const ListProcessesResponse: MessageType<ListProcessesResponse> = message("ListProcessesResponse", [
  [1, "processes", "message", () => Process, "repeated"],
]);

export interface Schedule {
  // [A-Za-z0-9][A-Za-z0-9_-]{0,63}
  name: string;
  function: string;
  ownerUid: number;
  // One of these three:
  // "minute hour day-of-month month day-of-week", or "@daily" and its like
  cron: string;
  // at least 1000
  everyMs: number;
  // once; the schedule is removed with it
  atUnixMs: number;
  // of `cron`: "Europe/Berlin"; empty: UTC
  timeZone: string;
  // JSON, up to 256 KiB; empty means null
  payload: Uint8Array;
  paused: boolean;
  createdUnixMs: number;
  // 0: none (paused)
  nextUnixMs: number;
  // when it fired last; 0: never
  lastUnixMs: number;
  // id of the event
  lastEvent: string;
  // why the last firing made no event; empty when it did
  lastError: string;
  fired: number;
}
export const Schedule: MessageType<Schedule> = message("Schedule", [
  [1, "name", "scalar", "string"],
  [2, "function", "scalar", "string"],
  [3, "ownerUid", "scalar", "uint32"],
  [4, "cron", "scalar", "string"],
  [5, "everyMs", "scalar", "uint64"],
  [6, "atUnixMs", "scalar", "int64"],
  [7, "timeZone", "scalar", "string"],
  [8, "payload", "scalar", "bytes"],
  [9, "paused", "scalar", "bool"],
  [10, "createdUnixMs", "scalar", "int64"],
  [11, "nextUnixMs", "scalar", "int64"],
  [12, "lastUnixMs", "scalar", "int64"],
  [13, "lastEvent", "scalar", "string"],
  [14, "lastError", "scalar", "string"],
  [15, "fired", "scalar", "uint64"],
]);

export interface AddScheduleRequest {
  // name (empty: the function's), function, one of cron, every_ms and at_unix_ms,
  schedule: Schedule | undefined;
}
export const AddScheduleRequest: MessageType<AddScheduleRequest> = message("AddScheduleRequest", [
  [1, "schedule", "message", () => Schedule],
]);

export interface ListSchedulesRequest {
  function: string;
}
export const ListSchedulesRequest: MessageType<ListSchedulesRequest> = message("ListSchedulesRequest", [
  [1, "function", "scalar", "string"],
]);

export interface ListSchedulesResponse {
  schedules: Schedule[];
}
export const ListSchedulesResponse: MessageType<ListSchedulesResponse> = message("ListSchedulesResponse", [
  [1, "schedules", "message", () => Schedule, "repeated"],
]);

export interface GetScheduleRequest {
  name: string;
}
export const GetScheduleRequest: MessageType<GetScheduleRequest> = message("GetScheduleRequest", [
  [1, "name", "scalar", "string"],
]);

export interface RemoveScheduleRequest {
  name: string;
}
export const RemoveScheduleRequest: MessageType<RemoveScheduleRequest> = message("RemoveScheduleRequest", [
  [1, "name", "scalar", "string"],
]);

export interface RemoveScheduleResponse {
}
export const RemoveScheduleResponse: MessageType<RemoveScheduleResponse> = message("RemoveScheduleResponse", [
]);

export interface SetSchedulePausedRequest {
  name: string;
  paused: boolean;
}
export const SetSchedulePausedRequest: MessageType<SetSchedulePausedRequest> = message("SetSchedulePausedRequest", [
  [1, "name", "scalar", "string"],
  [2, "paused", "scalar", "bool"],
]);

export interface SessionCheckpoint {
  name: string;
  // 12 hexadecimal digits; no other ever has it
  id: string;
  ownerUid: number;
  image: string;
  // of the image
  runtime: string;
  // that RunCode takes in it; empty: none
  language: string;
  // the session's
  label: string;
  // the id of the session that it was made of
  session: string;
  createdUnixMs: number;
  // on disk
  bytes: number;
  // memory and files, while it is restored
  unpackedBytes: number;
  // that were running
  processes: number;
  limits: Limits | undefined;
  environment: Record<string, string>;
  // as in CreateSandboxRequest, never empty
  network: string;
  // that the session had left
  ttlMs: number;
  idleTimeoutMs: number;
  // that ran, and those that had ended of late
  execs: Execution[];
  // one was there, and is in it
  interpreter: boolean;
  // pieces of code that it had begun
  interpreterRuns: number;
  // in an answer: why it cannot be restored here; empty: it can be
  unusable: string;
}
export const SessionCheckpoint: MessageType<SessionCheckpoint> = message("SessionCheckpoint", [
  [1, "name", "scalar", "string"],
  [2, "id", "scalar", "string"],
  [3, "ownerUid", "scalar", "uint32"],
  [4, "image", "scalar", "string"],
  [5, "runtime", "scalar", "string"],
  [6, "language", "scalar", "string"],
  [7, "label", "scalar", "string"],
  [8, "session", "scalar", "string"],
  [9, "createdUnixMs", "scalar", "int64"],
  [10, "bytes", "scalar", "uint64"],
  [11, "unpackedBytes", "scalar", "uint64"],
  [12, "processes", "scalar", "uint32"],
  [13, "limits", "message", () => Limits],
  [14, "environment", "map", "string:string"],
  [15, "network", "scalar", "string"],
  [16, "ttlMs", "scalar", "uint64"],
  [17, "idleTimeoutMs", "scalar", "uint64"],
  [18, "execs", "message", () => Execution, "repeated"],
  [19, "interpreter", "scalar", "bool"],
  [20, "interpreterRuns", "scalar", "uint64"],
  [21, "unusable", "scalar", "string"],
]);

export interface CreateSessionCheckpointRequest {
  // of the session, or a unique prefix
  id: string;
  // empty: the session's id; -2, -3, .. is put behind it when that is taken
  name: string;
  // else the session is ended when it is on disk
  leaveRunning: boolean;
}
export const CreateSessionCheckpointRequest: MessageType<CreateSessionCheckpointRequest> = message("CreateSessionCheckpointRequest", [
  [1, "id", "scalar", "string"],
  [2, "name", "scalar", "string"],
  [3, "leaveRunning", "scalar", "bool"],
]);

export interface CreateSessionCheckpointResponse {
  checkpoint: SessionCheckpoint | undefined;
  // that the session's processes were held
  stoppedUs: number;
  // from the request to this
  trace: Trace | undefined;
}
export const CreateSessionCheckpointResponse: MessageType<CreateSessionCheckpointResponse> = message("CreateSessionCheckpointResponse", [
  [1, "checkpoint", "message", () => SessionCheckpoint],
  [2, "stoppedUs", "scalar", "uint64"],
  [3, "trace", "message", () => Trace],
]);

export interface ListSessionCheckpointsRequest {
  // the next_marker of an earlier answer: what comes after that
  marker: string;
  // at most so many; 0: all that fit into one message
  limit: number;
}
export const ListSessionCheckpointsRequest: MessageType<ListSessionCheckpointsRequest> = message("ListSessionCheckpointsRequest", [
  [1, "marker", "scalar", "string"],
  [2, "limit", "scalar", "uint32"],
]);

export interface ListSessionCheckpointsResponse {
  checkpoints: SessionCheckpoint[];
  // empty: there are no more
  nextMarker: string;
}
export const ListSessionCheckpointsResponse: MessageType<ListSessionCheckpointsResponse> = message("ListSessionCheckpointsResponse", [
  [1, "checkpoints", "message", () => SessionCheckpoint, "repeated"],
  [2, "nextMarker", "scalar", "string"],
]);

export interface InspectSessionCheckpointRequest {
  name: string;
}
export const InspectSessionCheckpointRequest: MessageType<InspectSessionCheckpointRequest> = message("InspectSessionCheckpointRequest", [
  [1, "name", "scalar", "string"],
]);

export interface RemoveSessionCheckpointRequest {
  name: string;
}
export const RemoveSessionCheckpointRequest: MessageType<RemoveSessionCheckpointRequest> = message("RemoveSessionCheckpointRequest", [
  [1, "name", "scalar", "string"],
]);

export interface RemoveSessionCheckpointResponse {
}
export const RemoveSessionCheckpointResponse: MessageType<RemoveSessionCheckpointResponse> = message("RemoveSessionCheckpointResponse", [
]);

export interface RestoreSessionRequest {
  name: string;
  // as in CreateSandboxRequest; empty: the checkpoint's
  label: string;
  // from now, as in CreateSandboxRequest; 0: what the session had left, at
  ttlMs: number;
}
export const RestoreSessionRequest: MessageType<RestoreSessionRequest> = message("RestoreSessionRequest", [
  [1, "name", "scalar", "string"],
  [2, "label", "scalar", "string"],
  [3, "ttlMs", "scalar", "uint64"],
]);

// What lies on disk beside the archive. Never part of a request or an answer.
export interface SessionCheckpointRecord {
  checkpoint: SessionCheckpoint | undefined;
  // "sha256:<hex>"
  archiveDigest: string;
  // Its ties and boot_id alone are set: as for a zygote's, they must be the same where it is
  // restored. A session has
  // clocks of its own where the host's are behind.
  madeOn: Checkpoint | undefined;
  // pid of the session's agent, within the session
  agent: number;
  // of the agent's: through it the agent is brought back
  agentDescriptor: number;
  // the highest pid or thread id within the session
  lastNumber: number;
  // so far
  lastExecId: number;
  // its clocks, when it was dumped
  monotonicNs: number;
  boottimeNs: number;
}
export const SessionCheckpointRecord: MessageType<SessionCheckpointRecord> = message("SessionCheckpointRecord", [
  [1, "checkpoint", "message", () => SessionCheckpoint],
  [2, "archiveDigest", "scalar", "string"],
  [3, "madeOn", "message", () => Checkpoint],
  [4, "agent", "scalar", "int32"],
  [5, "agentDescriptor", "scalar", "int32"],
  [6, "lastNumber", "scalar", "int32"],
  [7, "lastExecId", "scalar", "uint32"],
  [8, "monotonicNs", "scalar", "uint64"],
  [9, "boottimeNs", "scalar", "uint64"],
]);

// What a sandbox may use. 0 means: the default (deploy) or unchanged (update). spored refuses
// values outside the ranges given here and those its configuration narrows them to.
export interface Limits {
  // 16 MiB to 64 GiB; default 128 MiB. Swap is not allowed on top.
  memoryBytes: number;
  // thousandths of a CPU, 10 to 1000 x host CPUs; default 1000
  cpuMillis: number;
  // processes and threads, 1 to 32768; default 64
  pids: number;
  // size of /tmp and /dev/shm together, 64 KiB to 64 GiB; default 64 MiB
  tmpBytes: number;
  // RLIMIT_NOFILE, 16 to 1048576; default 1024
  openFiles: number;
  // wall clock of one invocation or run, 1 to 86400000; default 30000
  timeoutMs: number;
  // request payload, up to 64 MiB; default 6 MiB
  payloadBytes: number;
  // response payload, up to 64 MiB; default 6 MiB
  responseBytes: number;
  // stdout and stderr kept of one invocation, up to 64 MiB; default 1 MiB
  outputBytes: number;
  // instances of the function at once, 1 to 10000; default 100
  maxInstances: number;
  // an idle instance is ended after this; default 60000
  idleMs: number;
}
export const Limits: MessageType<Limits> = message("Limits", [
  [1, "memoryBytes", "scalar", "uint64"],
  [2, "cpuMillis", "scalar", "uint32"],
  [3, "pids", "scalar", "uint32"],
  [4, "tmpBytes", "scalar", "uint64"],
  [5, "openFiles", "scalar", "uint32"],
  [6, "timeoutMs", "scalar", "uint64"],
  [7, "payloadBytes", "scalar", "uint64"],
  [8, "responseBytes", "scalar", "uint64"],
  [9, "outputBytes", "scalar", "uint64"],
  [10, "maxInstances", "scalar", "uint32"],
  [11, "idleMs", "scalar", "uint64"],
]);

export interface FunctionSettings {
  // "python", "node", "native"
  runtime: string;
  // Image of that runtime; empty: the image named like the runtime. Of an imported image NAME is
  // its
  // newest version when this is sent, and NAME@VERSION what the function then keeps.
  image: string;
  // "module.function"; of runtime native "file.so:symbol"
  handler: string;
  isolation: Isolation;
  limits: Limits | undefined;
  // replaces the whole map on update unless keep_environment
  environment: Record<string, string>;
  // Kept ready, at most limits.max_instances: with isolation INSTANCE so many live instances, else
  // so many that have loaded the function and served nobody. Absent: 0 (deploy), unchanged
  // (update).
  minInstances: number | undefined;
  // Library set of the image to start from; "none": the image's own zygote; empty: the set that
  // fits
  // what the function was seen to import. On update empty leaves it, and "auto" makes it empty.
  libraries: string;
  // up to 256 characters. Absent: empty (deploy), unchanged (update)
  description: string | undefined;
}
export const FunctionSettings: MessageType<FunctionSettings> = message("FunctionSettings", [
  [1, "runtime", "scalar", "string"],
  [2, "image", "scalar", "string"],
  [3, "handler", "scalar", "string"],
  [4, "isolation", "enum", "Isolation"],
  [5, "limits", "message", () => Limits],
  [6, "environment", "map", "string:string"],
  [7, "minInstances", "scalar", "uint32", "optional"],
  [8, "libraries", "scalar", "string"],
  [9, "description", "scalar", "string", "optional"],
]);

export interface Function {
  name: string;
  // counts up from 1 with each update
  version: number;
  // with every default filled in
  settings: FunctionSettings | undefined;
  ownerUid: number;
  createdUnixMs: number;
  updatedUnixMs: number;
  // "sha256:<hex>" of the archive as sent
  codeDigest: string;
  // unpacked
  codeBytes: number;
  // live now
  instances: number;
  // of the image's version; empty: a manifest of the host, never pinned
  imageDigest: string;
  // which one this is (versions.proto); 0: the working copy, $LATEST
  publishedVersion: number;
  // as all below of the function, whichever version this is
  tags: Record<string, string>;
  // reserved; absent: limits.max_instances of the working copy holds
  concurrency: number | undefined;
  // another one after each change of the function
  revisionId: string;
}
export const Function: MessageType<Function> = message("Function", [
  [1, "name", "scalar", "string"],
  [2, "version", "scalar", "uint64"],
  [3, "settings", "message", () => FunctionSettings],
  [4, "ownerUid", "scalar", "uint32"],
  [5, "createdUnixMs", "scalar", "int64"],
  [6, "updatedUnixMs", "scalar", "int64"],
  [7, "codeDigest", "scalar", "string"],
  [8, "codeBytes", "scalar", "uint64"],
  [9, "instances", "scalar", "uint32"],
  [10, "imageDigest", "scalar", "string"],
  [11, "publishedVersion", "scalar", "uint64"],
  [12, "tags", "map", "string:string"],
  [13, "concurrency", "scalar", "uint32", "optional"],
  [14, "revisionId", "scalar", "string"],
]);

export interface DeployRequest {
  // [A-Za-z0-9][A-Za-z0-9_-]{0,63}
  name: string;
  settings: FunctionSettings | undefined;
  // Instead of a descriptor, from clients that cannot pass any: the archive itself, up to 3 MiB.
  archive: Uint8Array | undefined;
}
export const DeployRequest: MessageType<DeployRequest> = message("DeployRequest", [
  [1, "name", "scalar", "string"],
  [2, "settings", "message", () => FunctionSettings],
  [3, "archive", "scalar", "bytes", "optional"],
]);

export interface UpdateRequest {
  name: string;
  // fields left empty stay as they are
  settings: FunctionSettings | undefined;
  archiveAttached: boolean;
  keepEnvironment: boolean;
  // when given: FAILED_PRECONDITION unless it is the function's
  revisionId: string;
  // as DeployRequest's, instead of archive_attached
  archive: Uint8Array | undefined;
}
export const UpdateRequest: MessageType<UpdateRequest> = message("UpdateRequest", [
  [1, "name", "scalar", "string"],
  [2, "settings", "message", () => FunctionSettings],
  [3, "archiveAttached", "scalar", "bool"],
  [4, "keepEnvironment", "scalar", "bool"],
  [5, "revisionId", "scalar", "string"],
  [6, "archive", "scalar", "bytes", "optional"],
]);

export interface GetFunctionRequest {
  name: string;
  // as InvokeRequest's, but an alias with two versions tells the first
  qualifier: string;
}
export const GetFunctionRequest: MessageType<GetFunctionRequest> = message("GetFunctionRequest", [
  [1, "name", "scalar", "string"],
  [2, "qualifier", "scalar", "string"],
]);

export interface ListFunctionsRequest {
  // the names after this one
  marker: string;
  // at most so many; 0: all that fit into one message
  limit: number;
}
export const ListFunctionsRequest: MessageType<ListFunctionsRequest> = message("ListFunctionsRequest", [
  [1, "marker", "scalar", "string"],
  [2, "limit", "scalar", "uint32"],
]);

export interface ListFunctionsResponse {
  // by name
  functions: Function[];
  // empty: there are no more
  nextMarker: string;
}
export const ListFunctionsResponse: MessageType<ListFunctionsResponse> = message("ListFunctionsResponse", [
  [1, "functions", "message", () => Function, "repeated"],
  [2, "nextMarker", "scalar", "string"],
]);

export interface RemoveFunctionRequest {
  name: string;
}
export const RemoveFunctionRequest: MessageType<RemoveFunctionRequest> = message("RemoveFunctionRequest", [
  [1, "name", "scalar", "string"],
]);

export interface RemoveFunctionResponse {
}
export const RemoveFunctionResponse: MessageType<RemoveFunctionResponse> = message("RemoveFunctionResponse", [
]);

export interface AdviseRequest {
  name: string;
}
export const AdviseRequest: MessageType<AdviseRequest> = message("AdviseRequest", [
  [1, "name", "scalar", "string"],
]);

export interface AdviseResponseModule {
  name: string;
  // without what it imported in turn
  selfUs: number;
  // with it
  totalUs: number;
  // by which the process grew meanwhile, without what it imported
  memoryBytes: number;
  // of the function's own archive: no set can have it
  own: boolean;
}
export const AdviseResponseModule: MessageType<AdviseResponseModule> = message("AdviseResponseModule", [
  [1, "name", "scalar", "string"],
  [2, "selfUs", "scalar", "uint64"],
  [3, "totalUs", "scalar", "uint64"],
  [4, "memoryBytes", "scalar", "uint64"],
  [5, "own", "scalar", "bool"],
]);

// A library set, of the image or proposed.
export interface AdviseResponseSet {
  name: string;
  modules: string[];
  // of a start
  savesUs: number;
  // that its zygote would hold beyond its parent's
  memoryBytes: number;
  // starts of this function come from it whenever it is there
  serves: boolean;
}
export const AdviseResponseSet: MessageType<AdviseResponseSet> = message("AdviseResponseSet", [
  [1, "name", "scalar", "string"],
  [2, "modules", "scalar", "string", "repeated"],
  [3, "savesUs", "scalar", "uint64"],
  [4, "memoryBytes", "scalar", "uint64"],
  [5, "serves", "scalar", "bool"],
]);

// Times and sizes as the function's own process measured them: it can say what it likes.
export interface AdviseResponse {
  function: string;
  functionVersion: number;
  image: string;
  // from the plain zygote to a handler that could be called
  loadUs: number;
  // imported by it, the dearest first; at most 200
  modules: AdviseResponseModule[];
  // that it named and that were there already
  preloaded: string[];
  // of the image, those whose modules it imports
  sets: AdviseResponseSet[];
  // unset: nothing that would pay
  proposed: AdviseResponseSet | undefined;
  // of the image's manifest, with `proposed`
  fragment: string;
}
export const AdviseResponse: MessageType<AdviseResponse> = message("AdviseResponse", [
  [1, "function", "scalar", "string"],
  [2, "functionVersion", "scalar", "uint64"],
  [3, "image", "scalar", "string"],
  [4, "loadUs", "scalar", "uint64"],
  [5, "modules", "message", () => AdviseResponseModule, "repeated"],
  [6, "preloaded", "scalar", "string", "repeated"],
  [7, "sets", "message", () => AdviseResponseSet, "repeated"],
  [8, "proposed", "message", () => AdviseResponseSet],
  [9, "fragment", "scalar", "string"],
]);

// How an instance ended, and what it had used.
export interface Death {
  cause: DeathCause;
  exitCode: number;
  signal: number;
  // one line for a person
  message: string;
  usage: Usage | undefined;
}
export const Death: MessageType<Death> = message("Death", [
  [1, "cause", "enum", "DeathCause"],
  [2, "exitCode", "scalar", "int32"],
  [3, "signal", "scalar", "int32"],
  [4, "message", "scalar", "string"],
  [5, "usage", "message", () => Usage],
]);

export interface Usage {
  // user and system
  cpuUs: number;
  memoryPeakBytes: number;
  memoryLimitBytes: number;
  pidsLimitHits: number;
  wallUs: number;
}
export const Usage: MessageType<Usage> = message("Usage", [
  [1, "cpuUs", "scalar", "uint64"],
  [2, "memoryPeakBytes", "scalar", "uint64"],
  [3, "memoryLimitBytes", "scalar", "uint64"],
  [4, "pidsLimitHits", "scalar", "uint64"],
  [5, "wallUs", "scalar", "uint64"],
]);

// One timed step of a start or a request. Times are CLOCK_MONOTONIC of the host.
export interface Step {
  // "spored", "zygote", "sandbox", "instance"
  process: string;
  name: string;
  // since spored had read the whole request
  startUs: number;
  durationUs: number;
}
export const Step: MessageType<Step> = message("Step", [
  [1, "process", "scalar", "string"],
  [2, "name", "scalar", "string"],
  [3, "startUs", "scalar", "int64"],
  [4, "durationUs", "scalar", "uint64"],
]);

export interface Trace {
  steps: Step[];
  // request read to response handed to the socket
  totalUs: number;
}
export const Trace: MessageType<Trace> = message("Trace", [
  [1, "steps", "message", () => Step, "repeated"],
  [2, "totalUs", "scalar", "uint64"],
]);

export interface InvokeRequest {
  name: string;
  // JSON; empty means null. Attach what is above 1 MiB: a message holds 4 MiB.
  payload: Uint8Array;
  payloadAttached: boolean;
  // fill InvokeResponse.trace
  trace: boolean;
  // JSON, given to the handler as context.client_context
  clientContext: Uint8Array;
  // fill InvokeResponse.log_tail
  logTail: boolean;
  // the caller takes a memfd for responses above 1 MiB
  payloadResponseAttached: boolean;
  // A published version's number, an alias, or "$LATEST", the working copy; empty: the working
  // copy.
  qualifier: string;
}
export const InvokeRequest: MessageType<InvokeRequest> = message("InvokeRequest", [
  [1, "name", "scalar", "string"],
  [2, "payload", "scalar", "bytes"],
  [3, "payloadAttached", "scalar", "bool"],
  [4, "trace", "scalar", "bool"],
  [5, "clientContext", "scalar", "bytes"],
  [6, "logTail", "scalar", "bool"],
  [7, "payloadResponseAttached", "scalar", "bool"],
  [8, "qualifier", "scalar", "string"],
]);

export interface FunctionError {
  // exception class, or Runtime.ExitError, Sandbox.Timedout,
  type: string;
  // Runtime.OutOfMemory, Function.ResponseSizeTooLarge,
  // Runtime.ImportModuleError, Runtime.HandlerNotFound,
  // Runtime.UserCodeSyntaxError, Runtime.MarshalError,
  // Runtime.UnmarshalError
  message: string;
  stackTrace: string[];
  // when the instance died of it
  death: Death | undefined;
}
export const FunctionError: MessageType<FunctionError> = message("FunctionError", [
  [1, "type", "scalar", "string"],
  [2, "message", "scalar", "string"],
  [3, "stackTrace", "scalar", "string", "repeated"],
  [4, "death", "message", () => Death],
]);

export interface InvokeResponse {
  // the handler's result as JSON
  payload: Uint8Array;
  // it is in the descriptor that came along
  payloadAttached: boolean;
  // set when the function failed; payload is then empty
  error: FunctionError | undefined;
  startKind: StartKind;
  // a UUID
  requestId: string;
  functionVersion: number;
  instanceId: string;
  trace: Trace | undefined;
  // the last 4 KiB of this invocation's output
  logTail: Uint8Array;
  durationUs: number;
  // why this start kind was chosen, in words
  startReason: string;
  // of FORK: the function was loaded before the request came
  loadedAhead: boolean;
  // "$LATEST", or the published version's number
  executedVersion: string;
}
export const InvokeResponse: MessageType<InvokeResponse> = message("InvokeResponse", [
  [1, "payload", "scalar", "bytes"],
  [2, "payloadAttached", "scalar", "bool"],
  [3, "error", "message", () => FunctionError],
  [4, "startKind", "enum", "StartKind"],
  [5, "requestId", "scalar", "string"],
  [6, "functionVersion", "scalar", "uint64"],
  [7, "instanceId", "scalar", "string"],
  [8, "trace", "message", () => Trace],
  [9, "logTail", "scalar", "bytes"],
  [10, "durationUs", "scalar", "uint64"],
  [11, "startReason", "scalar", "string"],
  [12, "loadedAhead", "scalar", "bool"],
  [13, "executedVersion", "scalar", "string"],
]);

export interface RunRequest {
  runtime: string;
  image: string;
  // the script's text, up to 1 MiB; empty where a program is run
  script: Uint8Array;
  // sys.argv, from argv[0] (the script's or program's name) on
  args: string[];
  environment: Record<string, string>;
  limits: Limits | undefined;
  trace: boolean;
  // Runtime native: the fourth descriptor is the program, an executable file or a script with a
  // "#!" line. It becomes /var/task/NAME, NAME being the last part of args[0], and counts as
  // memory of the sandbox. Without it args[0] names a program of the image: by a path, or by a
  // name without a slash that is looked up in PATH.
  // Runtime java: a jar in place of `script`, which is source text; it, too, becomes
  // /var/task/NAME.
  programAttached: boolean;
}
export const RunRequest: MessageType<RunRequest> = message("RunRequest", [
  [1, "runtime", "scalar", "string"],
  [2, "image", "scalar", "string"],
  [3, "script", "scalar", "bytes"],
  [4, "args", "scalar", "string", "repeated"],
  [5, "environment", "map", "string:string"],
  [6, "limits", "message", () => Limits],
  [7, "trace", "scalar", "bool"],
  [8, "programAttached", "scalar", "bool"],
]);

export interface RunResponse {
  // always set: EXIT with the script's code, or what ended it
  death: Death | undefined;
  startKind: StartKind;
  instanceId: string;
  trace: Trace | undefined;
  // why this start kind was chosen, in words
  startReason: string;
}
export const RunResponse: MessageType<RunResponse> = message("RunResponse", [
  [1, "death", "message", () => Death],
  [2, "startKind", "enum", "StartKind"],
  [3, "instanceId", "scalar", "string"],
  [4, "trace", "message", () => Trace],
  [5, "startReason", "scalar", "string"],
]);

export interface Instance {
  // 12 hexadecimal digits
  id: string;
  // empty for `run`
  function: string;
  functionVersion: number;
  image: string;
  state: InstanceState;
  startKind: StartKind;
  // in the daemon's pid namespace; 0 once dead
  pid: number;
  // the host's view of the sandbox's uid
  uid: number;
  startedUnixMs: number;
  invocations: number;
  // charged now
  memoryBytes: number;
  cpuUs: number;
  pids: number;
  death: Death | undefined;
  ownerUid: number;
  limits: Limits | undefined;
  // paths
  cgroups: string[];
  // "$LATEST", or the published version's number; empty for `run`
  qualifier: string;
}
export const Instance: MessageType<Instance> = message("Instance", [
  [1, "id", "scalar", "string"],
  [2, "function", "scalar", "string"],
  [3, "functionVersion", "scalar", "uint64"],
  [4, "image", "scalar", "string"],
  [5, "state", "enum", "InstanceState"],
  [6, "startKind", "enum", "StartKind"],
  [7, "pid", "scalar", "int32"],
  [8, "uid", "scalar", "uint32"],
  [9, "startedUnixMs", "scalar", "int64"],
  [10, "invocations", "scalar", "uint64"],
  [11, "memoryBytes", "scalar", "uint64"],
  [12, "cpuUs", "scalar", "uint64"],
  [13, "pids", "scalar", "uint32"],
  [14, "death", "message", () => Death],
  [15, "ownerUid", "scalar", "uint32"],
  [16, "limits", "message", () => Limits],
  [17, "cgroups", "scalar", "string", "repeated"],
  [18, "qualifier", "scalar", "string"],
]);

export interface ListInstancesRequest {
  // empty: all that the caller may see
  function: string;
  // the recently ended too
  includeDead: boolean;
}
export const ListInstancesRequest: MessageType<ListInstancesRequest> = message("ListInstancesRequest", [
  [1, "function", "scalar", "string"],
  [2, "includeDead", "scalar", "bool"],
]);

export interface ListInstancesResponse {
  instances: Instance[];
}
export const ListInstancesResponse: MessageType<ListInstancesResponse> = message("ListInstancesResponse", [
  [1, "instances", "message", () => Instance, "repeated"],
]);

export interface InspectRequest {
  id: string;
}
export const InspectRequest: MessageType<InspectRequest> = message("InspectRequest", [
  [1, "id", "scalar", "string"],
]);

export interface KillRequest {
  id: string;
}
export const KillRequest: MessageType<KillRequest> = message("KillRequest", [
  [1, "id", "scalar", "string"],
]);

export interface KillResponse {
  id: string;
}
export const KillResponse: MessageType<KillResponse> = message("KillResponse", [
  [1, "id", "scalar", "string"],
]);

export interface LogLine {
  unixUs: number;
  instanceId: string;
  // SYSTEM: Spore's own START, END, REPORT and cut-off lines
  stream: LogLineStream;
  // without the line's end
  text: Uint8Array;
}
export const LogLine: MessageType<LogLine> = message("LogLine", [
  [1, "unixUs", "scalar", "int64"],
  [2, "instanceId", "scalar", "string"],
  [3, "stream", "enum", "LogLineStream"],
  [4, "text", "scalar", "bytes"],
]);

export interface ReadLogsRequest {
  function: string;
  // 0: from the oldest kept
  cursor: number;
  // at most 60000
  waitMs: number;
  // with cursor 0: only the last `tail` lines; 0 means all kept
  tail: number;
}
export const ReadLogsRequest: MessageType<ReadLogsRequest> = message("ReadLogsRequest", [
  [1, "function", "scalar", "string"],
  [2, "cursor", "scalar", "uint64"],
  [3, "waitMs", "scalar", "uint32"],
  [4, "tail", "scalar", "uint32"],
]);

export interface ReadLogsResponse {
  lines: LogLine[];
  // for the next call
  cursor: number;
  // lines between the asked cursor and the first one returned
  dropped: number;
}
export const ReadLogsResponse: MessageType<ReadLogsResponse> = message("ReadLogsResponse", [
  [1, "lines", "message", () => LogLine, "repeated"],
  [2, "cursor", "scalar", "uint64"],
  [3, "dropped", "scalar", "uint64"],
]);

export interface InfoRequest {
}
export const InfoRequest: MessageType<InfoRequest> = message("InfoRequest", [
]);

export interface InfoResponse {
  version: string;
  pid: number;
  stateDir: string;
  // "v2", "hybrid", "v1"
  cgroupLayout: string;
  images: Image[];
  startedUnixMs: number;
}
export const InfoResponse: MessageType<InfoResponse> = message("InfoResponse", [
  [1, "version", "scalar", "string"],
  [2, "pid", "scalar", "int32"],
  [3, "stateDir", "scalar", "string"],
  [4, "cgroupLayout", "scalar", "string"],
  [5, "images", "message", () => Image, "repeated"],
  [6, "startedUnixMs", "scalar", "int64"],
]);

export interface Image {
  name: string;
  runtime: string;
  state: ImageState;
  // of FAILED
  reason: string;
  preload: string[];
  zygotePid: number;
  // copies of its zygotes that were given to a function or run
  forks: number;
  // "3.11.2"; empty until its zygote has been ready once
  runtimeVersion: string;
  // path inside the image
  interpreter: string;
  // of the interpreter's command line
  options: string[];
  environment: Record<string, string>;
  // Debian packages that bring it
  packages: string[];
  // its zygote starts with the daemon
  eager: boolean;
  // what it preloads may have threads
  threads: boolean;
  // path of the file that describes it
  manifest: string;
  // of a function or run that asks for no others
  limits: Limits | undefined;
  // its zygotes' memory is moved into a file, where it pays
  flat: boolean;
  // Of an imported image, whose `name` above is NAME@VERSION:
  // counts up from 1; 0: a manifest of the host
  version: number;
  // "sha256:<hex>", of manifest and root together
  digest: string;
  // "host", or "sha256:<hex>" of what lists the root's files
  root: string;
  // where it was imported from, in words
  source: string;
  // of the archive, or of the OCI manifest
  sourceDigest: string;
  createdUnixMs: number;
  rootBytes: number;
  rootFiles: number;
  // called in the zygote when all is preloaded
  warmUp: string;
  sets: LibrarySet[];
  policy: ImagePolicy | undefined;
  // Names of `environment` that come from an OCI archive's configuration, not from the manifest.
  archiveEnvironment: string[];
}
export const Image: MessageType<Image> = message("Image", [
  [1, "name", "scalar", "string"],
  [2, "runtime", "scalar", "string"],
  [3, "state", "enum", "ImageState"],
  [4, "reason", "scalar", "string"],
  [5, "preload", "scalar", "string", "repeated"],
  [6, "zygotePid", "scalar", "int32"],
  [7, "forks", "scalar", "uint64"],
  [8, "runtimeVersion", "scalar", "string"],
  [9, "interpreter", "scalar", "string"],
  [10, "options", "scalar", "string", "repeated"],
  [11, "environment", "map", "string:string"],
  [12, "packages", "scalar", "string", "repeated"],
  [13, "eager", "scalar", "bool"],
  [14, "threads", "scalar", "bool"],
  [15, "manifest", "scalar", "string"],
  [16, "limits", "message", () => Limits],
  [26, "flat", "scalar", "bool"],
  [17, "version", "scalar", "uint64"],
  [18, "digest", "scalar", "string"],
  [19, "root", "scalar", "string"],
  [20, "source", "scalar", "string"],
  [21, "sourceDigest", "scalar", "string"],
  [22, "createdUnixMs", "scalar", "int64"],
  [23, "rootBytes", "scalar", "uint64"],
  [24, "rootFiles", "scalar", "uint64"],
  [25, "warmUp", "scalar", "string"],
  [27, "sets", "message", () => LibrarySet, "repeated"],
  [28, "policy", "message", () => ImagePolicy],
  [29, "archiveEnvironment", "scalar", "string", "repeated"],
]);

// What sandboxes of an image may and may not, other than those of others ([policy] of its
// manifest).
export interface ImagePolicy {
  // TCP and UDP over 127.0.0.1 and ::1, inside the sandbox
  loopback: boolean;
  // system calls, and groups of them, that they lose
  deny: string[];
}
export const ImagePolicy: MessageType<ImagePolicy> = message("ImagePolicy", [
  [1, "loopback", "scalar", "bool"],
  [2, "deny", "scalar", "string", "repeated"],
]);

// What a zygote of an image may import beyond the image's preload list.
export interface LibrarySet {
  name: string;
  // the set that it starts from; empty: the image's own zygote
  parent: string;
  modules: string[];
  // its zygote is there whenever the image's is
  eager: boolean;
}
export const LibrarySet: MessageType<LibrarySet> = message("LibrarySet", [
  [1, "name", "scalar", "string"],
  [2, "parent", "scalar", "string"],
  [3, "modules", "scalar", "string", "repeated"],
  [4, "eager", "scalar", "bool"],
]);

export interface ListImagesRequest {
}
export const ListImagesRequest: MessageType<ListImagesRequest> = message("ListImagesRequest", [
]);

export interface ListImagesResponse {
  images: Image[];
}
export const ListImagesResponse: MessageType<ListImagesResponse> = message("ListImagesResponse", [
  [1, "images", "message", () => Image, "repeated"],
]);

export interface GetImageRequest {
  name: string;
}
export const GetImageRequest: MessageType<GetImageRequest> = message("GetImageRequest", [
  [1, "name", "scalar", "string"],
]);

export interface ImportImageRequest {
  // [A-Za-z0-9][A-Za-z0-9_-]{0,63}; not one of a manifest of the host
  name: string;
  // spore-image(5); may be empty when `runtime` is given
  manifest: string;
  // added to the manifest if it names none; else they must agree
  runtime: string;
  // kept for people
  source: string;
}
export const ImportImageRequest: MessageType<ImportImageRequest> = message("ImportImageRequest", [
  [1, "name", "scalar", "string"],
  [2, "manifest", "scalar", "string"],
  [3, "runtime", "scalar", "string"],
  [4, "source", "scalar", "string"],
]);

export interface ImportImageResponse {
  image: Image | undefined;
  // the newest version was the same already: none was made
  unchanged: boolean;
  // what was left out of the root, and the like
  notes: string[];
}
export const ImportImageResponse: MessageType<ImportImageResponse> = message("ImportImageResponse", [
  [1, "image", "message", () => Image],
  [2, "unchanged", "scalar", "bool"],
  [3, "notes", "scalar", "string", "repeated"],
]);

export interface VerifyImageRequest {
  name: string;
}
export const VerifyImageRequest: MessageType<VerifyImageRequest> = message("VerifyImageRequest", [
  [1, "name", "scalar", "string"],
]);

export interface VerifyImageResponse {
  image: Image | undefined;
  // the first 100; empty: all is as it was imported
  differences: string[];
  differenceCount: number;
}
export const VerifyImageResponse: MessageType<VerifyImageResponse> = message("VerifyImageResponse", [
  [1, "image", "message", () => Image],
  [2, "differences", "scalar", "string", "repeated"],
  [3, "differenceCount", "scalar", "uint64"],
]);

export interface RemoveImageRequest {
  name: string;
  // also when functions use it; its instances are killed first
  force: boolean;
}
export const RemoveImageRequest: MessageType<RemoveImageRequest> = message("RemoveImageRequest", [
  [1, "name", "scalar", "string"],
  [2, "force", "scalar", "bool"],
]);

export interface RemoveImageResponse {
  names: string[];
}
export const RemoveImageResponse: MessageType<RemoveImageResponse> = message("RemoveImageResponse", [
  [1, "names", "scalar", "string", "repeated"],
]);

export interface Zygote {
  image: string;
  // counts up from 1 with each zygote of the image
  generation: number;
  state: ZygoteState;
  // in the daemon's pid namespace; 0 before it is ready and when ended
  pid: number;
  startedUnixMs: number;
  // from its first instruction until all was loaded
  preloadUs: number;
  // copies of it that were given to a function or run
  forks: number;
  // copies that wait for a function or run
  sandboxesReady: number;
  // live, forked from it
  instances: number;
  // PSS: its own, and its share of what its copies have in common
  memoryBytes: number;
  // with it. In a listing, and for root only: it costs; else 0.
  // Why it could not be replaced when that was last tried; empty when there was nothing wrong.
  rotationError: string;
  // in a row
  rotationFailures: number;
  // when it will be replaced by itself, if not before; 0: never
  nextRotationUnixMs: number;
  // copies that have not warmed up yet (spare-sandboxes)
  sandboxesSpare: number;
  // Its memory when it was ready: what was moved into a file, so that no copy of it has to copy
  // its page
  // tables; what was not; and why, empty when only small pieces were not.
  flatBytes: number;
  unmovedBytes: number;
  flatNote: string;
  // library set; empty: the image's own zygote
  set: string;
  // of a set, as in LibrarySet
  parent: string;
  // of ABSENT
  reason: string;
  // of a set: that wanted it within the last minutes, older ones less
  recentStarts: number;
  // of a set: what a start from it saves; of ABSENT as last known
  importUs: number;
  // of a set: what it held beyond its parent's when it was ready
  uniqueBytes: number;
  // COLD, or RESTORE from a checkpoint; unspecified: not known yet
  startKind: StartKind;
  // why it was not restored, when there was something to restore
  startReason: string;
  // that it was restored from
  checkpoint: string;
  // from the request for it until it was ready
  startUs: number;
}
export const Zygote: MessageType<Zygote> = message("Zygote", [
  [1, "image", "scalar", "string"],
  [2, "generation", "scalar", "uint64"],
  [3, "state", "enum", "ZygoteState"],
  [4, "pid", "scalar", "int32"],
  [5, "startedUnixMs", "scalar", "int64"],
  [6, "preloadUs", "scalar", "uint64"],
  [7, "forks", "scalar", "uint64"],
  [8, "sandboxesReady", "scalar", "uint32"],
  [9, "instances", "scalar", "uint32"],
  [10, "memoryBytes", "scalar", "uint64"],
  [11, "rotationError", "scalar", "string"],
  [12, "rotationFailures", "scalar", "uint32"],
  [13, "nextRotationUnixMs", "scalar", "int64"],
  [27, "sandboxesSpare", "scalar", "uint32"],
  [14, "flatBytes", "scalar", "uint64"],
  [15, "unmovedBytes", "scalar", "uint64"],
  [16, "flatNote", "scalar", "string"],
  [21, "set", "scalar", "string"],
  [22, "parent", "scalar", "string"],
  [23, "reason", "scalar", "string"],
  [24, "recentStarts", "scalar", "double"],
  [25, "importUs", "scalar", "uint64"],
  [26, "uniqueBytes", "scalar", "uint64"],
  [17, "startKind", "enum", "StartKind"],
  [18, "startReason", "scalar", "string"],
  [19, "checkpoint", "scalar", "string"],
  [20, "startUs", "scalar", "uint64"],
]);

export interface Checkpoint {
  // 12 hexadecimal digits
  id: string;
  image: string;
  createdUnixMs: number;
  // made by spored itself, after a slow start
  automatic: boolean;
  // when that was known
  runtimeVersion: string;
  // on disk
  archiveBytes: number;
  // unpacked, while it is restored
  memoryBytes: number;
  // "sha256:<hex>"
  archiveDigest: string;
  // what must be the same here for it to be restored
  ties: Record<string, string>;
  // of the host that made it
  bootId: string;
  // its CLOCK_MONOTONIC then
  clockNs: number;
  // in an answer: why it is not restored here; empty: it can be
  unusable: string;
  // when `spore checkpoint import` brought it; 0: it was made here
  importedUnixMs: number;
}
export const Checkpoint: MessageType<Checkpoint> = message("Checkpoint", [
  [1, "id", "scalar", "string"],
  [2, "image", "scalar", "string"],
  [3, "createdUnixMs", "scalar", "int64"],
  [4, "automatic", "scalar", "bool"],
  [5, "runtimeVersion", "scalar", "string"],
  [6, "archiveBytes", "scalar", "uint64"],
  [7, "memoryBytes", "scalar", "uint64"],
  [8, "archiveDigest", "scalar", "string"],
  [9, "ties", "map", "string:string"],
  [10, "bootId", "scalar", "string"],
  [11, "clockNs", "scalar", "uint64"],
  [12, "unusable", "scalar", "string"],
  [13, "importedUnixMs", "scalar", "int64"],
]);

export interface ListCheckpointsRequest {
}
export const ListCheckpointsRequest: MessageType<ListCheckpointsRequest> = message("ListCheckpointsRequest", [
]);

export interface ListCheckpointsResponse {
  checkpoints: Checkpoint[];
}
export const ListCheckpointsResponse: MessageType<ListCheckpointsResponse> = message("ListCheckpointsResponse", [
  [1, "checkpoints", "message", () => Checkpoint, "repeated"],
]);

export interface CreateCheckpointRequest {
  image: string;
}
export const CreateCheckpointRequest: MessageType<CreateCheckpointRequest> = message("CreateCheckpointRequest", [
  [1, "image", "scalar", "string"],
]);

export interface RestoreCheckpointRequest {
  // its newest that can be restored; or
  image: string;
  id: string;
}
export const RestoreCheckpointRequest: MessageType<RestoreCheckpointRequest> = message("RestoreCheckpointRequest", [
  [1, "image", "scalar", "string"],
  [2, "id", "scalar", "string"],
]);

export interface RemoveCheckpointRequest {
  id: string;
}
export const RemoveCheckpointRequest: MessageType<RemoveCheckpointRequest> = message("RemoveCheckpointRequest", [
  [1, "id", "scalar", "string"],
]);

export interface RemoveCheckpointResponse {
}
export const RemoveCheckpointResponse: MessageType<RemoveCheckpointResponse> = message("RemoveCheckpointResponse", [
]);

export interface ListZygotesRequest {
}
export const ListZygotesRequest: MessageType<ListZygotesRequest> = message("ListZygotesRequest", [
]);

export interface ListZygotesResponse {
  zygotes: Zygote[];
}
export const ListZygotesResponse: MessageType<ListZygotesResponse> = message("ListZygotesResponse", [
  [1, "zygotes", "message", () => Zygote, "repeated"],
]);

export interface WarmZygoteRequest {
  image: string;
  // of the image; empty: the image's own
  set: string;
}
export const WarmZygoteRequest: MessageType<WarmZygoteRequest> = message("WarmZygoteRequest", [
  [1, "image", "scalar", "string"],
  [2, "set", "scalar", "string"],
]);

export interface EvictZygoteRequest {
  image: string;
  // kill the image's instances first; not with a set
  force: boolean;
  set: string;
}
export const EvictZygoteRequest: MessageType<EvictZygoteRequest> = message("EvictZygoteRequest", [
  [1, "image", "scalar", "string"],
  [2, "force", "scalar", "bool"],
  [3, "set", "scalar", "string"],
]);

export interface EvictZygoteResponse {
}
export const EvictZygoteResponse: MessageType<EvictZygoteResponse> = message("EvictZygoteResponse", [
]);

export interface RotateZygoteRequest {
  image: string;
}
export const RotateZygoteRequest: MessageType<RotateZygoteRequest> = message("RotateZygoteRequest", [
  [1, "image", "scalar", "string"],
]);

export interface StatsRequest {
}
export const StatsRequest: MessageType<StatsRequest> = message("StatsRequest", [
]);

export interface StatsResponse {
  invocations: number;
  invocationErrors: number;
  runs: number;
  overloaded: number;
  // by start kind: "warm", "fork"
  starts: Record<string, number>;
  // by cause, in lower case
  deaths: Record<string, number>;
  instancesLive: number;
  instancesIdle: number;
  queued: number;
  // made ahead, not yet used
  sandboxesReady: number;
  // PSS of spored
  daemonMemoryBytes: number;
  // of invocations, all start kinds, since the start
  latencyP50Us: number;
  latencyP99Us: number;
  uptimeMs: number;
  functions: number;
  // made ahead, and not warmed up yet
  sandboxesSpare: number;
  // of the starts: fork, and the function was loaded already
  loadedAhead: number;
}
export const StatsResponse: MessageType<StatsResponse> = message("StatsResponse", [
  [1, "invocations", "scalar", "uint64"],
  [2, "invocationErrors", "scalar", "uint64"],
  [3, "runs", "scalar", "uint64"],
  [4, "overloaded", "scalar", "uint64"],
  [5, "starts", "map", "string:uint64"],
  [6, "deaths", "map", "string:uint64"],
  [7, "instancesLive", "scalar", "uint32"],
  [8, "instancesIdle", "scalar", "uint32"],
  [9, "queued", "scalar", "uint32"],
  [10, "sandboxesReady", "scalar", "uint32"],
  [11, "daemonMemoryBytes", "scalar", "uint64"],
  [12, "latencyP50Us", "scalar", "uint64"],
  [13, "latencyP99Us", "scalar", "uint64"],
  [14, "uptimeMs", "scalar", "uint64"],
  [15, "functions", "scalar", "uint32"],
  [17, "sandboxesSpare", "scalar", "uint32"],
  [16, "loadedAhead", "scalar", "uint64"],
]);

// The ttrpc envelope (ttrpc's own request.proto), here so that clients in languages without a
// ttrpc library can be generated from this file alone.
export interface TtrpcRequest {
  service: string;
  method: string;
  payload: Uint8Array;
  timeoutNano: number;
  metadata: TtrpcKeyValue[];
}
export const TtrpcRequest: MessageType<TtrpcRequest> = message("TtrpcRequest", [
  [1, "service", "scalar", "string"],
  [2, "method", "scalar", "string"],
  [3, "payload", "scalar", "bytes"],
  [4, "timeoutNano", "scalar", "int64"],
  [5, "metadata", "message", () => TtrpcKeyValue, "repeated"],
]);

export interface TtrpcKeyValue {
  key: string;
  value: string;
}
export const TtrpcKeyValue: MessageType<TtrpcKeyValue> = message("TtrpcKeyValue", [
  [1, "key", "scalar", "string"],
  [2, "value", "scalar", "string"],
]);

export interface TtrpcStatus {
  code: number;
  message: string;
}
export const TtrpcStatus: MessageType<TtrpcStatus> = message("TtrpcStatus", [
  [1, "code", "scalar", "int32"],
  [2, "message", "scalar", "string"],
]);

export interface TtrpcResponse {
  status: TtrpcStatus | undefined;
  payload: Uint8Array;
}
export const TtrpcResponse: MessageType<TtrpcResponse> = message("TtrpcResponse", [
  [1, "status", "message", () => TtrpcStatus],
  [2, "payload", "scalar", "bytes"],
]);

export interface PublishedVersion {
  number: number;
  description: string;
  publishedUnixMs: number;
  // asked for by Provision of this number
  minInstances: number;
  // Function.version of the working copy that it was
  update: number;
  // in answers: as frozen; absent when damaged on disk
  function: Function | undefined;
}
export const PublishedVersion: MessageType<PublishedVersion> = message("PublishedVersion", [
  [1, "number", "scalar", "uint64"],
  [2, "description", "scalar", "string"],
  [3, "publishedUnixMs", "scalar", "int64"],
  [4, "minInstances", "scalar", "uint32"],
  [5, "update", "scalar", "uint64"],
  [6, "function", "message", () => Function],
]);

export interface Alias {
  // [A-Za-z0-9_-]{1,128}, not digits alone
  name: string;
  // number of a published version
  version: number;
  // up to 256 characters
  description: string;
  // 0: there is none
  secondVersion: number;
  // share of the invocations that goes to it, 0 to 1
  secondWeight: number;
  // asked for by Provision of this name; shared out by weight
  minInstances: number;
  // another one after each change of the alias
  revisionId: string;
}
export const Alias: MessageType<Alias> = message("Alias", [
  [1, "name", "scalar", "string"],
  [2, "version", "scalar", "uint64"],
  [3, "description", "scalar", "string"],
  [4, "secondVersion", "scalar", "uint64"],
  [5, "secondWeight", "scalar", "double"],
  [6, "minInstances", "scalar", "uint32"],
  [7, "revisionId", "scalar", "string"],
]);

// What is kept of a function beside its code, on disk in a file of its own.
export interface FunctionFacts {
  // numbers are never used again
  lastPublished: number;
  // by number
  published: PublishedVersion[];
  // by name
  aliases: Alias[];
  tags: Record<string, string>;
  concurrency: number | undefined;
  // counts them
  changes: number;
}
export const FunctionFacts: MessageType<FunctionFacts> = message("FunctionFacts", [
  [1, "lastPublished", "scalar", "uint64"],
  [2, "published", "message", () => PublishedVersion, "repeated"],
  [3, "aliases", "message", () => Alias, "repeated"],
  [4, "tags", "map", "string:string"],
  [5, "concurrency", "scalar", "uint32", "optional"],
  [6, "changes", "scalar", "uint64"],
]);

export interface PublishVersionRequest {
  name: string;
  // up to 256 characters; absent: the function's
  description: string | undefined;
  // when given: FAILED_PRECONDITION unless it is the working copy's
  codeDigest: string;
  // when given: FAILED_PRECONDITION unless it is the function's
  revisionId: string;
}
export const PublishVersionRequest: MessageType<PublishVersionRequest> = message("PublishVersionRequest", [
  [1, "name", "scalar", "string"],
  [2, "description", "scalar", "string", "optional"],
  [3, "codeDigest", "scalar", "string"],
  [4, "revisionId", "scalar", "string"],
]);

export interface PublishVersionResponse {
  version: PublishedVersion | undefined;
  // it was there already
  unchanged: boolean;
}
export const PublishVersionResponse: MessageType<PublishVersionResponse> = message("PublishVersionResponse", [
  [1, "version", "message", () => PublishedVersion],
  [2, "unchanged", "scalar", "bool"],
]);

export interface ListVersionsRequest {
  name: string;
  // those after this number
  marker: number;
  // at most so many; 0: all that fit into one message
  limit: number;
}
export const ListVersionsRequest: MessageType<ListVersionsRequest> = message("ListVersionsRequest", [
  [1, "name", "scalar", "string"],
  [2, "marker", "scalar", "uint64"],
  [3, "limit", "scalar", "uint32"],
]);

export interface ListVersionsResponse {
  versions: PublishedVersion[];
  // 0: there are no more
  nextMarker: number;
}
export const ListVersionsResponse: MessageType<ListVersionsResponse> = message("ListVersionsResponse", [
  [1, "versions", "message", () => PublishedVersion, "repeated"],
  [2, "nextMarker", "scalar", "uint64"],
]);

export interface RemoveVersionRequest {
  name: string;
  number: number;
}
export const RemoveVersionRequest: MessageType<RemoveVersionRequest> = message("RemoveVersionRequest", [
  [1, "name", "scalar", "string"],
  [2, "number", "scalar", "uint64"],
]);

export interface RemoveVersionResponse {
}
export const RemoveVersionResponse: MessageType<RemoveVersionResponse> = message("RemoveVersionResponse", [
]);

export interface SetAliasRequest {
  // of the function
  name: string;
  // without min_instances; its revision_id, when given, must be the alias's
  alias: Alias | undefined;
  // ALREADY_EXISTS when there is one
  create: boolean;
  // NOT_FOUND when there is none; what is left empty then stays
  update: boolean;
  // With `update`: there is no second version any more.
  clearSecond: boolean;
  clearDescription: boolean;
}
export const SetAliasRequest: MessageType<SetAliasRequest> = message("SetAliasRequest", [
  [1, "name", "scalar", "string"],
  [2, "alias", "message", () => Alias],
  [3, "create", "scalar", "bool"],
  [4, "update", "scalar", "bool"],
  [5, "clearSecond", "scalar", "bool"],
  [6, "clearDescription", "scalar", "bool"],
]);

export interface ListAliasesRequest {
  name: string;
  // those that name it; 0: all
  version: number;
}
export const ListAliasesRequest: MessageType<ListAliasesRequest> = message("ListAliasesRequest", [
  [1, "name", "scalar", "string"],
  [2, "version", "scalar", "uint64"],
]);

export interface ListAliasesResponse {
  aliases: Alias[];
}
export const ListAliasesResponse: MessageType<ListAliasesResponse> = message("ListAliasesResponse", [
  [1, "aliases", "message", () => Alias, "repeated"],
]);

export interface RemoveAliasRequest {
  // of the function
  name: string;
  alias: string;
}
export const RemoveAliasRequest: MessageType<RemoveAliasRequest> = message("RemoveAliasRequest", [
  [1, "name", "scalar", "string"],
  [2, "alias", "scalar", "string"],
]);

export interface RemoveAliasResponse {
}
export const RemoveAliasResponse: MessageType<RemoveAliasResponse> = message("RemoveAliasResponse", [
]);

export interface TagRequest {
  name: string;
  // at most 50 a function; keys of 1 to 128 characters, values of up to 256
  set: Record<string, string>;
  // keys; one that is not there is no error
  remove: string[];
}
export const TagRequest: MessageType<TagRequest> = message("TagRequest", [
  [1, "name", "scalar", "string"],
  [2, "set", "map", "string:string"],
  [3, "remove", "scalar", "string", "repeated"],
]);

export interface TagResponse {
  tags: Record<string, string>;
}
export const TagResponse: MessageType<TagResponse> = message("TagResponse", [
  [1, "tags", "map", "string:string"],
]);

export interface SetConcurrencyRequest {
  name: string;
  // 0 to 10000; 0 refuses every invocation. Absent: limits.max_instances of the working copy
  // holds.
  concurrency: number | undefined;
}
export const SetConcurrencyRequest: MessageType<SetConcurrencyRequest> = message("SetConcurrencyRequest", [
  [1, "name", "scalar", "string"],
  [2, "concurrency", "scalar", "uint32", "optional"],
]);

export interface SetConcurrencyResponse {
  concurrency: number | undefined;
}
export const SetConcurrencyResponse: MessageType<SetConcurrencyResponse> = message("SetConcurrencyResponse", [
  [1, "concurrency", "scalar", "uint32", "optional"],
]);

export interface ProvisionRequest {
  name: string;
  // a published version's number, or an alias
  qualifier: string;
  instances: number;
}
export const ProvisionRequest: MessageType<ProvisionRequest> = message("ProvisionRequest", [
  [1, "name", "scalar", "string"],
  [2, "qualifier", "scalar", "string"],
  [3, "instances", "scalar", "uint32"],
]);

export interface ProvisionResponse {
}
export const ProvisionResponse: MessageType<ProvisionResponse> = message("ProvisionResponse", [
]);
