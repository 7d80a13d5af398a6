"""What the daemon tells of what it has seen: histograms, traces, events; trace, top and events."""
import json
import os
import pty
import signal
import subprocess
import threading
import time

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
APP = """
import sys, time
def handler(event, context):
    if event == "raise":
        raise type("\\x1b[2JNo\\n", (Exception,), {})("\\x1b]0;x\\x07")
    if event == "exit":
        import os
        os._exit(3)
    if isinstance(event, dict):
        time.sleep(event["sleep"])
    return event
"""
SERVICE = "Observability"


@pytest.fixture(scope="module")
def functions(spored):
    spored.deploy("seen", {"app.py": APP})
    spored.deploy("once", {"app.py": APP}, isolation="ISOLATION_INVOCATION")
    spored.deploy("narrow", {"app.py": APP}, limits={"max_instances": 1})
    yield spored


def figures(spored, function=""):
    return spored.call(SERVICE, "Histograms", {"function": function})["figures"]


def events(spored, **request):
    return spored.call(SERVICE, "RecentEvents", request)


def kinds(response):
    return [event["kind"] for event in response["events"]]


def position(spored):
    """Where the history stands: what comes after is new."""
    now = events(spored, tail=1)
    return {"epoch": now["epoch"], "after_sequence": now["last_sequence"]}


def events_until(spored, start, wanted):
    """What has happened since, as soon as `wanted` of it is true."""
    return daemon.wait_until(
        lambda: (lambda got: got if wanted(got) else None)(events(spored, **start)["events"]),
        what="the events")


# ---- histograms ----

def test_histograms_of_a_function_and_of_all(functions):
    before = figures(functions)
    for i in range(5):
        assert functions.result("seen", i) == i
    mine = figures(functions, "seen")
    assert mine["invocations"] == 5 and mine["failures"] == 0
    assert mine["total"]["fork"]["count"] == 1 and mine["total"]["warm"]["count"] == 4
    assert mine["phases"]["handler"]["count"] == 5 and mine["phases"]["load"]["count"] == 1
    assert mine["phases"]["queue"]["count"] == 5 and mine["phases"]["start"]["count"] == 1
    for histogram in [*mine["total"].values(), *mine["phases"].values()]:
        bounds = [bucket["up_to_us"] for bucket in histogram["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] >= histogram["max_us"]
        assert sum(bucket["count"] for bucket in histogram["buckets"]) == histogram["count"]
    assert figures(functions)["invocations"] == before["invocations"] + 5
    stats = functions.stats()
    everything = figures(functions)
    assert sum(h["count"] for h in everything["total"].values()) == stats["invocations"]


def test_failures_by_cause(functions):
    start = figures(functions, "seen")["failures_by_cause"]
    functions.failure("seen", "raise")
    functions.failure("seen", "exit")
    counted = figures(functions, "seen")["failures_by_cause"]
    assert counted["handler"] == start.get("handler", 0) + 1
    assert counted["exit"] == start.get("exit", 0) + 1
    listed = functions.call(SERVICE, "Histograms", {"by_function": True})
    assert "seen" in [entry["function"] for entry in listed["functions"]]
    assert listed["events"]["function_deployed"] >= 3


def test_a_function_that_was_never_invoked(functions):
    functions.deploy("idle", {"app.py": APP})
    try:
        assert figures(functions, "idle")["invocations"] == 0
        assert functions.call(SERVICE, "Traces", {"function": "idle"})["traces"] == []
        done = functions.cli("trace", "idle")
        assert (done.code, done.out) == (0, "") and "was not invoked" in done.err
    finally:
        functions.remove_function("idle")
    for method in ("Histograms", "Traces"):
        assert functions.error_of(SERVICE, method, {"function": "idle"}).code == 5


# ---- traces ----

def test_traces(functions):
    for i in range(3):
        functions.result("once", i)
    traces = functions.call(SERVICE, "Traces", {"function": "once", "limit": 2})["traces"]
    assert len(traces) == 2
    assert traces[0]["received_unix_us"] > traces[1]["received_unix_us"]
    assert abs(traces[0]["received_unix_us"] / 1e6 - time.time()) < 600
    trace = traces[0]
    assert trace["start_kind"] == "START_KIND_FORK" and trace["executed_version"] == "$LATEST"
    names = [(step["process"], step["name"]) for step in trace["trace"]["steps"]]
    for expected in (("spored", "queue"), ("spored", "take sandbox"), ("instance", "load"),
                     ("instance", "handler")):
        assert expected in names
    answer = functions.invoke("once", 1, trace=True)
    kept = functions.call(SERVICE, "Traces", {"function": "once", "limit": 1})["traces"][0]
    assert kept["request_id"] == answer["request_id"]
    assert kept["instance_id"] == answer["instance_id"]
    assert kept["trace"]["steps"] == answer["trace"]["steps"]


def test_a_billion_entries_are_as_many_as_there_are(functions):
    for i in range(40):
        functions.result("seen", i)
    many = 10**9
    assert len(functions.call(SERVICE, "Traces", {"function": "seen", "limit": many})["traces"]) == 32
    assert len(events(functions, limit=many, tail=many)["events"]) <= 1000
    assert functions.cli("trace", "seen", "-n", many, "--json").code == 0
    error = functions.error_of(SERVICE, "RecentEvents", {"wait_ms": many})
    assert error.code == 3 and "wait_ms: 1000000000" in error.message


# ---- events ----

def test_what_happens_to_functions(functions):
    start = position(functions)
    functions.deploy("brief", {"app.py": APP})
    functions.result("brief", 1)
    functions.call("Functions", "Update", {"name": "brief", "settings": {"description": "x"},
                                           "keep_environment": True})
    functions.remove_function("brief")
    seen = events_until(functions, start, lambda got: [
        e for e in got if e["kind"] == "INSTANCE_ENDED" and e["function"] == "brief"])
    mine = [e for e in seen if e["function"] == "brief"]
    order = [e["kind"] for e in mine]
    assert order[:2] == ["FUNCTION_DEPLOYED", "INSTANCE_STARTED"]
    assert {"FUNCTION_UPDATED", "FUNCTION_REMOVED", "INSTANCE_ENDED"} <= set(order)
    started = mine[1]
    assert started["start_kind"] == "START_KIND_FORK" and started["image"] == "python"
    sequences = [e["sequence"] for e in seen]
    assert sequences == sorted(sequences)


def test_how_instances_end(functions):
    start = position(functions)
    functions.failure("seen", "exit")
    ended = events_until(functions, start, lambda got: [
        e for e in got if e["kind"] == "INSTANCE_ENDED" and e["cause"] == "exit"])
    event = next(e for e in ended if e["kind"] == "INSTANCE_ENDED")
    assert event["function"] == "seen" and "status 3" in event["message"]


def test_refusals_at_a_limit(functions):
    start = position(functions)
    with functions.client() as busy:
        busy.send("Invocations", "Invoke", {"name": "narrow", "payload": b'{"sleep": 30}'})
        daemon.wait_until(lambda: [i for i in functions.instances(function="narrow")
                                   if i["state"] == "BUSY"], what="it is busy")
        functions.call("Versions", "SetConcurrency", {"name": "narrow", "concurrency": 0})
        error = functions.error_of("Invocations", "Invoke", {"name": "narrow", "payload": b"1"})
        assert error.code == 8 and error.message.startswith("throttled")
    refused = events_until(functions, start, lambda got: [
        e for e in got if e["kind"] == "REQUEST_REFUSED"])
    event = next(e for e in refused if e["kind"] == "REQUEST_REFUSED")
    assert (event["function"], event["cause"], event["count"]) == ("narrow", "throttled", 1)
    assert figures(functions, "narrow")["refusals_by_cause"]["throttled"] >= 1


def test_rotation_and_eviction_of_zygotes(functions):
    start = position(functions)
    functions.call("Zygotes", "Warm", {"image": "python"})
    functions.call("Zygotes", "Rotate", {"image": "python"})
    functions.call("Zygotes", "Evict", {"image": "python", "force": True})
    functions.call("Zygotes", "Warm", {"image": "python"})
    events_until(functions, start, lambda got: {"ZYGOTE_ROTATED", "ZYGOTE_EVICTED", "ZYGOTE_READY"} <= {
        e["kind"] for e in got})


def test_sandboxes_that_live(functions):
    start = position(functions)
    session = functions.call("Sandboxes", "Create", {"image": "python"})
    functions.call("Sandboxes", "Kill", {"id": session["id"]})
    seen = events_until(functions, start, lambda got: [
        e for e in got if e["kind"] == "SESSION_ENDED"])
    ids = {e["instance_id"] for e in seen if e["kind"].startswith("SESSION_")}
    assert ids == {session["id"]}


def test_a_reader_waits_for_the_next(functions):
    start = position(functions)
    with functions.client() as reader:
        reader.send(SERVICE, "RecentEvents", {**start, "wait_ms": 60000})
        functions.deploy("news", {"app.py": APP})
        try:
            got = []
            while "news" not in got:  # others' instances may be on their way out
                _, _, body = reader.receive()
                answer = reader.answer("RecentEventsResponse", body)
                got = [e["function"] for e in answer["events"]]
                assert got, "nothing within a minute"
                start = {"epoch": answer["epoch"], "after_sequence": answer["last_sequence"]}
                reader.send(SERVICE, "RecentEvents", {**start, "wait_ms": 60000})
        finally:
            functions.remove_function("news")
    quiet = events(functions, **position(functions), wait_ms=50)
    assert quiet["events"] == [] or quiet["last_sequence"] > start["after_sequence"]


def test_numbers_of_another_run(functions):
    known = position(functions)
    again = events(functions, epoch="0123456789ab", after_sequence=10**18)
    assert again["restarted"] and again["events"] and again["epoch"] == known["epoch"]
    error = functions.error_of(SERVICE, "RecentEvents", {**known, "after_sequence": 10**18})
    assert error.code == 3 and "the last event's is" in error.message
    error = functions.error_of(SERVICE, "RecentEvents", {"after_sequence": 5})
    assert error.code == 3 and error.message.startswith("epoch: empty")


def test_a_reader_that_does_not_read(functions):
    """Thousands of answers for somebody who takes none: others are served, and nothing piles up."""
    before = functions.stats()["daemon_memory_bytes"]
    with functions.client(10) as deaf:
        try:
            for _ in range(3000):
                deaf.send(SERVICE, "RecentEvents", {})
        except OSError:
            pass  # cut off
        assert functions.result("seen", 7) == 7
        functions.deploy("beside", {"app.py": APP})
        functions.remove_function("beside")
    daemon.wait_until(lambda: functions.stats()["daemon_memory_bytes"] < before + (96 << 20),
                      what="its memory is back")


def test_readers_of_one_uid_are_bounded(functions, stranger):
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import ttrpc\n"
            "c = ttrpc.Client(sys.argv[2], 60)\n"
            "e = c.call('Observability', 'RecentEvents')\n"
            "r = {'epoch': e['epoch'], 'after_sequence': e['last_sequence'], 'wait_ms': 60000}\n"
            "for i in range(33): c.send('Observability', 'RecentEvents', r)\n"
            "try: print(c.answer('RecentEventsResponse', c.receive()[2]))\n"
            "except ttrpc.RpcError as error: print(error.code, error.message)\n")
    functions.socket.chmod(0o666)
    try:
        done = subprocess.run([*stranger, "/usr/bin/python3", "-c", code,
                               str(daemon.ROOT / "tests/e2e"), str(functions.socket)],
                              capture_output=True, text=True, timeout=60)
    finally:
        functions.socket.chmod(0o660)
    assert done.stdout.startswith("8 overloaded: uid 48213 waits"), done


# ---- who may see what ----

def test_strangers_see_the_host_and_nothing_of_functions(functions, stranger):
    functions.result("seen", 1)
    functions.socket.chmod(0o666)
    try:
        told = functions.cli("events", "--json", prefix=stranger)
        listed = [json.loads(line) for line in told.out.splitlines()]
        assert {"DAEMON_STARTED", "ZYGOTE_READY"} <= {e["kind"] for e in listed}
        assert not [e for e in listed if e["function"] or e["instance_id"]]
        assert functions.cli("trace", "seen", prefix=stranger).code == 4
        top = functions.cli("top", "--once", "-d", "100ms", "--json", prefix=stranger).json()
        assert top["rows"] == []
    finally:
        functions.socket.chmod(0o660)


def test_the_next_owner_of_a_name_sees_nothing_of_the_last(functions, stranger):
    functions.deploy("name", {"app.py": APP})
    functions.result("name", 1)
    functions.remove_function("name")
    functions.socket.chmod(0o666)
    folder = functions.directory / "theirs"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    try:
        deployed = functions.cli("function", "deploy", "name", "--runtime", "python", "--handler",
                                 "app.handler", folder, prefix=stranger)
        assert deployed.code == 0, deployed
        assert functions.cli("trace", "name", "--json", prefix=stranger).json() == []
        listed = functions.cli("events", "--function", "name", "--json", prefix=stranger)
        assert [json.loads(line)["kind"] for line in listed.out.splitlines()] == ["FUNCTION_DEPLOYED"]
    finally:
        functions.remove_function("name")
        functions.socket.chmod(0o660)


# ---- the commands ----

def on_a_terminal(spored, *args, keys=b"", seconds=60, until=None):
    """What a command writes to a terminal of its own."""
    master, slave = pty.openpty()
    process = subprocess.Popen([daemon.find_program("spore"), "--socket", str(spored.socket), *args],
                               stdin=slave, stdout=slave, stderr=slave, env={
                                   **daemon.environment(), "TERM": "xterm"}, start_new_session=True)
    os.close(slave)
    got, sent, end = b"", False, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            got += data
            if keys and not sent and (until or b"") in got:
                os.write(master, keys)
                sent = True
        return process.wait(60), got
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_trace_draws_and_exports(functions, tmp_path):
    functions.failure("once", "raise")
    functions.result("once", 1)
    drawn = functions.cli("trace", "once", "-n", 2)
    assert drawn.code == 0 and "q queue" in drawn.out
    lines = drawn.out.splitlines()
    assert len(lines) == 4 and " handler " in lines[1] and " ok " in lines[2]
    assert "h" in lines[2].split()[-1]
    assert "take sandbox" in functions.cli("trace", "once", "-n", 1, "--steps").out
    exported = tmp_path / "trace.json"
    assert functions.cli("trace", "once", "--chrome", exported).code == 0
    trace = json.loads(exported.read_text())
    slices = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {"load", "handler", "queue"} <= {e["name"] for e in slices}
    assert all(e["dur"] >= 0 and e["pid"] > 0 for e in slices)
    assert json.loads(functions.cli("trace", "once", "--chrome", "-").out)["traceEvents"]
    refused = functions.cli("trace", "once", "--chrome", "/no/such/folder/x")
    assert refused.code == 4 and "/no/such/folder/x" in refused.err
    assert functions.cli("trace", "once", "-n", "0").code == 2
    assert functions.cli("trace", "nobody").code == 4


def test_nothing_that_a_function_says_reaches_a_terminal(functions):
    functions.failure("seen", "raise")
    for command in (("trace", "seen", "--steps"), ("events", "-n", "50"), ("top", "--once", "-d", "100ms")):
        code, shown = on_a_terminal(functions, *command)
        assert code == 0 and b"\x1b[2J" not in shown and b"\x1b]0" not in shown


def test_top_in_lines_and_as_json(functions):
    stop = threading.Event()

    def load():
        while not stop.is_set():
            functions.result("seen", 1)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        text = functions.cli("top", "--once", "-d", "500ms")

        def busy():
            """Two looks; None when no call was answered between them."""
            lines = functions.cli("top", "-b", "-n", 2, "-d", "500ms", "--json").out.splitlines()
            looks = [json.loads(line) for line in lines]
            rows = [row for row in looks[-1]["rows"] if row["function"] == "seen" and row["calls_per_second"] > 0]
            return looks if rows and rows[0]["memory_bytes"] > 0 else None

        shown = daemon.wait_until(busy, what="calls are seen")
    finally:
        stop.set()
        worker.join()
    assert text.code == 0 and "FUNCTION" in text.out and "ZYGOTE" in text.out
    assert len(shown) == 2
    row = next(row for row in shown[1]["rows"] if row["function"] == "seen")
    assert row["calls_per_second"] > 0 and row["answered"] > 0
    assert 0 < row["p50_us"] <= row["p99_us"] and row["memory_bytes"] > 0
    assert [z for z in shown[1]["zygotes"] if z["image"] == "python" and z["memory_bytes"] > 0]
    assert functions.cli("top", "-d", "1ms").code == 2
    assert functions.cli("top", "--sort", "colour").code == 2


def test_top_on_a_terminal_ends_with_q_and_restores_it(functions):
    code, shown = on_a_terminal(functions, "top", "-d", "100ms", keys=b"mq", until=b"FUNCTION")
    assert code == 0
    assert shown.startswith(b"\x1b[?1049h") and shown.rstrip().endswith(b"\x1b[?1049l")


def test_top_ends_with_a_signal_while_the_daemon_hangs(functions):
    master, slave = pty.openpty()
    process = subprocess.Popen([daemon.find_program("spore"), "--socket", str(functions.socket),
                                "top", "-d", "100ms"], stdin=slave, stdout=slave, stderr=slave,
                               env=daemon.environment())
    os.close(slave)
    try:
        assert os.read(master, 65536)
        functions.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        shown = b""
        while not shown.rstrip().endswith(b"\x1b[?1049l"):
            shown += os.read(master, 65536)
    finally:
        functions.process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        os.close(master)


def test_events_are_followed(functions):
    follower = subprocess.Popen([daemon.find_program("spore"), "--socket", str(functions.socket),
                                 "events", "-f", "-n", "1", "--kind", "function-deployed", "--kind",
                                 "function-removed", "--json"], stdout=subprocess.PIPE,
                                env=daemon.environment())
    try:
        assert json.loads(follower.stdout.readline())["kind"].startswith("FUNCTION_")
        functions.deploy("followed", {"app.py": APP})
        functions.remove_function("followed")
        got = [json.loads(follower.stdout.readline()) for _ in range(2)]
        assert [(e["kind"], e["function"]) for e in got] == [
            ("FUNCTION_DEPLOYED", "followed"), ("FUNCTION_REMOVED", "followed")]
    finally:
        follower.kill()
        follower.communicate()
    assert functions.cli("events", "--kind", "nonsense").code == 2
    line = functions.cli("events", "--kind", "daemon-started").out
    assert line.count("\n") == 1 and "daemon-started" in line


def lines_until(follower, kind):
    """The kinds that it tells, up to this one."""
    told = []
    while kind not in told:
        told.append(json.loads(follower.stdout.readline())["kind"])
    return told


def test_readers_are_told_of_the_end():
    with daemon.Spored().running() as server, server.client() as reader:
        follower = subprocess.Popen([daemon.find_program("spore"), "--socket", str(server.socket),
                                     "events", "-f", "--json"], stdout=subprocess.PIPE, text=True,
                                    stderr=subprocess.PIPE, env=daemon.environment())
        try:
            lines_until(follower, "DAEMON_STARTED")
            waiting = reader.send(SERVICE, "RecentEvents", {**position(server), "wait_ms": 60000})
            asked = reader.send("System", "Info", {})
            assert reader.receive()[0] == asked  # so the other one waits
            server.stop()
            stream, _, body = reader.receive()
            assert stream == waiting
            assert kinds(reader.answer("RecentEventsResponse", body)) == ["DAEMON_STOPPING"]
            # It waits for the next daemon, and goes on with what that one tells.
            assert "gone away" in follower.stderr.readline()
            server.start()
            assert "is back" in follower.stderr.readline()
            lines_until(follower, "DAEMON_STARTED")
            server.deploy("after", {"app.py": APP})
            lines_until(follower, "FUNCTION_DEPLOYED")
        finally:
            follower.kill()
            follower.communicate()


def test_completion_of_the_commands(functions):
    def complete(*words):
        done = subprocess.run([daemon.find_program("spore"), "__complete", *words], text=True,
                              env={**daemon.environment(), "SPORE_SOCKET": str(functions.socket)},
                              capture_output=True, check=True)
        return {line.split("\t")[0] for line in done.stdout.splitlines()[:-1]}

    assert {"trace", "top", "events"} <= complete("")
    assert "seen" in complete("trace", "se")
    assert "p99" in complete("top", "--sort", "p")
    assert complete("events", "--kind", "zygote-r") == {"zygote-ready", "zygote-rotated"}
    assert "seen" in complete("events", "--function", "se")


# ---- Prometheus ----

def samples_of(text):
    """{(name, labels): value}; every family once, and the end where it belongs."""
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    samples = {}
    for line in lines[:-1]:
        if not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            name, _, labels = key.partition("{")
            assert (name, labels) not in samples
            samples[name, labels.rstrip("}")] = float(value)
    return samples


def test_metrics_have_histograms_and_causes(functions):
    with gateway.Gateway(functions).running() as server:
        server.deploy("measured", {"app.py": APP})
        try:
            for event in (1, 2, 3, "raise"):
                server.invoke("measured", event)
            status, headers, body = server.request("GET", "/metrics")
        finally:
            functions.remove_function("measured")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text")
    samples = samples_of(body.decode())
    for name in ("spore_invocation_duration_seconds", "spore_invocation_phase_seconds"):
        label = 'start="warm"' if "duration" in name else 'phase="handler"'
        buckets = [(labels.split('le="')[1].rstrip('"'), value) for (sample, labels), value
                   in samples.items() if sample == name + "_bucket" and labels.startswith(label)]
        counts = [value for _, value in buckets]
        assert counts == sorted(counts) and buckets[-1][0] == "+Inf"
        bounds = [float(bound) for bound, _ in buckets]
        assert bounds == sorted(bounds) and bounds[0] == 0.000064
        assert counts[-1] == samples[name + "_count", label] >= 3
        assert 0 < samples[name + "_sum", label] < 3600
    assert samples["spore_failures_total", 'cause="handler"'] >= 1
    assert samples["spore_events_total", 'kind="function_deployed"'] >= 1
    assert samples["spore_function_invocations_total", 'function="measured"'] == 4
    assert samples["spore_function_failures_total", 'function="measured"'] == 1
    # Of others' functions the gateway's user is told nothing.
    assert not [labels for _, labels in samples if 'function="seen"' in labels]
    assert samples["spore_zygotes_ready", 'image="python",set=""'] == 1


# ---- the journal ----

# Where journald's socket would be, in a mount namespace of its own; then a spored whose stderr is "the journal".
JOURNAL = """
import os, socket, subprocess, sys
native = sys.argv[1] == "native"
os.makedirs("/run/systemd/journal", exist_ok=True)
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if native:
    receiver.bind("/run/systemd/journal/socket")
reader, writer = os.pipe()
info = os.fstat(writer)
subprocess.run(sys.argv[2:], stderr=writer,
               env={**os.environ, "JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"})
os.close(writer)
sys.stdout.buffer.write(receiver.recv(65536) if native else os.read(reader, 65536))
"""


@pytest.mark.parametrize("way", ["native", "stream"])
def test_lines_have_priorities_in_the_journal(tmp_path, way):
    config = tmp_path / "spore.toml"
    config.write_text('sokcet = "/x\\u001b[2J"\n')
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh",
         "/usr/bin/python3", "-c", JOURNAL, way, daemon.find_program("spored"), "--config", str(config)],
        capture_output=True, env=daemon.environment(), timeout=60)
    assert done.returncode == 0, done
    if way == "stream":
        assert done.stdout.startswith(b"<3>") and b"sokcet" in done.stdout
        return
    fields = dict(line.split(b"=", 1) for line in done.stdout.splitlines() if b"=" in line)
    assert fields[b"PRIORITY"] == b"3" and fields[b"SYSLOG_IDENTIFIER"] == b"spored"
    assert b"sokcet" in fields[b"MESSAGE"] and b"\x1b" not in done.stdout
