"""Written by tools/clients/generate from the .proto files. Do not edit."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ._wire import Enum, Message, Wire


class AsyncEventState(Enum):
    STATE_UNSPECIFIED = 0
    # for its first attempt, or the next one
    WAITING = 1
    RUNNING = 2
    # the handler succeeded
    DONE = 3
    # given up, and told to the destination if there is one
    FAILED = 4
    # given up, in the dead-letter list: Retry has it carried out again
    DEAD = 5


class HostEventKind(Enum):
    KIND_UNSPECIFIED = 0
    DAEMON_STARTED = 1
    DAEMON_STOPPING = 2
    FUNCTION_DEPLOYED = 3
    FUNCTION_UPDATED = 4
    FUNCTION_PUBLISHED = 5
    FUNCTION_REMOVED = 6
    INSTANCE_STARTED = 7
    # `cause` says how
    INSTANCE_ENDED = 8
    # at a limit; `cause` is "throttled" or "overloaded"
    REQUEST_REFUSED = 9
    # a sandbox that lives
    SESSION_STARTED = 10
    SESSION_ENDED = 11
    ZYGOTE_READY = 12
    # it did not start, or ended by itself
    ZYGOTE_FAILED = 13
    ZYGOTE_EVICTED = 14
    # a fresh one serves in the place of the old one
    ZYGOTE_ROTATED = 15
    # it was to be replaced and could not be
    ZYGOTE_KEPT = 16
    CHECKPOINT_MADE = 17
    CHECKPOINT_FAILED = 18
    # a zygote came from it
    CHECKPOINT_RESTORED = 19
    IMAGE_IMPORTED = 20
    IMAGE_REMOVED = 21
    # `count` idle instances or zygotes were ended for it
    MEMORY_SHORT = 22


class SessionState(Enum):
    STATE_UNSPECIFIED = 0
    STARTING = 1
    RUNNING = 2
    PAUSED = 3
    # its processes are being killed
    ENDING = 4
    # `death` says of what
    DEAD = 5


class ExecRequestStreams(Enum):
    # Three descriptors: what becomes stdin, stdout and stderr; as for Invocations.Run.
    ATTACHED = 0
    # One: the slave of a pseudoterminal that the caller has made. It becomes the controlling
    # terminal
    # of a new session; size, signals and hang-up come through the master.
    TERMINAL = 1
    # None: stdin is /dev/null, stdout and stderr are kept, the newest limits.output_bytes of
    # each.
    KEPT = 2


class ExecutionState(Enum):
    STATE_UNSPECIFIED = 0
    RUNNING = 1
    ENDED = 2


class FileInfoKind(Enum):
    KIND_UNSPECIFIED = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    # a pipe, socket or device
    OTHER = 4


class FileEventKind(Enum):
    KIND_UNSPECIFIED = 0
    CREATED = 1
    # content or attributes
    CHANGED = 2
    REMOVED = 3


class Isolation(Enum):
    """Whether each invocation gets a sandbox of its own."""
    # on deploy: INSTANCE; on update: unchanged
    ISOLATION_UNSPECIFIED = 0
    # a fresh sandbox for every invocation
    ISOLATION_INVOCATION = 1
    # an instance serves one invocation at a time, then the next
    ISOLATION_INSTANCE = 2


class StartKind(Enum):
    START_KIND_UNSPECIFIED = 0
    # an idle instance was reused
    START_KIND_WARM = 1
    # a copy of a zygote that was there
    START_KIND_FORK = 2
    # the same, but the zygote had to be restored from a checkpoint first
    START_KIND_RESTORE = 3
    # the zygote had to be loaded first; or a program was executed
    START_KIND_COLD = 4


class DeathCause(Enum):
    CAUSE_UNSPECIFIED = 0
    # exit_code
    EXIT = 1
    # signal; also seccomp kills (SIGSYS)
    SIGNAL = 2
    # the kernel's oom killer, inside the sandbox's memory limit
    OUT_OF_MEMORY = 3
    # the wall-clock limit
    TIMEOUT = 4
    # ended by itself after it had hit the pids limit
    PIDS = 5
    # idle too long, replaced by an update, memory wanted
    EVICTION = 6
    # `spore kill`, or the client went away
    KILLED = 7
    RESPONSE_TOO_LARGE = 8
    # it wrote rubbish to its request channel
    PROTOCOL = 9
    # spored stopped, or its zygote died
    DAEMON = 10


class InstanceState(Enum):
    STATE_UNSPECIFIED = 0
    STARTING = 1
    IDLE = 2
    BUSY = 3
    DEAD = 4


class LogLineStream(Enum):
    STREAM_UNSPECIFIED = 0
    STDOUT = 1
    STDERR = 2
    SYSTEM = 3


class ImageState(Enum):
    STATE_UNSPECIFIED = 0
    # nobody has needed its zygote, or not since it was evicted
    STOPPED = 1
    STARTING = 2
    READY = 3
    # it cannot be used: its zygote does not start
    FAILED = 4


class ZygoteState(Enum):
    STATE_UNSPECIFIED = 0
    # beside one that is READY: it will replace that
    STARTING = 1
    # sandboxes come from it
    READY = 2
    # it has ended or was replaced; instances of it are still there
    DRAINING = 3
    # of a set: there is none now, `reason` says why
    ABSENT = 4


@dataclass
class AsyncInvokeRequest(Message):
    # function
    name: str = ""
    # JSON; empty means null. Attach what is above 1 MiB.
    payload: bytes = b""
    payload_attached: bool = False
    # JSON, given to the handler as context.client_context
    client_context: bytes = b""
    # A published version's number, an alias, or "$LATEST"; empty: the working copy. What an alias
    # names is looked up again for each attempt, and drawn where it names two.
    qualifier: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "payload", "scalar", "bytes"),
        Wire(3, "payload_attached", "scalar", "bool"),
        Wire(4, "client_context", "scalar", "bytes"),
        Wire(5, "qualifier", "scalar", "string"),
    )


@dataclass
class AsyncInvokeResponse(Message):
    # a UUID, and the request id of each attempt
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class AsyncPolicy(Message):
    """How events of a function are carried out, whatever their qualifier. Attempts, age and
    back-off are an event's own from its acceptance on; the destinations are those at its end.
    """
    function: str = ""
    # after the first attempt, 0 to 100; default 2
    retries: int = 0
    # from acceptance, 1000 to 14 days; default 6 hours
    max_age_ms: int = 0
    # before the first retry, doubled for each after it, at most an hour;
    backoff_ms: int = 0
    # 1 to 3600000; default 60000
    # A function of the same owner that gets a record of each event that succeeded; empty: none.
    on_success: str = ""
    # The same of those that failed for good. Empty: they stay in the dead-letter list (state
    # DEAD);
    # "none": they are given up.
    on_failure: str = ""
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "retries", "scalar", "uint32"),
        Wire(3, "max_age_ms", "scalar", "uint64"),
        Wire(4, "backoff_ms", "scalar", "uint64"),
        Wire(5, "on_success", "scalar", "string"),
        Wire(6, "on_failure", "scalar", "string"),
    )


@dataclass
class SetAsyncPolicyRequest(Message):
    function: str = ""
    # absent: unchanged, as all below
    retries: int | None = None
    max_age_ms: int | None = None
    backoff_ms: int | None = None
    # "": none
    on_success: str | None = None
    # "": the dead-letter list
    on_failure: str | None = None
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "retries", "scalar", "uint32", optional=True),
        Wire(3, "max_age_ms", "scalar", "uint64", optional=True),
        Wire(4, "backoff_ms", "scalar", "uint64", optional=True),
        Wire(5, "on_success", "scalar", "string", optional=True),
        Wire(6, "on_failure", "scalar", "string", optional=True),
    )


@dataclass
class GetAsyncPolicyRequest(Message):
    function: str = ""
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
    )


@dataclass
class AsyncEvent(Message):
    id: str = ""
    function: str = ""
    owner_uid: int = 0
    state: AsyncEventState = AsyncEventState(0)
    accepted_unix_ms: int = 0
    # of WAITING: not before
    due_unix_ms: int = 0
    # given up when it has not succeeded by then
    expires_unix_ms: int = 0
    # of DONE, FAILED, DEAD
    finished_unix_ms: int = 0
    # in which the handler was called and answered or died of itself
    attempts: int = 0
    max_attempts: int = 0
    payload_bytes: int = 0
    # Get only, of WAITING, RUNNING, DEAD, up to 1 MiB
    payload: bytes = b""
    # Get only: the handler's result of the last attempt, up to 64 KiB
    response: bytes = b""
    # of the whole
    response_bytes: int = 0
    # of the last attempt that failed
    error: FunctionError | None = None
    # Why it was given up: "RetriesExhausted", "EventAgeExceeded", "FunctionRemoved" (or the
    # version or
    # alias that it was for; `note` says so), "Refused".
    condition: str = ""
    # what else there is to say, for people: a destination that refused
    note: str = ""
    # "schedule NAME", "event ID" (of which this is a destination's record)
    origin: str = ""
    # so many events led to this one; those beyond 8 are not accepted
    depth: int = 0
    # by which it was asked for
    qualifier: str = ""
    # of the last attempt: "$LATEST" or a number; empty: there was none
    executed_version: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "function", "scalar", "string"),
        Wire(3, "owner_uid", "scalar", "uint32"),
        Wire(4, "state", "enum", "AsyncEventState"),
        Wire(5, "accepted_unix_ms", "scalar", "int64"),
        Wire(6, "due_unix_ms", "scalar", "int64"),
        Wire(7, "expires_unix_ms", "scalar", "int64"),
        Wire(8, "finished_unix_ms", "scalar", "int64"),
        Wire(9, "attempts", "scalar", "uint32"),
        Wire(10, "max_attempts", "scalar", "uint32"),
        Wire(11, "payload_bytes", "scalar", "uint64"),
        Wire(12, "payload", "scalar", "bytes"),
        Wire(13, "response", "scalar", "bytes"),
        Wire(14, "response_bytes", "scalar", "uint64"),
        Wire(15, "error", "message", "FunctionError"),
        Wire(16, "condition", "scalar", "string"),
        Wire(17, "note", "scalar", "string"),
        Wire(18, "origin", "scalar", "string"),
        Wire(19, "depth", "scalar", "uint32"),
        Wire(20, "qualifier", "scalar", "string"),
        Wire(21, "executed_version", "scalar", "string"),
    )


@dataclass
class ListEventsRequest(Message):
    # empty: all
    function: str = ""
    # empty: all
    states: list[AsyncEventState] = field(default_factory=list)
    # 1 to 1000; 0: 100
    limit: int = 0
    # `next` of the answer before; 0: from the newest
    before: int = 0
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "states", "enum", "AsyncEventState", repeated=True),
        Wire(3, "limit", "scalar", "uint32"),
        Wire(4, "before", "scalar", "uint64"),
    )


@dataclass
class ListEventsResponse(Message):
    events: list[AsyncEvent] = field(default_factory=list)
    # 0: there are no more
    next: int = 0
    WIRE: ClassVar = (
        Wire(1, "events", "message", "AsyncEvent", repeated=True),
        Wire(2, "next", "scalar", "uint64"),
    )


@dataclass
class GetEventRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class RetryEventRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class PurgeEventsRequest(Message):
    # this one, or any unique prefix; else those that fit:
    id: str = ""
    # empty: of all functions
    function: str = ""
    # of these; at least one where `id` is empty
    states: list[AsyncEventState] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "function", "scalar", "string"),
        Wire(3, "states", "enum", "AsyncEventState", repeated=True),
    )


@dataclass
class PurgeEventsResponse(Message):
    purged: int = 0
    WIRE: ClassVar = (
        Wire(1, "purged", "scalar", "uint64"),
    )


@dataclass
class AsyncStatsRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class AsyncStatsResponse(Message):
    """Since the daemon's start, but for the last four: now."""
    accepted: int = 0
    done: int = 0
    # given up, dead letters included
    failed: int = 0
    # attempts that failed and were followed by another
    retried: int = 0
    dead_lettered: int = 0
    # dispatches for which there was no room, or that Spore failed
    postponed: int = 0
    # not accepted: limits, disk
    refused: int = 0
    # of schedules
    fired: int = 0
    # firings of schedules that were not accepted
    misfired: int = 0
    waiting: int = 0
    running: int = 0
    # in the dead-letter list
    dead: int = 0
    # of payloads that wait, run or are dead
    bytes: int = 0
    WIRE: ClassVar = (
        Wire(1, "accepted", "scalar", "uint64"),
        Wire(2, "done", "scalar", "uint64"),
        Wire(3, "failed", "scalar", "uint64"),
        Wire(4, "retried", "scalar", "uint64"),
        Wire(5, "dead_lettered", "scalar", "uint64"),
        Wire(6, "postponed", "scalar", "uint64"),
        Wire(7, "refused", "scalar", "uint64"),
        Wire(8, "fired", "scalar", "uint64"),
        Wire(9, "misfired", "scalar", "uint64"),
        Wire(10, "waiting", "scalar", "uint64"),
        Wire(11, "running", "scalar", "uint64"),
        Wire(12, "dead", "scalar", "uint64"),
        Wire(13, "bytes", "scalar", "uint64"),
    )


@dataclass
class CancelRequest(Message):
    # ttrpc's, of the call to be ended
    stream_id: int = 0
    WIRE: ClassVar = (
        Wire(1, "stream_id", "scalar", "uint32"),
    )


@dataclass
class CancelResponse(Message):
    # false: there is no such call, or it was answered before
    cancelled: bool = False
    WIRE: ClassVar = (
        Wire(1, "cancelled", "scalar", "bool"),
    )


@dataclass
class ExportCheckpointRequest(Message):
    # 12 hexadecimal digits
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class ExportCheckpointResponse(Message):
    # the file up to its archive
    head: bytes = b""
    # of the descriptor, which end the file
    archive_bytes: int = 0
    WIRE: ClassVar = (
        Wire(1, "head", "scalar", "bytes"),
        Wire(2, "archive_bytes", "scalar", "uint64"),
    )


@dataclass
class ImportCheckpointRequest(Message):
    # also one that cannot be restored here; it then says why
    keep_unusable: bool = False
    WIRE: ClassVar = (
        Wire(1, "keep_unusable", "scalar", "bool"),
    )


@dataclass
class ImportCheckpointResponse(Message):
    # as it is here; its archive was packed again
    checkpoint: Checkpoint | None = None
    WIRE: ClassVar = (
        Wire(1, "checkpoint", "message", "Checkpoint"),
    )


@dataclass
class Histogram(Message):
    """Durations, counted in buckets of which each is at most an eighth as wide as where it
    begins.
    """
    count: int = 0
    sum_us: int = 0
    max_us: int = 0
    # the shortest durations first; empty buckets are left out
    buckets: list[HistogramBucket] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "count", "scalar", "uint64"),
        Wire(2, "sum_us", "scalar", "uint64"),
        Wire(3, "max_us", "scalar", "uint64"),
        Wire(4, "buckets", "message", "HistogramBucket", repeated=True),
    )


@dataclass
class HistogramBucket(Message):
    """Those of `up_to_us` and less, and of more than the bucket before it. Each power of two
    less 1 is such a bound, between 8 us and 71 minutes; what is longer is in the last bucket.
    """
    up_to_us: int = 0
    count: int = 0
    WIRE: ClassVar = (
        Wire(1, "up_to_us", "scalar", "uint64"),
        Wire(2, "count", "scalar", "uint64"),
    )


@dataclass
class Figures(Message):
    """Of one function, or of all together."""
    # empty: of all together
    function: str = ""
    # answered, failed ones included
    invocations: int = 0
    # of those
    failures: int = 0
    # From request read to answer, by how the invocation found its instance: "warm", "ahead" (a
    # fork that had
    # loaded the function before the request came), "fork", "restore", "cold".
    total: dict[str, int] = field(default_factory=dict)
    # "queue": until there was a place for an instance; "sandbox": until there was a sandbox;
    # "start": until it
    # was confined; "load": until the function was loaded; "handler": until it had answered.
    phases: dict[str, int] = field(default_factory=dict)
    # Failures by cause: "handler" (it said so itself), "import", "handler_not_found", "syntax",
    # "marshal",
    # "unmarshal", or how its instance ended (Death.Cause in lower case).
    failures_by_cause: dict[str, int] = field(default_factory=dict)
    # Requests that got no instance: "throttled" (the function's own limit of instances),
    # "overloaded" (another
    # limit), "unavailable", "not_found", "precondition", "internal" and so on, as the codes of
    # spore.proto.
    refusals_by_cause: dict[str, int] = field(default_factory=dict)
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "invocations", "scalar", "uint64"),
        Wire(3, "failures", "scalar", "uint64"),
        Wire(4, "total", "map", "string:Histogram"),
        Wire(5, "phases", "map", "string:Histogram"),
        Wire(6, "failures_by_cause", "map", "string:uint64"),
        Wire(7, "refusals_by_cause", "map", "string:uint64"),
    )


@dataclass
class HistogramsRequest(Message):
    # only this one; empty: all together
    function: str = ""
    # with an empty `function`: `functions` too
    by_function: bool = False
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "by_function", "scalar", "bool"),
    )


@dataclass
class HistogramsResponse(Message):
    # what was asked for; of a function that was never invoked empty ones
    figures: Figures | None = None
    # By name, those that the caller may see. Of at most 256 functions there are any: of the owner
    # of most of them
    # the one that was invoked the longest ago is forgotten first. Where histograms do not fit
    # into the message, the
    # last ones have none.
    functions: list[Figures] = field(default_factory=list)
    # How often what has happened on this host, by HostEvent.Kind in lower case.
    events: dict[str, int] = field(default_factory=dict)
    # another one after each start of the daemon: counts began again
    epoch: str = ""
    WIRE: ClassVar = (
        Wire(1, "figures", "message", "Figures"),
        Wire(2, "functions", "message", "Figures", repeated=True),
        Wire(3, "events", "map", "string:uint64"),
        Wire(4, "epoch", "scalar", "string"),
    )


@dataclass
class TracesRequest(Message):
    function: str = ""
    # at most so many, and never more than the 32 that are kept; 0: all
    limit: int = 0
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "limit", "scalar", "uint32"),
    )


@dataclass
class TracesResponse(Message):
    # the most recent first
    traces: list[InvocationTrace] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "traces", "message", "InvocationTrace", repeated=True),
    )


@dataclass
class InvocationTrace(Message):
    request_id: str = ""
    instance_id: str = ""
    # when its request had been read: where the steps' times begin
    received_unix_us: int = 0
    start_kind: StartKind = StartKind(0)
    loaded_ahead: bool = False
    function_version: int = 0
    # "$LATEST", or the published version's number
    executed_version: str = ""
    # empty, or its cause as in Figures.failures_by_cause
    failure: str = ""
    # at most 40 steps
    trace: Trace | None = None
    WIRE: ClassVar = (
        Wire(1, "request_id", "scalar", "string"),
        Wire(2, "instance_id", "scalar", "string"),
        Wire(3, "received_unix_us", "scalar", "int64"),
        Wire(4, "start_kind", "enum", "StartKind"),
        Wire(5, "loaded_ahead", "scalar", "bool"),
        Wire(6, "function_version", "scalar", "uint64"),
        Wire(7, "executed_version", "scalar", "string"),
        Wire(8, "failure", "scalar", "string"),
        Wire(9, "trace", "message", "Trace"),
    )


@dataclass
class HostEvent(Message):
    """Something that has happened."""
    # counts up from 1 with each event of the daemon's run
    sequence: int = 0
    unix_us: int = 0
    kind: HostEventKind = HostEventKind(0)
    # empty: of none, or a run
    function: str = ""
    # or the session's
    instance_id: str = ""
    image: str = ""
    # library set of the image
    set: str = ""
    # Death.Cause in lower case, "throttled" or "overloaded"
    cause: str = ""
    # of what has started
    start_kind: StartKind = StartKind(0)
    # one line for a person, at most 120 bytes
    message: str = ""
    # Of REQUEST_REFUSED: so many, this one and those like it since the one before that was told:
    # of a
    # function's (or a client's runs') one a second is told. Of MEMORY_SHORT, what was ended.
    count: int = 0
    # that it took, or lived
    duration_us: int = 0
    # of INSTANCE_ENDED and SESSION_ENDED
    memory_peak_bytes: int = 0
    # likewise
    cpu_us: int = 0
    # of the function, instance or session; of the host's own 0
    owner_uid: int = 0
    WIRE: ClassVar = (
        Wire(1, "sequence", "scalar", "uint64"),
        Wire(2, "unix_us", "scalar", "int64"),
        Wire(3, "kind", "enum", "HostEventKind"),
        Wire(4, "function", "scalar", "string"),
        Wire(5, "instance_id", "scalar", "string"),
        Wire(6, "image", "scalar", "string"),
        Wire(7, "set", "scalar", "string"),
        Wire(8, "cause", "scalar", "string"),
        Wire(9, "start_kind", "enum", "StartKind"),
        Wire(10, "message", "scalar", "string"),
        Wire(11, "count", "scalar", "uint64"),
        Wire(12, "duration_us", "scalar", "uint64"),
        Wire(13, "memory_peak_bytes", "scalar", "uint64"),
        Wire(14, "cpu_us", "scalar", "uint64"),
        Wire(15, "owner_uid", "scalar", "uint32"),
    )


@dataclass
class RecentEventsRequest(Message):
    # With after_sequence: the epoch that came with it. That of another run of the daemon: all
    # that this run
    # has kept is told.
    epoch: str = ""
    # the response's last_sequence; 0: from the oldest kept
    after_sequence: int = 0
    # at most 60000
    wait_ms: int = 0
    # at most so many in one answer, and never more than 1000; 0: 1000
    limit: int = 0
    # with after_sequence 0: only the last `tail`; 0 means all kept
    tail: int = 0
    WIRE: ClassVar = (
        Wire(1, "epoch", "scalar", "string"),
        Wire(2, "after_sequence", "scalar", "uint64"),
        Wire(3, "wait_ms", "scalar", "uint32"),
        Wire(4, "limit", "scalar", "uint32"),
        Wire(5, "tail", "scalar", "uint32"),
    )


@dataclass
class RecentEventsResponse(Message):
    events: list[HostEvent] = field(default_factory=list)
    # of this run of the daemon
    epoch: str = ""
    # for the next call
    last_sequence: int = 0
    # events after the asked one that were not kept long enough
    dropped: int = 0
    # the asked epoch is not this one's
    restarted: bool = False
    WIRE: ClassVar = (
        Wire(1, "events", "message", "HostEvent", repeated=True),
        Wire(2, "epoch", "scalar", "string"),
        Wire(3, "last_sequence", "scalar", "uint64"),
        Wire(4, "dropped", "scalar", "uint64"),
        Wire(5, "restarted", "scalar", "bool"),
    )


@dataclass
class CreateSandboxRequest(Message):
    # empty: "python"
    image: str = ""
    # memory_bytes, cpu_millis, pids, tmp_bytes, open_files; output_bytes: kept of one RunCode or
    # Exec.
    # 0: the image's default. The others do not concern a session and must be 0.
    limits: Limits | None = None
    # it ends after this, 1000 to 86400000; 0: 600000
    ttl_ms: int = 0
    # it ends when nobody has asked for anything for this long, and no call is
    idle_timeout_ms: int = 0
    # in progress; 0: never before its ttl
    # of all that runs in it
    environment: dict[str, str] = field(default_factory=dict)
    # for people, up to 64 characters of [A-Za-z0-9_.-]; need not be unique
    label: str = ""
    # Where its connections may go. "none", or empty: nowhere. "egress:RULE,RULE,..": through a
    # proxy
    # of Spore's, to what a rule lists; each has to be within what the daemon's configuration
    # allows.
    # A rule is HOST:PORT. HOST: a name, "*.example.com" (below it, at any depth), "*" (any public
    # host), an address, a network ("10.0.0.0/8", "[2001:db8::/32]"). PORT: one, a range
    # "8000-8010", "*".
    # Names lead to public addresses only: others have to be listed by address too.
    network: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
        Wire(2, "limits", "message", "Limits"),
        Wire(3, "ttl_ms", "scalar", "uint64"),
        Wire(4, "idle_timeout_ms", "scalar", "uint64"),
        Wire(5, "environment", "map", "string:string"),
        Wire(6, "label", "scalar", "string"),
        Wire(7, "network", "scalar", "string"),
    )


@dataclass
class Egress(Message):
    """What has become of a session's connections out of it."""
    rules: list[str] = field(default_factory=list)
    # now
    open: int = 0
    # that were let through, so far
    connections: int = 0
    # by the rules
    refused: int = 0
    # no such name, no answer, a broken request, too many at once
    failed: int = 0
    # out of the session
    sent_bytes: int = 0
    received_bytes: int = 0
    # the proxy is there
    serving: bool = False
    # of it, after it has ended by itself
    restarts: int = 0
    WIRE: ClassVar = (
        Wire(1, "rules", "scalar", "string", repeated=True),
        Wire(2, "open", "scalar", "uint32"),
        Wire(3, "connections", "scalar", "uint64"),
        Wire(4, "refused", "scalar", "uint64"),
        Wire(5, "failed", "scalar", "uint64"),
        Wire(6, "sent_bytes", "scalar", "uint64"),
        Wire(7, "received_bytes", "scalar", "uint64"),
        Wire(8, "serving", "scalar", "bool"),
        Wire(9, "restarts", "scalar", "uint32"),
    )


@dataclass
class Session(Message):
    """A sandbox that lives, or has ended of late."""
    id: str = ""
    label: str = ""
    image: str = ""
    # of the image
    runtime: str = ""
    state: SessionState = SessionState(0)
    owner_uid: int = 0
    created_unix_ms: int = 0
    # the end of its time
    expires_unix_ms: int = 0
    idle_timeout_ms: int = 0
    # 0: a call is in progress
    idle_since_unix_ms: int = 0
    limits: Limits | None = None
    # of its agent, in the daemon's pid namespace; 0 once dead
    pid: int = 0
    # the host's view of its uid
    uid: int = 0
    # charged now
    memory_bytes: int = 0
    cpu_us: int = 0
    pids: int = 0
    execs_running: int = 0
    # so far
    execs: int = 0
    # so far
    code_runs: int = 0
    # that RunCode takes here; empty: none
    language: str = ""
    start_kind: StartKind = StartKind(0)
    # TIMEOUT: its ttl; EVICTION: idle, or its image was removed; OUT_OF_MEMORY; KILLED; SIGNAL
    # and EXIT: its
    # agent was ended from inside; PROTOCOL: it was made to talk rubbish; DAEMON: spored stopped.
    death: Death | None = None
    cgroups: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    # as in CreateSandboxRequest, never empty
    network: str = ""
    # where it is not "none"
    egress: Egress | None = None
    # the session that it was copied from; empty: none
    branched_from: str = ""
    # the name of the checkpoint that it was made of; empty: none
    restored_from: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "label", "scalar", "string"),
        Wire(3, "image", "scalar", "string"),
        Wire(4, "runtime", "scalar", "string"),
        Wire(5, "state", "enum", "SessionState"),
        Wire(6, "owner_uid", "scalar", "uint32"),
        Wire(7, "created_unix_ms", "scalar", "int64"),
        Wire(8, "expires_unix_ms", "scalar", "int64"),
        Wire(9, "idle_timeout_ms", "scalar", "uint64"),
        Wire(10, "idle_since_unix_ms", "scalar", "int64"),
        Wire(11, "limits", "message", "Limits"),
        Wire(12, "pid", "scalar", "int32"),
        Wire(13, "uid", "scalar", "uint32"),
        Wire(14, "memory_bytes", "scalar", "uint64"),
        Wire(15, "cpu_us", "scalar", "uint64"),
        Wire(16, "pids", "scalar", "uint32"),
        Wire(17, "execs_running", "scalar", "uint32"),
        Wire(18, "execs", "scalar", "uint64"),
        Wire(19, "code_runs", "scalar", "uint64"),
        Wire(20, "language", "scalar", "string"),
        Wire(21, "start_kind", "enum", "StartKind"),
        Wire(22, "death", "message", "Death"),
        Wire(23, "cgroups", "scalar", "string", repeated=True),
        Wire(24, "environment", "map", "string:string"),
        Wire(25, "network", "scalar", "string"),
        Wire(26, "egress", "message", "Egress"),
        Wire(27, "branched_from", "scalar", "string"),
        Wire(28, "restored_from", "scalar", "string"),
    )


@dataclass
class BranchSandboxRequest(Message):
    id: str = ""
    # 1 to 16; 0: 1
    copies: int = 0
    # of each; as in CreateSandboxRequest
    label: str = ""
    # of each, from now; as in CreateSandboxRequest. 0: they end when the source would
    ttl_ms: int = 0
    # other programs that run in the session are left out; only the quick way is tried
    only_interpreter: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "copies", "scalar", "uint32"),
        Wire(3, "label", "scalar", "string"),
        Wire(4, "ttl_ms", "scalar", "uint64"),
        Wire(5, "only_interpreter", "scalar", "bool"),
    )


@dataclass
class BranchSandboxResponse(Message):
    sessions: list[Session] = field(default_factory=list)
    # that the source was stopped: its interpreter, or all of it
    stopped_us: int = 0
    # of memory, all copies together; 0 where it was not the quick way
    copied_bytes: int = 0
    # from the request to this
    trace: Trace | None = None
    WIRE: ClassVar = (
        Wire(1, "sessions", "message", "Session", repeated=True),
        Wire(2, "stopped_us", "scalar", "uint64"),
        Wire(3, "copied_bytes", "scalar", "uint64"),
        Wire(4, "trace", "message", "Trace"),
    )


@dataclass
class ListSandboxesRequest(Message):
    include_dead: bool = False
    WIRE: ClassVar = (
        Wire(1, "include_dead", "scalar", "bool"),
    )


@dataclass
class ListSandboxesResponse(Message):
    sessions: list[Session] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "sessions", "message", "Session", repeated=True),
    )


@dataclass
class InspectSandboxRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class KillSandboxRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class ExtendSandboxRequest(Message):
    id: str = ""
    # from now; as in CreateSandboxRequest
    ttl_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "ttl_ms", "scalar", "uint64"),
    )


@dataclass
class PauseSandboxRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class ResumeSandboxRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class ReadSandboxLogsRequest(Message):
    id: str = ""
    # as in ReadLogsRequest
    cursor: int = 0
    wait_ms: int = 0
    tail: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "cursor", "scalar", "uint64"),
        Wire(3, "wait_ms", "scalar", "uint32"),
        Wire(4, "tail", "scalar", "uint32"),
    )


@dataclass
class ExecRequest(Message):
    id: str = ""
    # args[0]: a path, or a name that is looked up in PATH
    args: list[str] = field(default_factory=list)
    # empty: /tmp
    working_directory: str = ""
    # on top of the session's
    environment: dict[str, str] = field(default_factory=dict)
    streams: ExecRequestStreams = ExecRequestStreams(0)
    detach: bool = False
    # its process group is killed after this; 0: never before the session
    timeout_ms: int = 0
    # with KEPT: what it reads from its stdin, up to 1 MiB
    input: bytes = b""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "args", "scalar", "string", repeated=True),
        Wire(3, "working_directory", "scalar", "string"),
        Wire(4, "environment", "map", "string:string"),
        Wire(5, "streams", "enum", "ExecRequestStreams"),
        Wire(6, "detach", "scalar", "bool"),
        Wire(7, "timeout_ms", "scalar", "uint64"),
        Wire(8, "input", "scalar", "bytes"),
    )


@dataclass
class Execution(Message):
    # within the session, counted from 1
    exec_id: int = 0
    args: list[str] = field(default_factory=list)
    state: ExecutionState = ExecutionState(0)
    # as the session's processes see it; 0: it could not be started
    pid: int = 0
    started_unix_ms: int = 0
    ended_unix_ms: int = 0
    # The program's own; 128 + signal; 127: no such program; 126: it cannot be executed; 125:
    # Spore
    # could not start it. `error` says why of the last three.
    exit_code: int = 0
    # that ended it; 0: none
    signal: int = 0
    error: str = ""
    timed_out: bool = False
    # its output is
    kept: bool = False
    WIRE: ClassVar = (
        Wire(1, "exec_id", "scalar", "uint32"),
        Wire(2, "args", "scalar", "string", repeated=True),
        Wire(3, "state", "enum", "ExecutionState"),
        Wire(4, "pid", "scalar", "int32"),
        Wire(5, "started_unix_ms", "scalar", "int64"),
        Wire(6, "ended_unix_ms", "scalar", "int64"),
        Wire(7, "exit_code", "scalar", "int32"),
        Wire(8, "signal", "scalar", "int32"),
        Wire(9, "error", "scalar", "string"),
        Wire(10, "timed_out", "scalar", "bool"),
        Wire(11, "kept", "scalar", "bool"),
    )


@dataclass
class ExecResponse(Message):
    exec: Execution | None = None
    # With KEPT and without detach: the newest part of each, and how many bytes came before that.
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    WIRE: ClassVar = (
        Wire(1, "exec", "message", "Execution"),
        Wire(2, "stdout", "scalar", "bytes"),
        Wire(3, "stderr", "scalar", "bytes"),
        Wire(4, "stdout_dropped", "scalar", "uint64"),
        Wire(5, "stderr_dropped", "scalar", "uint64"),
    )


@dataclass
class ListExecsRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class ListExecsResponse(Message):
    execs: list[Execution] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "execs", "message", "Execution", repeated=True),
    )


@dataclass
class WaitExecRequest(Message):
    id: str = ""
    exec_id: int = 0
    # at most 60000
    wait_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "exec_id", "scalar", "uint32"),
        Wire(3, "wait_ms", "scalar", "uint32"),
    )


@dataclass
class ReadExecOutputRequest(Message):
    id: str = ""
    exec_id: int = 0
    # else stdout
    stderr: bool = False
    # bytes since its start; of what is no longer kept: the oldest kept
    position: int = 0
    # for something beyond `position`, or its end; at most 60000
    wait_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "exec_id", "scalar", "uint32"),
        Wire(3, "stderr", "scalar", "bool"),
        Wire(4, "position", "scalar", "uint64"),
        Wire(5, "wait_ms", "scalar", "uint32"),
    )


@dataclass
class ReadExecOutputResponse(Message):
    # up to 1 MiB
    data: bytes = b""
    # of the first byte of data
    position: int = 0
    # nothing comes after data
    end: bool = False
    WIRE: ClassVar = (
        Wire(1, "data", "scalar", "bytes"),
        Wire(2, "position", "scalar", "uint64"),
        Wire(3, "end", "scalar", "bool"),
    )


@dataclass
class SignalExecRequest(Message):
    id: str = ""
    exec_id: int = 0
    # 1 to 64
    signal: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "exec_id", "scalar", "uint32"),
        Wire(3, "signal", "scalar", "int32"),
    )


@dataclass
class SignalExecResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class RunCodeRequest(Message):
    id: str = ""
    # up to 1 MiB
    code: str = ""
    # "python", "javascript"; empty: what the session's image has
    language: str = ""
    # it is interrupted after this, and the interpreter ended when that does
    timeout_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "code", "scalar", "string"),
        Wire(3, "language", "scalar", "string"),
        Wire(4, "timeout_ms", "scalar", "uint64"),
    )


@dataclass
class CodeError(Message):
    # exception class
    type: str = ""
    message: str = ""
    # lines
    stack_trace: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "type", "scalar", "string"),
        Wire(2, "message", "scalar", "string"),
        Wire(3, "stack_trace", "scalar", "string", repeated=True),
    )


@dataclass
class RunCodeResponse(Message):
    """As the code in the session says; nothing here is more than its word."""
    # the last statement was an expression whose value is not None (undefined)
    has_value: bool = False
    # its repr, or what util.inspect makes of it, up to 256 KiB
    value: str = ""
    value_cut: bool = False
    # it as JSON, where it can be and has at most 1 MiB; else empty
    json: bytes = b""
    # Other forms that it offers (`_repr_html_`, `_repr_png_`, ..; Symbol.for("Jupyter.display")),
    # by media type;
    # at most 1 MiB in all.
    forms: dict[str, bytes] = field(default_factory=dict)
    # The first limits.output_bytes of each, and how many bytes were dropped after that.
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    # set when it raised
    error: CodeError | None = None
    # timeout_ms had passed
    timed_out: bool = False
    # The interpreter has ended during this call (exit, crash, out of memory, RestartCode): its
    # state is lost, the
    # next call starts afresh. `error` says how it ended.
    interpreter_ended: bool = False
    # counts the calls of this interpreter from 1
    run: int = 0
    # by spored's clock, without the time it waited its turn
    duration_us: int = 0
    WIRE: ClassVar = (
        Wire(1, "has_value", "scalar", "bool"),
        Wire(2, "value", "scalar", "string"),
        Wire(3, "value_cut", "scalar", "bool"),
        Wire(4, "json", "scalar", "bytes"),
        Wire(5, "forms", "map", "string:bytes"),
        Wire(6, "stdout", "scalar", "bytes"),
        Wire(7, "stderr", "scalar", "bytes"),
        Wire(8, "stdout_dropped", "scalar", "uint64"),
        Wire(9, "stderr_dropped", "scalar", "uint64"),
        Wire(10, "error", "message", "CodeError"),
        Wire(11, "timed_out", "scalar", "bool"),
        Wire(12, "interpreter_ended", "scalar", "bool"),
        Wire(13, "run", "scalar", "uint64"),
        Wire(14, "duration_us", "scalar", "uint64"),
    )


@dataclass
class InterruptCodeRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class InterruptCodeResponse(Message):
    was_running: bool = False
    WIRE: ClassVar = (
        Wire(1, "was_running", "scalar", "bool"),
    )


@dataclass
class RestartCodeRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class RestartCodeResponse(Message):
    was_there: bool = False
    WIRE: ClassVar = (
        Wire(1, "was_there", "scalar", "bool"),
    )


@dataclass
class FileInfo(Message):
    # in a listing: the name alone
    path: bytes = b""
    kind: FileInfoKind = FileInfoKind(0)
    size: int = 0
    # permission bits
    mode: int = 0
    modified_unix_ns: int = 0
    # of a symlink
    target: bytes = b""
    links: int = 0
    inode: int = 0
    WIRE: ClassVar = (
        Wire(1, "path", "scalar", "bytes"),
        Wire(2, "kind", "enum", "FileInfoKind"),
        Wire(3, "size", "scalar", "uint64"),
        Wire(4, "mode", "scalar", "uint32"),
        Wire(5, "modified_unix_ns", "scalar", "int64"),
        Wire(6, "target", "scalar", "bytes"),
        Wire(7, "links", "scalar", "uint32"),
        Wire(8, "inode", "scalar", "uint64"),
    )


@dataclass
class ReadFileRequest(Message):
    id: str = ""
    path: bytes = b""
    offset: int = 0
    # up to 1 MiB; 0: 1 MiB
    length: int = 0
    # refuse a symlink as the last part of the path
    no_follow: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "offset", "scalar", "uint64"),
        Wire(4, "length", "scalar", "uint32"),
        Wire(5, "no_follow", "scalar", "bool"),
    )


@dataclass
class ReadFileResponse(Message):
    data: bytes = b""
    # of the file now
    size: int = 0
    # nothing lies after data
    end: bool = False
    WIRE: ClassVar = (
        Wire(1, "data", "scalar", "bytes"),
        Wire(2, "size", "scalar", "uint64"),
        Wire(3, "end", "scalar", "bool"),
    )


@dataclass
class WriteFileRequest(Message):
    id: str = ""
    path: bytes = b""
    offset: int = 0
    # up to 1 MiB
    data: bytes = b""
    # if it is not there
    create: bool = False
    # first
    truncate: bool = False
    # with create: refuse when it is there
    exclusive: bool = False
    # in place of `offset`
    append: bool = False
    # of one that is created, permission bits; 0: 0644
    mode: int = 0
    no_follow: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "offset", "scalar", "uint64"),
        Wire(4, "data", "scalar", "bytes"),
        Wire(5, "create", "scalar", "bool"),
        Wire(6, "truncate", "scalar", "bool"),
        Wire(7, "exclusive", "scalar", "bool"),
        Wire(8, "append", "scalar", "bool"),
        Wire(9, "mode", "scalar", "uint32"),
        Wire(10, "no_follow", "scalar", "bool"),
    )


@dataclass
class WriteFileResponse(Message):
    size: int = 0
    WIRE: ClassVar = (
        Wire(1, "size", "scalar", "uint64"),
    )


@dataclass
class ListFilesRequest(Message):
    id: str = ""
    path: bytes = b""
    # 0: from the start; else of the last answer
    cursor: int = 0
    # entries, up to 1000; 0: 1000
    limit: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "cursor", "scalar", "uint64"),
        Wire(4, "limit", "scalar", "uint32"),
    )


@dataclass
class ListFilesResponse(Message):
    # in no order, without "." and ".."
    files: list[FileInfo] = field(default_factory=list)
    # 0: that was all
    cursor: int = 0
    WIRE: ClassVar = (
        Wire(1, "files", "message", "FileInfo", repeated=True),
        Wire(2, "cursor", "scalar", "uint64"),
    )


@dataclass
class StatFileRequest(Message):
    id: str = ""
    path: bytes = b""
    # a symlink
    follow: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "follow", "scalar", "bool"),
    )


@dataclass
class MakeDirectoryRequest(Message):
    id: str = ""
    path: bytes = b""
    # those that are missing too; and that it is there already is no error
    parents: bool = False
    # 0: 0755
    mode: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "parents", "scalar", "bool"),
        Wire(4, "mode", "scalar", "uint32"),
    )


@dataclass
class MakeDirectoryResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class RemoveFileRequest(Message):
    id: str = ""
    path: bytes = b""
    # a folder with all below it; no symlink is followed
    recursive: bool = False
    missing_ok: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "recursive", "scalar", "bool"),
        Wire(4, "missing_ok", "scalar", "bool"),
    )


@dataclass
class RemoveFileResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class RenameFileRequest(Message):
    id: str = ""
    from_: bytes = b""
    to: bytes = b""
    # what is there
    replace: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "from_", "scalar", "bytes"),
        Wire(3, "to", "scalar", "bytes"),
        Wire(4, "replace", "scalar", "bool"),
    )


@dataclass
class RenameFileResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class MakeSymlinkRequest(Message):
    id: str = ""
    # any bytes
    target: bytes = b""
    path: bytes = b""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "target", "scalar", "bytes"),
        Wire(3, "path", "scalar", "bytes"),
    )


@dataclass
class MakeSymlinkResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class SetAttributesRequest(Message):
    id: str = ""
    # a symlink as its last part is refused when `mode` is set
    path: bytes = b""
    mode: int | None = None
    modified_unix_ns: int | None = None
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "mode", "scalar", "uint32", optional=True),
        Wire(4, "modified_unix_ns", "scalar", "int64", optional=True),
    )


@dataclass
class SetAttributesResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class WatchFilesRequest(Message):
    id: str = ""
    # a folder; of the first call
    path: bytes = b""
    # of the first call
    recursive: bool = False
    # of a further call; it is forgotten when none has come for 2 minutes
    watch: int = 0
    # at most 60000
    wait_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "path", "scalar", "bytes"),
        Wire(3, "recursive", "scalar", "bool"),
        Wire(4, "watch", "scalar", "uint32"),
        Wire(5, "wait_ms", "scalar", "uint32"),
    )


@dataclass
class FileEvent(Message):
    kind: FileEventKind = FileEventKind(0)
    # below the folder
    path: bytes = b""
    WIRE: ClassVar = (
        Wire(1, "kind", "enum", "FileEventKind"),
        Wire(2, "path", "scalar", "bytes"),
    )


@dataclass
class WatchFilesResponse(Message):
    watch: int = 0
    # What differs from the last look, a few looks a second: what came and went between two is not
    # seen.
    events: list[FileEvent] = field(default_factory=list)
    # more lies below the folder than is watched (4096 files)
    overflow: bool = False
    WIRE: ClassVar = (
        Wire(1, "watch", "scalar", "uint32"),
        Wire(2, "events", "message", "FileEvent", repeated=True),
        Wire(3, "overflow", "scalar", "bool"),
    )


@dataclass
class ListProcessesRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class Process(Message):
    # as the session's processes see it
    pid: int = 0
    parent: int = 0
    name: str = ""
    # cut after 4 KiB
    args: list[str] = field(default_factory=list)
    # one letter, as in proc(5)
    state: str = ""
    cpu_us: int = 0
    # resident
    memory_bytes: int = 0
    # of an exec's first process
    exec_id: int = 0
    # Spore's own
    agent: bool = False
    interpreter: bool = False
    WIRE: ClassVar = (
        Wire(1, "pid", "scalar", "int32"),
        Wire(2, "parent", "scalar", "int32"),
        Wire(3, "name", "scalar", "string"),
        Wire(4, "args", "scalar", "string", repeated=True),
        Wire(5, "state", "scalar", "string"),
        Wire(6, "cpu_us", "scalar", "uint64"),
        Wire(7, "memory_bytes", "scalar", "uint64"),
        Wire(8, "exec_id", "scalar", "uint32"),
        Wire(9, "agent", "scalar", "bool"),
        Wire(10, "interpreter", "scalar", "bool"),
    )


@dataclass
class ListProcessesResponse(Message):
    processes: list[Process] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "processes", "message", "Process", repeated=True),
    )


@dataclass
class Schedule(Message):
    # [A-Za-z0-9][A-Za-z0-9_-]{0,63}
    name: str = ""
    function: str = ""
    owner_uid: int = 0
    # One of these three:
    # "minute hour day-of-month month day-of-week", or "@daily" and its like
    cron: str = ""
    # at least 1000
    every_ms: int = 0
    # once; the schedule is removed with it
    at_unix_ms: int = 0
    # of `cron`: "Europe/Berlin"; empty: UTC
    time_zone: str = ""
    # JSON, up to 256 KiB; empty means null
    payload: bytes = b""
    paused: bool = False
    created_unix_ms: int = 0
    # 0: none (paused)
    next_unix_ms: int = 0
    # when it fired last; 0: never
    last_unix_ms: int = 0
    # id of the event
    last_event: str = ""
    # why the last firing made no event; empty when it did
    last_error: str = ""
    fired: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "function", "scalar", "string"),
        Wire(3, "owner_uid", "scalar", "uint32"),
        Wire(4, "cron", "scalar", "string"),
        Wire(5, "every_ms", "scalar", "uint64"),
        Wire(6, "at_unix_ms", "scalar", "int64"),
        Wire(7, "time_zone", "scalar", "string"),
        Wire(8, "payload", "scalar", "bytes"),
        Wire(9, "paused", "scalar", "bool"),
        Wire(10, "created_unix_ms", "scalar", "int64"),
        Wire(11, "next_unix_ms", "scalar", "int64"),
        Wire(12, "last_unix_ms", "scalar", "int64"),
        Wire(13, "last_event", "scalar", "string"),
        Wire(14, "last_error", "scalar", "string"),
        Wire(15, "fired", "scalar", "uint64"),
    )


@dataclass
class AddScheduleRequest(Message):
    # name (empty: the function's), function, one of cron, every_ms and at_unix_ms,
    schedule: Schedule | None = None
    WIRE: ClassVar = (
        Wire(1, "schedule", "message", "Schedule"),
    )


@dataclass
class ListSchedulesRequest(Message):
    function: str = ""
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
    )


@dataclass
class ListSchedulesResponse(Message):
    schedules: list[Schedule] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "schedules", "message", "Schedule", repeated=True),
    )


@dataclass
class GetScheduleRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class RemoveScheduleRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class RemoveScheduleResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class SetSchedulePausedRequest(Message):
    name: str = ""
    paused: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "paused", "scalar", "bool"),
    )


@dataclass
class SessionCheckpoint(Message):
    name: str = ""
    # 12 hexadecimal digits; no other ever has it
    id: str = ""
    owner_uid: int = 0
    image: str = ""
    # of the image
    runtime: str = ""
    # that RunCode takes in it; empty: none
    language: str = ""
    # the session's
    label: str = ""
    # the id of the session that it was made of
    session: str = ""
    created_unix_ms: int = 0
    # on disk
    bytes: int = 0
    # memory and files, while it is restored
    unpacked_bytes: int = 0
    # that were running
    processes: int = 0
    limits: Limits | None = None
    environment: dict[str, str] = field(default_factory=dict)
    # as in CreateSandboxRequest, never empty
    network: str = ""
    # that the session had left
    ttl_ms: int = 0
    idle_timeout_ms: int = 0
    # that ran, and those that had ended of late
    execs: list[Execution] = field(default_factory=list)
    # one was there, and is in it
    interpreter: bool = False
    # pieces of code that it had begun
    interpreter_runs: int = 0
    # in an answer: why it cannot be restored here; empty: it can be
    unusable: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "id", "scalar", "string"),
        Wire(3, "owner_uid", "scalar", "uint32"),
        Wire(4, "image", "scalar", "string"),
        Wire(5, "runtime", "scalar", "string"),
        Wire(6, "language", "scalar", "string"),
        Wire(7, "label", "scalar", "string"),
        Wire(8, "session", "scalar", "string"),
        Wire(9, "created_unix_ms", "scalar", "int64"),
        Wire(10, "bytes", "scalar", "uint64"),
        Wire(11, "unpacked_bytes", "scalar", "uint64"),
        Wire(12, "processes", "scalar", "uint32"),
        Wire(13, "limits", "message", "Limits"),
        Wire(14, "environment", "map", "string:string"),
        Wire(15, "network", "scalar", "string"),
        Wire(16, "ttl_ms", "scalar", "uint64"),
        Wire(17, "idle_timeout_ms", "scalar", "uint64"),
        Wire(18, "execs", "message", "Execution", repeated=True),
        Wire(19, "interpreter", "scalar", "bool"),
        Wire(20, "interpreter_runs", "scalar", "uint64"),
        Wire(21, "unusable", "scalar", "string"),
    )


@dataclass
class CreateSessionCheckpointRequest(Message):
    # of the session, or a unique prefix
    id: str = ""
    # empty: the session's id; -2, -3, .. is put behind it when that is taken
    name: str = ""
    # else the session is ended when it is on disk
    leave_running: bool = False
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "name", "scalar", "string"),
        Wire(3, "leave_running", "scalar", "bool"),
    )


@dataclass
class CreateSessionCheckpointResponse(Message):
    checkpoint: SessionCheckpoint | None = None
    # that the session's processes were held
    stopped_us: int = 0
    # from the request to this
    trace: Trace | None = None
    WIRE: ClassVar = (
        Wire(1, "checkpoint", "message", "SessionCheckpoint"),
        Wire(2, "stopped_us", "scalar", "uint64"),
        Wire(3, "trace", "message", "Trace"),
    )


@dataclass
class ListSessionCheckpointsRequest(Message):
    # the next_marker of an earlier answer: what comes after that
    marker: str = ""
    # at most so many; 0: all that fit into one message
    limit: int = 0
    WIRE: ClassVar = (
        Wire(1, "marker", "scalar", "string"),
        Wire(2, "limit", "scalar", "uint32"),
    )


@dataclass
class ListSessionCheckpointsResponse(Message):
    checkpoints: list[SessionCheckpoint] = field(default_factory=list)
    # empty: there are no more
    next_marker: str = ""
    WIRE: ClassVar = (
        Wire(1, "checkpoints", "message", "SessionCheckpoint", repeated=True),
        Wire(2, "next_marker", "scalar", "string"),
    )


@dataclass
class InspectSessionCheckpointRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class RemoveSessionCheckpointRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class RemoveSessionCheckpointResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class RestoreSessionRequest(Message):
    name: str = ""
    # as in CreateSandboxRequest; empty: the checkpoint's
    label: str = ""
    # from now, as in CreateSandboxRequest; 0: what the session had left, at
    ttl_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "label", "scalar", "string"),
        Wire(3, "ttl_ms", "scalar", "uint64"),
    )


@dataclass
class SessionCheckpointRecord(Message):
    """What lies on disk beside the archive. Never part of a request or an answer."""
    checkpoint: SessionCheckpoint | None = None
    # "sha256:<hex>"
    archive_digest: str = ""
    # Its ties and boot_id alone are set: as for a zygote's, they must be the same where it is
    # restored. A session has
    # clocks of its own where the host's are behind.
    made_on: Checkpoint | None = None
    # pid of the session's agent, within the session
    agent: int = 0
    # of the agent's: through it the agent is brought back
    agent_descriptor: int = 0
    # the highest pid or thread id within the session
    last_number: int = 0
    # so far
    last_exec_id: int = 0
    # its clocks, when it was dumped
    monotonic_ns: int = 0
    boottime_ns: int = 0
    WIRE: ClassVar = (
        Wire(1, "checkpoint", "message", "SessionCheckpoint"),
        Wire(2, "archive_digest", "scalar", "string"),
        Wire(3, "made_on", "message", "Checkpoint"),
        Wire(4, "agent", "scalar", "int32"),
        Wire(5, "agent_descriptor", "scalar", "int32"),
        Wire(6, "last_number", "scalar", "int32"),
        Wire(7, "last_exec_id", "scalar", "uint32"),
        Wire(8, "monotonic_ns", "scalar", "uint64"),
        Wire(9, "boottime_ns", "scalar", "uint64"),
    )


@dataclass
class Limits(Message):
    """What a sandbox may use. 0 means: the default (deploy) or unchanged (update). spored
    refuses values outside the ranges given here and those its configuration narrows them to.
    """
    # 16 MiB to 64 GiB; default 128 MiB. Swap is not allowed on top.
    memory_bytes: int = 0
    # thousandths of a CPU, 10 to 1000 x host CPUs; default 1000
    cpu_millis: int = 0
    # processes and threads, 1 to 32768; default 64
    pids: int = 0
    # size of /tmp and /dev/shm together, 64 KiB to 64 GiB; default 64 MiB
    tmp_bytes: int = 0
    # RLIMIT_NOFILE, 16 to 1048576; default 1024
    open_files: int = 0
    # wall clock of one invocation or run, 1 to 86400000; default 30000
    timeout_ms: int = 0
    # request payload, up to 64 MiB; default 6 MiB
    payload_bytes: int = 0
    # response payload, up to 64 MiB; default 6 MiB
    response_bytes: int = 0
    # stdout and stderr kept of one invocation, up to 64 MiB; default 1 MiB
    output_bytes: int = 0
    # instances of the function at once, 1 to 10000; default 100
    max_instances: int = 0
    # an idle instance is ended after this; default 60000
    idle_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "memory_bytes", "scalar", "uint64"),
        Wire(2, "cpu_millis", "scalar", "uint32"),
        Wire(3, "pids", "scalar", "uint32"),
        Wire(4, "tmp_bytes", "scalar", "uint64"),
        Wire(5, "open_files", "scalar", "uint32"),
        Wire(6, "timeout_ms", "scalar", "uint64"),
        Wire(7, "payload_bytes", "scalar", "uint64"),
        Wire(8, "response_bytes", "scalar", "uint64"),
        Wire(9, "output_bytes", "scalar", "uint64"),
        Wire(10, "max_instances", "scalar", "uint32"),
        Wire(11, "idle_ms", "scalar", "uint64"),
    )


@dataclass
class FunctionSettings(Message):
    # "python", "node", "native"
    runtime: str = ""
    # Image of that runtime; empty: the image named like the runtime. Of an imported image NAME is
    # its
    # newest version when this is sent, and NAME@VERSION what the function then keeps.
    image: str = ""
    # "module.function"; of runtime native "file.so:symbol"
    handler: str = ""
    isolation: Isolation = Isolation(0)
    limits: Limits | None = None
    # replaces the whole map on update unless keep_environment
    environment: dict[str, str] = field(default_factory=dict)
    # Kept ready, at most limits.max_instances: with isolation INSTANCE so many live instances,
    # else
    # so many that have loaded the function and served nobody. Absent: 0 (deploy), unchanged
    # (update).
    min_instances: int | None = None
    # Library set of the image to start from; "none": the image's own zygote; empty: the set that
    # fits
    # what the function was seen to import. On update empty leaves it, and "auto" makes it empty.
    libraries: str = ""
    # up to 256 characters. Absent: empty (deploy), unchanged (update)
    description: str | None = None
    WIRE: ClassVar = (
        Wire(1, "runtime", "scalar", "string"),
        Wire(2, "image", "scalar", "string"),
        Wire(3, "handler", "scalar", "string"),
        Wire(4, "isolation", "enum", "Isolation"),
        Wire(5, "limits", "message", "Limits"),
        Wire(6, "environment", "map", "string:string"),
        Wire(7, "min_instances", "scalar", "uint32", optional=True),
        Wire(8, "libraries", "scalar", "string"),
        Wire(9, "description", "scalar", "string", optional=True),
    )


@dataclass
class Function(Message):
    name: str = ""
    # counts up from 1 with each update
    version: int = 0
    # with every default filled in
    settings: FunctionSettings | None = None
    owner_uid: int = 0
    created_unix_ms: int = 0
    updated_unix_ms: int = 0
    # "sha256:<hex>" of the archive as sent
    code_digest: str = ""
    # unpacked
    code_bytes: int = 0
    # live now
    instances: int = 0
    # of the image's version; empty: a manifest of the host, never pinned
    image_digest: str = ""
    # which one this is (versions.proto); 0: the working copy, $LATEST
    published_version: int = 0
    # as all below of the function, whichever version this is
    tags: dict[str, str] = field(default_factory=dict)
    # reserved; absent: limits.max_instances of the working copy holds
    concurrency: int | None = None
    # another one after each change of the function
    revision_id: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "version", "scalar", "uint64"),
        Wire(3, "settings", "message", "FunctionSettings"),
        Wire(4, "owner_uid", "scalar", "uint32"),
        Wire(5, "created_unix_ms", "scalar", "int64"),
        Wire(6, "updated_unix_ms", "scalar", "int64"),
        Wire(7, "code_digest", "scalar", "string"),
        Wire(8, "code_bytes", "scalar", "uint64"),
        Wire(9, "instances", "scalar", "uint32"),
        Wire(10, "image_digest", "scalar", "string"),
        Wire(11, "published_version", "scalar", "uint64"),
        Wire(12, "tags", "map", "string:string"),
        Wire(13, "concurrency", "scalar", "uint32", optional=True),
        Wire(14, "revision_id", "scalar", "string"),
    )


@dataclass
class DeployRequest(Message):
    # [A-Za-z0-9][A-Za-z0-9_-]{0,63}
    name: str = ""
    settings: FunctionSettings | None = None
    # Instead of a descriptor, from clients that cannot pass any: the archive itself, up to 3 MiB.
    archive: bytes | None = None
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "settings", "message", "FunctionSettings"),
        Wire(3, "archive", "scalar", "bytes", optional=True),
    )


@dataclass
class UpdateRequest(Message):
    name: str = ""
    # fields left empty stay as they are
    settings: FunctionSettings | None = None
    archive_attached: bool = False
    keep_environment: bool = False
    # when given: FAILED_PRECONDITION unless it is the function's
    revision_id: str = ""
    # as DeployRequest's, instead of archive_attached
    archive: bytes | None = None
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "settings", "message", "FunctionSettings"),
        Wire(3, "archive_attached", "scalar", "bool"),
        Wire(4, "keep_environment", "scalar", "bool"),
        Wire(5, "revision_id", "scalar", "string"),
        Wire(6, "archive", "scalar", "bytes", optional=True),
    )


@dataclass
class GetFunctionRequest(Message):
    name: str = ""
    # as InvokeRequest's, but an alias with two versions tells the first
    qualifier: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "qualifier", "scalar", "string"),
    )


@dataclass
class ListFunctionsRequest(Message):
    # the names after this one
    marker: str = ""
    # at most so many; 0: all that fit into one message
    limit: int = 0
    WIRE: ClassVar = (
        Wire(1, "marker", "scalar", "string"),
        Wire(2, "limit", "scalar", "uint32"),
    )


@dataclass
class ListFunctionsResponse(Message):
    # by name
    functions: list[Function] = field(default_factory=list)
    # empty: there are no more
    next_marker: str = ""
    WIRE: ClassVar = (
        Wire(1, "functions", "message", "Function", repeated=True),
        Wire(2, "next_marker", "scalar", "string"),
    )


@dataclass
class RemoveFunctionRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class RemoveFunctionResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class AdviseRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class AdviseResponseModule(Message):
    name: str = ""
    # without what it imported in turn
    self_us: int = 0
    # with it
    total_us: int = 0
    # by which the process grew meanwhile, without what it imported
    memory_bytes: int = 0
    # of the function's own archive: no set can have it
    own: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "self_us", "scalar", "uint64"),
        Wire(3, "total_us", "scalar", "uint64"),
        Wire(4, "memory_bytes", "scalar", "uint64"),
        Wire(5, "own", "scalar", "bool"),
    )


@dataclass
class AdviseResponseSet(Message):
    """A library set, of the image or proposed."""
    name: str = ""
    modules: list[str] = field(default_factory=list)
    # of a start
    saves_us: int = 0
    # that its zygote would hold beyond its parent's
    memory_bytes: int = 0
    # starts of this function come from it whenever it is there
    serves: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "modules", "scalar", "string", repeated=True),
        Wire(3, "saves_us", "scalar", "uint64"),
        Wire(4, "memory_bytes", "scalar", "uint64"),
        Wire(5, "serves", "scalar", "bool"),
    )


@dataclass
class AdviseResponse(Message):
    """Times and sizes as the function's own process measured them: it can say what it likes."""
    function: str = ""
    function_version: int = 0
    image: str = ""
    # from the plain zygote to a handler that could be called
    load_us: int = 0
    # imported by it, the dearest first; at most 200
    modules: list[AdviseResponseModule] = field(default_factory=list)
    # that it named and that were there already
    preloaded: list[str] = field(default_factory=list)
    # of the image, those whose modules it imports
    sets: list[AdviseResponseSet] = field(default_factory=list)
    # unset: nothing that would pay
    proposed: AdviseResponseSet | None = None
    # of the image's manifest, with `proposed`
    fragment: str = ""
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "function_version", "scalar", "uint64"),
        Wire(3, "image", "scalar", "string"),
        Wire(4, "load_us", "scalar", "uint64"),
        Wire(5, "modules", "message", "AdviseResponseModule", repeated=True),
        Wire(6, "preloaded", "scalar", "string", repeated=True),
        Wire(7, "sets", "message", "AdviseResponseSet", repeated=True),
        Wire(8, "proposed", "message", "AdviseResponseSet"),
        Wire(9, "fragment", "scalar", "string"),
    )


@dataclass
class Death(Message):
    """How an instance ended, and what it had used."""
    cause: DeathCause = DeathCause(0)
    exit_code: int = 0
    signal: int = 0
    # one line for a person
    message: str = ""
    usage: Usage | None = None
    WIRE: ClassVar = (
        Wire(1, "cause", "enum", "DeathCause"),
        Wire(2, "exit_code", "scalar", "int32"),
        Wire(3, "signal", "scalar", "int32"),
        Wire(4, "message", "scalar", "string"),
        Wire(5, "usage", "message", "Usage"),
    )


@dataclass
class Usage(Message):
    # user and system
    cpu_us: int = 0
    memory_peak_bytes: int = 0
    memory_limit_bytes: int = 0
    pids_limit_hits: int = 0
    wall_us: int = 0
    WIRE: ClassVar = (
        Wire(1, "cpu_us", "scalar", "uint64"),
        Wire(2, "memory_peak_bytes", "scalar", "uint64"),
        Wire(3, "memory_limit_bytes", "scalar", "uint64"),
        Wire(4, "pids_limit_hits", "scalar", "uint64"),
        Wire(5, "wall_us", "scalar", "uint64"),
    )


@dataclass
class Step(Message):
    """One timed step of a start or a request. Times are CLOCK_MONOTONIC of the host."""
    # "spored", "zygote", "sandbox", "instance"
    process: str = ""
    name: str = ""
    # since spored had read the whole request
    start_us: int = 0
    duration_us: int = 0
    WIRE: ClassVar = (
        Wire(1, "process", "scalar", "string"),
        Wire(2, "name", "scalar", "string"),
        Wire(3, "start_us", "scalar", "int64"),
        Wire(4, "duration_us", "scalar", "uint64"),
    )


@dataclass
class Trace(Message):
    steps: list[Step] = field(default_factory=list)
    # request read to response handed to the socket
    total_us: int = 0
    WIRE: ClassVar = (
        Wire(1, "steps", "message", "Step", repeated=True),
        Wire(2, "total_us", "scalar", "uint64"),
    )


@dataclass
class InvokeRequest(Message):
    name: str = ""
    # JSON; empty means null. Attach what is above 1 MiB: a message holds 4 MiB.
    payload: bytes = b""
    payload_attached: bool = False
    # fill InvokeResponse.trace
    trace: bool = False
    # JSON, given to the handler as context.client_context
    client_context: bytes = b""
    # fill InvokeResponse.log_tail
    log_tail: bool = False
    # the caller takes a memfd for responses above 1 MiB
    payload_response_attached: bool = False
    # A published version's number, an alias, or "$LATEST", the working copy; empty: the working
    # copy.
    qualifier: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "payload", "scalar", "bytes"),
        Wire(3, "payload_attached", "scalar", "bool"),
        Wire(4, "trace", "scalar", "bool"),
        Wire(5, "client_context", "scalar", "bytes"),
        Wire(6, "log_tail", "scalar", "bool"),
        Wire(7, "payload_response_attached", "scalar", "bool"),
        Wire(8, "qualifier", "scalar", "string"),
    )


@dataclass
class FunctionError(Message):
    # exception class, or Runtime.ExitError, Sandbox.Timedout,
    type: str = ""
    # Runtime.OutOfMemory, Function.ResponseSizeTooLarge,
    # Runtime.ImportModuleError, Runtime.HandlerNotFound,
    # Runtime.UserCodeSyntaxError, Runtime.MarshalError,
    # Runtime.UnmarshalError
    message: str = ""
    stack_trace: list[str] = field(default_factory=list)
    # when the instance died of it
    death: Death | None = None
    WIRE: ClassVar = (
        Wire(1, "type", "scalar", "string"),
        Wire(2, "message", "scalar", "string"),
        Wire(3, "stack_trace", "scalar", "string", repeated=True),
        Wire(4, "death", "message", "Death"),
    )


@dataclass
class InvokeResponse(Message):
    # the handler's result as JSON
    payload: bytes = b""
    # it is in the descriptor that came along
    payload_attached: bool = False
    # set when the function failed; payload is then empty
    error: FunctionError | None = None
    start_kind: StartKind = StartKind(0)
    # a UUID
    request_id: str = ""
    function_version: int = 0
    instance_id: str = ""
    trace: Trace | None = None
    # the last 4 KiB of this invocation's output
    log_tail: bytes = b""
    duration_us: int = 0
    # why this start kind was chosen, in words
    start_reason: str = ""
    # of FORK: the function was loaded before the request came
    loaded_ahead: bool = False
    # "$LATEST", or the published version's number
    executed_version: str = ""
    WIRE: ClassVar = (
        Wire(1, "payload", "scalar", "bytes"),
        Wire(2, "payload_attached", "scalar", "bool"),
        Wire(3, "error", "message", "FunctionError"),
        Wire(4, "start_kind", "enum", "StartKind"),
        Wire(5, "request_id", "scalar", "string"),
        Wire(6, "function_version", "scalar", "uint64"),
        Wire(7, "instance_id", "scalar", "string"),
        Wire(8, "trace", "message", "Trace"),
        Wire(9, "log_tail", "scalar", "bytes"),
        Wire(10, "duration_us", "scalar", "uint64"),
        Wire(11, "start_reason", "scalar", "string"),
        Wire(12, "loaded_ahead", "scalar", "bool"),
        Wire(13, "executed_version", "scalar", "string"),
    )


@dataclass
class RunRequest(Message):
    runtime: str = ""
    image: str = ""
    # the script's text, up to 1 MiB; empty where a program is run
    script: bytes = b""
    # sys.argv, from argv[0] (the script's or program's name) on
    args: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    trace: bool = False
    # Runtime native: the fourth descriptor is the program, an executable file or a script with a
    # "#!" line. It becomes /var/task/NAME, NAME being the last part of args[0], and counts as
    # memory of the sandbox. Without it args[0] names a program of the image: by a path, or by a
    # name without a slash that is looked up in PATH.
    # Runtime java: a jar in place of `script`, which is source text; it, too, becomes
    # /var/task/NAME.
    program_attached: bool = False
    WIRE: ClassVar = (
        Wire(1, "runtime", "scalar", "string"),
        Wire(2, "image", "scalar", "string"),
        Wire(3, "script", "scalar", "bytes"),
        Wire(4, "args", "scalar", "string", repeated=True),
        Wire(5, "environment", "map", "string:string"),
        Wire(6, "limits", "message", "Limits"),
        Wire(7, "trace", "scalar", "bool"),
        Wire(8, "program_attached", "scalar", "bool"),
    )


@dataclass
class RunResponse(Message):
    # always set: EXIT with the script's code, or what ended it
    death: Death | None = None
    start_kind: StartKind = StartKind(0)
    instance_id: str = ""
    trace: Trace | None = None
    # why this start kind was chosen, in words
    start_reason: str = ""
    WIRE: ClassVar = (
        Wire(1, "death", "message", "Death"),
        Wire(2, "start_kind", "enum", "StartKind"),
        Wire(3, "instance_id", "scalar", "string"),
        Wire(4, "trace", "message", "Trace"),
        Wire(5, "start_reason", "scalar", "string"),
    )


@dataclass
class Instance(Message):
    # 12 hexadecimal digits
    id: str = ""
    # empty for `run`
    function: str = ""
    function_version: int = 0
    image: str = ""
    state: InstanceState = InstanceState(0)
    start_kind: StartKind = StartKind(0)
    # in the daemon's pid namespace; 0 once dead
    pid: int = 0
    # the host's view of the sandbox's uid
    uid: int = 0
    started_unix_ms: int = 0
    invocations: int = 0
    # charged now
    memory_bytes: int = 0
    cpu_us: int = 0
    pids: int = 0
    death: Death | None = None
    owner_uid: int = 0
    limits: Limits | None = None
    # paths
    cgroups: list[str] = field(default_factory=list)
    # "$LATEST", or the published version's number; empty for `run`
    qualifier: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "function", "scalar", "string"),
        Wire(3, "function_version", "scalar", "uint64"),
        Wire(4, "image", "scalar", "string"),
        Wire(5, "state", "enum", "InstanceState"),
        Wire(6, "start_kind", "enum", "StartKind"),
        Wire(7, "pid", "scalar", "int32"),
        Wire(8, "uid", "scalar", "uint32"),
        Wire(9, "started_unix_ms", "scalar", "int64"),
        Wire(10, "invocations", "scalar", "uint64"),
        Wire(11, "memory_bytes", "scalar", "uint64"),
        Wire(12, "cpu_us", "scalar", "uint64"),
        Wire(13, "pids", "scalar", "uint32"),
        Wire(14, "death", "message", "Death"),
        Wire(15, "owner_uid", "scalar", "uint32"),
        Wire(16, "limits", "message", "Limits"),
        Wire(17, "cgroups", "scalar", "string", repeated=True),
        Wire(18, "qualifier", "scalar", "string"),
    )


@dataclass
class ListInstancesRequest(Message):
    # empty: all that the caller may see
    function: str = ""
    # the recently ended too
    include_dead: bool = False
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "include_dead", "scalar", "bool"),
    )


@dataclass
class ListInstancesResponse(Message):
    instances: list[Instance] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "instances", "message", "Instance", repeated=True),
    )


@dataclass
class InspectRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class KillRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class KillResponse(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class LogLine(Message):
    unix_us: int = 0
    instance_id: str = ""
    # SYSTEM: Spore's own START, END, REPORT and cut-off lines
    stream: LogLineStream = LogLineStream(0)
    # without the line's end
    text: bytes = b""
    WIRE: ClassVar = (
        Wire(1, "unix_us", "scalar", "int64"),
        Wire(2, "instance_id", "scalar", "string"),
        Wire(3, "stream", "enum", "LogLineStream"),
        Wire(4, "text", "scalar", "bytes"),
    )


@dataclass
class ReadLogsRequest(Message):
    function: str = ""
    # 0: from the oldest kept
    cursor: int = 0
    # at most 60000
    wait_ms: int = 0
    # with cursor 0: only the last `tail` lines; 0 means all kept
    tail: int = 0
    WIRE: ClassVar = (
        Wire(1, "function", "scalar", "string"),
        Wire(2, "cursor", "scalar", "uint64"),
        Wire(3, "wait_ms", "scalar", "uint32"),
        Wire(4, "tail", "scalar", "uint32"),
    )


@dataclass
class ReadLogsResponse(Message):
    lines: list[LogLine] = field(default_factory=list)
    # for the next call
    cursor: int = 0
    # lines between the asked cursor and the first one returned
    dropped: int = 0
    WIRE: ClassVar = (
        Wire(1, "lines", "message", "LogLine", repeated=True),
        Wire(2, "cursor", "scalar", "uint64"),
        Wire(3, "dropped", "scalar", "uint64"),
    )


@dataclass
class InfoRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class InfoResponse(Message):
    version: str = ""
    pid: int = 0
    state_dir: str = ""
    # "v2", "hybrid", "v1"
    cgroup_layout: str = ""
    images: list[Image] = field(default_factory=list)
    started_unix_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "version", "scalar", "string"),
        Wire(2, "pid", "scalar", "int32"),
        Wire(3, "state_dir", "scalar", "string"),
        Wire(4, "cgroup_layout", "scalar", "string"),
        Wire(5, "images", "message", "Image", repeated=True),
        Wire(6, "started_unix_ms", "scalar", "int64"),
    )


@dataclass
class Image(Message):
    name: str = ""
    runtime: str = ""
    state: ImageState = ImageState(0)
    # of FAILED
    reason: str = ""
    preload: list[str] = field(default_factory=list)
    zygote_pid: int = 0
    # copies of its zygotes that were given to a function or run
    forks: int = 0
    # "3.11.2"; empty until its zygote has been ready once
    runtime_version: str = ""
    # path inside the image
    interpreter: str = ""
    # of the interpreter's command line
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    # Debian packages that bring it
    packages: list[str] = field(default_factory=list)
    # its zygote starts with the daemon
    eager: bool = False
    # what it preloads may have threads
    threads: bool = False
    # path of the file that describes it
    manifest: str = ""
    # of a function or run that asks for no others
    limits: Limits | None = None
    # its zygotes' memory is moved into a file, where it pays
    flat: bool = False
    # Of an imported image, whose `name` above is NAME@VERSION:
    # counts up from 1; 0: a manifest of the host
    version: int = 0
    # "sha256:<hex>", of manifest and root together
    digest: str = ""
    # "host", or "sha256:<hex>" of what lists the root's files
    root: str = ""
    # where it was imported from, in words
    source: str = ""
    # of the archive, or of the OCI manifest
    source_digest: str = ""
    created_unix_ms: int = 0
    root_bytes: int = 0
    root_files: int = 0
    # called in the zygote when all is preloaded
    warm_up: str = ""
    sets: list[LibrarySet] = field(default_factory=list)
    policy: ImagePolicy | None = None
    # Names of `environment` that come from an OCI archive's configuration, not from the manifest.
    archive_environment: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "runtime", "scalar", "string"),
        Wire(3, "state", "enum", "ImageState"),
        Wire(4, "reason", "scalar", "string"),
        Wire(5, "preload", "scalar", "string", repeated=True),
        Wire(6, "zygote_pid", "scalar", "int32"),
        Wire(7, "forks", "scalar", "uint64"),
        Wire(8, "runtime_version", "scalar", "string"),
        Wire(9, "interpreter", "scalar", "string"),
        Wire(10, "options", "scalar", "string", repeated=True),
        Wire(11, "environment", "map", "string:string"),
        Wire(12, "packages", "scalar", "string", repeated=True),
        Wire(13, "eager", "scalar", "bool"),
        Wire(14, "threads", "scalar", "bool"),
        Wire(15, "manifest", "scalar", "string"),
        Wire(16, "limits", "message", "Limits"),
        Wire(26, "flat", "scalar", "bool"),
        Wire(17, "version", "scalar", "uint64"),
        Wire(18, "digest", "scalar", "string"),
        Wire(19, "root", "scalar", "string"),
        Wire(20, "source", "scalar", "string"),
        Wire(21, "source_digest", "scalar", "string"),
        Wire(22, "created_unix_ms", "scalar", "int64"),
        Wire(23, "root_bytes", "scalar", "uint64"),
        Wire(24, "root_files", "scalar", "uint64"),
        Wire(25, "warm_up", "scalar", "string"),
        Wire(27, "sets", "message", "LibrarySet", repeated=True),
        Wire(28, "policy", "message", "ImagePolicy"),
        Wire(29, "archive_environment", "scalar", "string", repeated=True),
    )


@dataclass
class ImagePolicy(Message):
    """What sandboxes of an image may and may not, other than those of others ([policy] of its
    manifest).
    """
    # TCP and UDP over 127.0.0.1 and ::1, inside the sandbox
    loopback: bool = False
    # system calls, and groups of them, that they lose
    deny: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "loopback", "scalar", "bool"),
        Wire(2, "deny", "scalar", "string", repeated=True),
    )


@dataclass
class LibrarySet(Message):
    """What a zygote of an image may import beyond the image's preload list."""
    name: str = ""
    # the set that it starts from; empty: the image's own zygote
    parent: str = ""
    modules: list[str] = field(default_factory=list)
    # its zygote is there whenever the image's is
    eager: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "parent", "scalar", "string"),
        Wire(3, "modules", "scalar", "string", repeated=True),
        Wire(4, "eager", "scalar", "bool"),
    )


@dataclass
class ListImagesRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class ListImagesResponse(Message):
    images: list[Image] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "images", "message", "Image", repeated=True),
    )


@dataclass
class GetImageRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class ImportImageRequest(Message):
    # [A-Za-z0-9][A-Za-z0-9_-]{0,63}; not one of a manifest of the host
    name: str = ""
    # spore-image(5); may be empty when `runtime` is given
    manifest: str = ""
    # added to the manifest if it names none; else they must agree
    runtime: str = ""
    # kept for people
    source: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "manifest", "scalar", "string"),
        Wire(3, "runtime", "scalar", "string"),
        Wire(4, "source", "scalar", "string"),
    )


@dataclass
class ImportImageResponse(Message):
    image: Image | None = None
    # the newest version was the same already: none was made
    unchanged: bool = False
    # what was left out of the root, and the like
    notes: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "image", "message", "Image"),
        Wire(2, "unchanged", "scalar", "bool"),
        Wire(3, "notes", "scalar", "string", repeated=True),
    )


@dataclass
class VerifyImageRequest(Message):
    name: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
    )


@dataclass
class VerifyImageResponse(Message):
    image: Image | None = None
    # the first 100; empty: all is as it was imported
    differences: list[str] = field(default_factory=list)
    difference_count: int = 0
    WIRE: ClassVar = (
        Wire(1, "image", "message", "Image"),
        Wire(2, "differences", "scalar", "string", repeated=True),
        Wire(3, "difference_count", "scalar", "uint64"),
    )


@dataclass
class RemoveImageRequest(Message):
    name: str = ""
    # also when functions use it; its instances are killed first
    force: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "force", "scalar", "bool"),
    )


@dataclass
class RemoveImageResponse(Message):
    names: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "names", "scalar", "string", repeated=True),
    )


@dataclass
class Zygote(Message):
    image: str = ""
    # counts up from 1 with each zygote of the image
    generation: int = 0
    state: ZygoteState = ZygoteState(0)
    # in the daemon's pid namespace; 0 before it is ready and when ended
    pid: int = 0
    started_unix_ms: int = 0
    # from its first instruction until all was loaded
    preload_us: int = 0
    # copies of it that were given to a function or run
    forks: int = 0
    # copies that wait for a function or run
    sandboxes_ready: int = 0
    # live, forked from it
    instances: int = 0
    # PSS: its own, and its share of what its copies have in common
    memory_bytes: int = 0
    # with it. In a listing, and for root only: it costs; else 0.
    # Why it could not be replaced when that was last tried; empty when there was nothing wrong.
    rotation_error: str = ""
    # in a row
    rotation_failures: int = 0
    # when it will be replaced by itself, if not before; 0: never
    next_rotation_unix_ms: int = 0
    # copies that have not warmed up yet (spare-sandboxes)
    sandboxes_spare: int = 0
    # Its memory when it was ready: what was moved into a file, so that no copy of it has to copy
    # its page
    # tables; what was not; and why, empty when only small pieces were not.
    flat_bytes: int = 0
    unmoved_bytes: int = 0
    flat_note: str = ""
    # library set; empty: the image's own zygote
    set: str = ""
    # of a set, as in LibrarySet
    parent: str = ""
    # of ABSENT
    reason: str = ""
    # of a set: that wanted it within the last minutes, older ones less
    recent_starts: float = 0.0
    # of a set: what a start from it saves; of ABSENT as last known
    import_us: int = 0
    # of a set: what it held beyond its parent's when it was ready
    unique_bytes: int = 0
    # COLD, or RESTORE from a checkpoint; unspecified: not known yet
    start_kind: StartKind = StartKind(0)
    # why it was not restored, when there was something to restore
    start_reason: str = ""
    # that it was restored from
    checkpoint: str = ""
    # from the request for it until it was ready
    start_us: int = 0
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
        Wire(2, "generation", "scalar", "uint64"),
        Wire(3, "state", "enum", "ZygoteState"),
        Wire(4, "pid", "scalar", "int32"),
        Wire(5, "started_unix_ms", "scalar", "int64"),
        Wire(6, "preload_us", "scalar", "uint64"),
        Wire(7, "forks", "scalar", "uint64"),
        Wire(8, "sandboxes_ready", "scalar", "uint32"),
        Wire(9, "instances", "scalar", "uint32"),
        Wire(10, "memory_bytes", "scalar", "uint64"),
        Wire(11, "rotation_error", "scalar", "string"),
        Wire(12, "rotation_failures", "scalar", "uint32"),
        Wire(13, "next_rotation_unix_ms", "scalar", "int64"),
        Wire(27, "sandboxes_spare", "scalar", "uint32"),
        Wire(14, "flat_bytes", "scalar", "uint64"),
        Wire(15, "unmoved_bytes", "scalar", "uint64"),
        Wire(16, "flat_note", "scalar", "string"),
        Wire(21, "set", "scalar", "string"),
        Wire(22, "parent", "scalar", "string"),
        Wire(23, "reason", "scalar", "string"),
        Wire(24, "recent_starts", "scalar", "double"),
        Wire(25, "import_us", "scalar", "uint64"),
        Wire(26, "unique_bytes", "scalar", "uint64"),
        Wire(17, "start_kind", "enum", "StartKind"),
        Wire(18, "start_reason", "scalar", "string"),
        Wire(19, "checkpoint", "scalar", "string"),
        Wire(20, "start_us", "scalar", "uint64"),
    )


@dataclass
class Checkpoint(Message):
    # 12 hexadecimal digits
    id: str = ""
    image: str = ""
    created_unix_ms: int = 0
    # made by spored itself, after a slow start
    automatic: bool = False
    # when that was known
    runtime_version: str = ""
    # on disk
    archive_bytes: int = 0
    # unpacked, while it is restored
    memory_bytes: int = 0
    # "sha256:<hex>"
    archive_digest: str = ""
    # what must be the same here for it to be restored
    ties: dict[str, str] = field(default_factory=dict)
    # of the host that made it
    boot_id: str = ""
    # its CLOCK_MONOTONIC then
    clock_ns: int = 0
    # in an answer: why it is not restored here; empty: it can be
    unusable: str = ""
    # when `spore checkpoint import` brought it; 0: it was made here
    imported_unix_ms: int = 0
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
        Wire(2, "image", "scalar", "string"),
        Wire(3, "created_unix_ms", "scalar", "int64"),
        Wire(4, "automatic", "scalar", "bool"),
        Wire(5, "runtime_version", "scalar", "string"),
        Wire(6, "archive_bytes", "scalar", "uint64"),
        Wire(7, "memory_bytes", "scalar", "uint64"),
        Wire(8, "archive_digest", "scalar", "string"),
        Wire(9, "ties", "map", "string:string"),
        Wire(10, "boot_id", "scalar", "string"),
        Wire(11, "clock_ns", "scalar", "uint64"),
        Wire(12, "unusable", "scalar", "string"),
        Wire(13, "imported_unix_ms", "scalar", "int64"),
    )


@dataclass
class ListCheckpointsRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class ListCheckpointsResponse(Message):
    checkpoints: list[Checkpoint] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "checkpoints", "message", "Checkpoint", repeated=True),
    )


@dataclass
class CreateCheckpointRequest(Message):
    image: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
    )


@dataclass
class RestoreCheckpointRequest(Message):
    # its newest that can be restored; or
    image: str = ""
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
        Wire(2, "id", "scalar", "string"),
    )


@dataclass
class RemoveCheckpointRequest(Message):
    id: str = ""
    WIRE: ClassVar = (
        Wire(1, "id", "scalar", "string"),
    )


@dataclass
class RemoveCheckpointResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class ListZygotesRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class ListZygotesResponse(Message):
    zygotes: list[Zygote] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "zygotes", "message", "Zygote", repeated=True),
    )


@dataclass
class WarmZygoteRequest(Message):
    image: str = ""
    # of the image; empty: the image's own
    set: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
        Wire(2, "set", "scalar", "string"),
    )


@dataclass
class EvictZygoteRequest(Message):
    image: str = ""
    # kill the image's instances first; not with a set
    force: bool = False
    set: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
        Wire(2, "force", "scalar", "bool"),
        Wire(3, "set", "scalar", "string"),
    )


@dataclass
class EvictZygoteResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class RotateZygoteRequest(Message):
    image: str = ""
    WIRE: ClassVar = (
        Wire(1, "image", "scalar", "string"),
    )


@dataclass
class StatsRequest(Message):
    WIRE: ClassVar = ()


@dataclass
class StatsResponse(Message):
    invocations: int = 0
    invocation_errors: int = 0
    runs: int = 0
    overloaded: int = 0
    # by start kind: "warm", "fork"
    starts: dict[str, int] = field(default_factory=dict)
    # by cause, in lower case
    deaths: dict[str, int] = field(default_factory=dict)
    instances_live: int = 0
    instances_idle: int = 0
    queued: int = 0
    # made ahead, not yet used
    sandboxes_ready: int = 0
    # PSS of spored
    daemon_memory_bytes: int = 0
    # of invocations, all start kinds, since the start
    latency_p50_us: int = 0
    latency_p99_us: int = 0
    uptime_ms: int = 0
    functions: int = 0
    # made ahead, and not warmed up yet
    sandboxes_spare: int = 0
    # of the starts: fork, and the function was loaded already
    loaded_ahead: int = 0
    WIRE: ClassVar = (
        Wire(1, "invocations", "scalar", "uint64"),
        Wire(2, "invocation_errors", "scalar", "uint64"),
        Wire(3, "runs", "scalar", "uint64"),
        Wire(4, "overloaded", "scalar", "uint64"),
        Wire(5, "starts", "map", "string:uint64"),
        Wire(6, "deaths", "map", "string:uint64"),
        Wire(7, "instances_live", "scalar", "uint32"),
        Wire(8, "instances_idle", "scalar", "uint32"),
        Wire(9, "queued", "scalar", "uint32"),
        Wire(10, "sandboxes_ready", "scalar", "uint32"),
        Wire(11, "daemon_memory_bytes", "scalar", "uint64"),
        Wire(12, "latency_p50_us", "scalar", "uint64"),
        Wire(13, "latency_p99_us", "scalar", "uint64"),
        Wire(14, "uptime_ms", "scalar", "uint64"),
        Wire(15, "functions", "scalar", "uint32"),
        Wire(17, "sandboxes_spare", "scalar", "uint32"),
        Wire(16, "loaded_ahead", "scalar", "uint64"),
    )


@dataclass
class TtrpcRequest(Message):
    """The ttrpc envelope (ttrpc's own request.proto), here so that clients in languages without
    a ttrpc library can be generated from this file alone.
    """
    service: str = ""
    method: str = ""
    payload: bytes = b""
    timeout_nano: int = 0
    metadata: list[TtrpcKeyValue] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "service", "scalar", "string"),
        Wire(2, "method", "scalar", "string"),
        Wire(3, "payload", "scalar", "bytes"),
        Wire(4, "timeout_nano", "scalar", "int64"),
        Wire(5, "metadata", "message", "TtrpcKeyValue", repeated=True),
    )


@dataclass
class TtrpcKeyValue(Message):
    key: str = ""
    value: str = ""
    WIRE: ClassVar = (
        Wire(1, "key", "scalar", "string"),
        Wire(2, "value", "scalar", "string"),
    )


@dataclass
class TtrpcStatus(Message):
    code: int = 0
    message: str = ""
    WIRE: ClassVar = (
        Wire(1, "code", "scalar", "int32"),
        Wire(2, "message", "scalar", "string"),
    )


@dataclass
class TtrpcResponse(Message):
    status: TtrpcStatus | None = None
    payload: bytes = b""
    WIRE: ClassVar = (
        Wire(1, "status", "message", "TtrpcStatus"),
        Wire(2, "payload", "scalar", "bytes"),
    )


@dataclass
class PublishedVersion(Message):
    number: int = 0
    description: str = ""
    published_unix_ms: int = 0
    # asked for by Provision of this number
    min_instances: int = 0
    # Function.version of the working copy that it was
    update: int = 0
    # in answers: as frozen; absent when damaged on disk
    function: Function | None = None
    WIRE: ClassVar = (
        Wire(1, "number", "scalar", "uint64"),
        Wire(2, "description", "scalar", "string"),
        Wire(3, "published_unix_ms", "scalar", "int64"),
        Wire(4, "min_instances", "scalar", "uint32"),
        Wire(5, "update", "scalar", "uint64"),
        Wire(6, "function", "message", "Function"),
    )


@dataclass
class Alias(Message):
    # [A-Za-z0-9_-]{1,128}, not digits alone
    name: str = ""
    # number of a published version
    version: int = 0
    # up to 256 characters
    description: str = ""
    # 0: there is none
    second_version: int = 0
    # share of the invocations that goes to it, 0 to 1
    second_weight: float = 0.0
    # asked for by Provision of this name; shared out by weight
    min_instances: int = 0
    # another one after each change of the alias
    revision_id: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "version", "scalar", "uint64"),
        Wire(3, "description", "scalar", "string"),
        Wire(4, "second_version", "scalar", "uint64"),
        Wire(5, "second_weight", "scalar", "double"),
        Wire(6, "min_instances", "scalar", "uint32"),
        Wire(7, "revision_id", "scalar", "string"),
    )


@dataclass
class FunctionFacts(Message):
    """What is kept of a function beside its code, on disk in a file of its own."""
    # numbers are never used again
    last_published: int = 0
    # by number
    published: list[PublishedVersion] = field(default_factory=list)
    # by name
    aliases: list[Alias] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    # counts them
    changes: int = 0
    WIRE: ClassVar = (
        Wire(1, "last_published", "scalar", "uint64"),
        Wire(2, "published", "message", "PublishedVersion", repeated=True),
        Wire(3, "aliases", "message", "Alias", repeated=True),
        Wire(4, "tags", "map", "string:string"),
        Wire(5, "concurrency", "scalar", "uint32", optional=True),
        Wire(6, "changes", "scalar", "uint64"),
    )


@dataclass
class PublishVersionRequest(Message):
    name: str = ""
    # up to 256 characters; absent: the function's
    description: str | None = None
    # when given: FAILED_PRECONDITION unless it is the working copy's
    code_digest: str = ""
    # when given: FAILED_PRECONDITION unless it is the function's
    revision_id: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "description", "scalar", "string", optional=True),
        Wire(3, "code_digest", "scalar", "string"),
        Wire(4, "revision_id", "scalar", "string"),
    )


@dataclass
class PublishVersionResponse(Message):
    version: PublishedVersion | None = None
    # it was there already
    unchanged: bool = False
    WIRE: ClassVar = (
        Wire(1, "version", "message", "PublishedVersion"),
        Wire(2, "unchanged", "scalar", "bool"),
    )


@dataclass
class ListVersionsRequest(Message):
    name: str = ""
    # those after this number
    marker: int = 0
    # at most so many; 0: all that fit into one message
    limit: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "marker", "scalar", "uint64"),
        Wire(3, "limit", "scalar", "uint32"),
    )


@dataclass
class ListVersionsResponse(Message):
    versions: list[PublishedVersion] = field(default_factory=list)
    # 0: there are no more
    next_marker: int = 0
    WIRE: ClassVar = (
        Wire(1, "versions", "message", "PublishedVersion", repeated=True),
        Wire(2, "next_marker", "scalar", "uint64"),
    )


@dataclass
class RemoveVersionRequest(Message):
    name: str = ""
    number: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "number", "scalar", "uint64"),
    )


@dataclass
class RemoveVersionResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class SetAliasRequest(Message):
    # of the function
    name: str = ""
    # without min_instances; its revision_id, when given, must be the alias's
    alias: Alias | None = None
    # ALREADY_EXISTS when there is one
    create: bool = False
    # NOT_FOUND when there is none; what is left empty then stays
    update: bool = False
    # With `update`: there is no second version any more.
    clear_second: bool = False
    clear_description: bool = False
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "alias", "message", "Alias"),
        Wire(3, "create", "scalar", "bool"),
        Wire(4, "update", "scalar", "bool"),
        Wire(5, "clear_second", "scalar", "bool"),
        Wire(6, "clear_description", "scalar", "bool"),
    )


@dataclass
class ListAliasesRequest(Message):
    name: str = ""
    # those that name it; 0: all
    version: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "version", "scalar", "uint64"),
    )


@dataclass
class ListAliasesResponse(Message):
    aliases: list[Alias] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "aliases", "message", "Alias", repeated=True),
    )


@dataclass
class RemoveAliasRequest(Message):
    # of the function
    name: str = ""
    alias: str = ""
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "alias", "scalar", "string"),
    )


@dataclass
class RemoveAliasResponse(Message):
    WIRE: ClassVar = ()


@dataclass
class TagRequest(Message):
    name: str = ""
    # at most 50 a function; keys of 1 to 128 characters, values of up to 256
    set: dict[str, str] = field(default_factory=dict)
    # keys; one that is not there is no error
    remove: list[str] = field(default_factory=list)
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "set", "map", "string:string"),
        Wire(3, "remove", "scalar", "string", repeated=True),
    )


@dataclass
class TagResponse(Message):
    tags: dict[str, str] = field(default_factory=dict)
    WIRE: ClassVar = (
        Wire(1, "tags", "map", "string:string"),
    )


@dataclass
class SetConcurrencyRequest(Message):
    name: str = ""
    # 0 to 10000; 0 refuses every invocation. Absent: limits.max_instances of the working copy
    # holds.
    concurrency: int | None = None
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "concurrency", "scalar", "uint32", optional=True),
    )


@dataclass
class SetConcurrencyResponse(Message):
    concurrency: int | None = None
    WIRE: ClassVar = (
        Wire(1, "concurrency", "scalar", "uint32", optional=True),
    )


@dataclass
class ProvisionRequest(Message):
    name: str = ""
    # a published version's number, or an alias
    qualifier: str = ""
    instances: int = 0
    WIRE: ClassVar = (
        Wire(1, "name", "scalar", "string"),
        Wire(2, "qualifier", "scalar", "string"),
        Wire(3, "instances", "scalar", "uint32"),
    )


@dataclass
class ProvisionResponse(Message):
    WIRE: ClassVar = ()
