"""Events: accepted once durable, carried out at least once, retried, given up, told to destinations."""
import json
import os
import pathlib
import signal
import subprocess

import daemon
import pytest
import ttrpc

SPORED_CONFIG = {"async": {"keep-results": 20}}
# Fails as often as it is told, by request id: with one instance its memory tells the attempts.
CODE = """
import time
seen = {}
def handler(event, context):
    event = event or {}
    rid = context.aws_request_id
    seen[rid] = seen.get(rid, 0) + 1
    time.sleep(event.get("sleep", 0))
    if seen[rid] <= event.get("fail", 0):
        raise ValueError("attempt %d" % seen[rid])
    return {"id": rid, "attempt": seen[rid], "event": event}
log = []
def collect(event, context):
    if event != "tell":
        log.append(event)
    return log
"""


def accept(spored, name, event=None, **fields):
    return spored.call("Async", "Invoke", {
        "name": name, "payload": json.dumps(event).encode(), **fields})["id"]


def event_of(spored, identity):
    return spored.call("Async", "Get", {"id": identity})


def ended(spored, identity, state="DONE"):
    """The event, once it is in this state."""
    return daemon.wait_until(lambda: (lambda e: e if e["state"] == state else None)(
        event_of(spored, identity)), what=f"event {identity} is {state}")


def policy(spored, name, **fields):
    return spored.call("Async", "SetPolicy", {"function": name, **fields})


@pytest.fixture(scope="module")
def functions(spored):
    for name, handler in (("work", "app.handler"), ("sink", "app.collect")):
        spored.deploy(name, {"app.py": CODE}, handler, limits={"max_instances": 1, "timeout_ms": 60000})
    policy(spored, "work", backoff_ms=1)
    return spored


@pytest.fixture
def place():
    """A daemon of the test's own."""
    with daemon.Spored({"async": {}}).running() as server:
        server.deploy("work", {"app.py": CODE}, limits={"max_instances": 1})
        yield server


def test_an_event_is_carried_out_and_its_result_kept(functions):
    identity = accept(functions, "work", {"x": 1})
    event = ended(functions, identity)
    assert json.loads(event["response"]) == {"id": identity, "attempt": 1, "event": {"x": 1}}
    assert event["attempts"] == 1 and event["condition"] == "Success" and event["error"] is None
    assert event["payload"] == b"" and event["payload_bytes"] == len('{"x": 1}')


def test_client_context_and_attached_payload(functions):
    text = "x" * (2 << 20)
    descriptor = ttrpc.sealed_memfd(json.dumps({"text": text}).encode())
    try:
        identity = functions.call("Async", "Invoke", {"name": "work", "payload_attached": True},
                                  [descriptor])["id"]
    finally:
        os.close(descriptor)
    event = ended(functions, identity)
    assert event["response_bytes"] > len(text) and event["response"] == b"", "beyond 64 KiB it is not kept"


def test_retries_with_the_same_request_id(functions):
    identity = accept(functions, "work", {"fail": 2})
    event = ended(functions, identity)
    assert event["attempts"] == 3 and json.loads(event["response"])["attempt"] == 3


def test_dead_letter_retry_and_purge(functions):
    identity = accept(functions, "work", {"fail": 5})
    event = ended(functions, identity, "DEAD")
    assert event["attempts"] == 3 and event["condition"] == "RetriesExhausted"
    assert event["error"]["type"] == "ValueError" and event["error"]["message"] == "attempt 3"
    assert json.loads(event["payload"]) == {"fail": 5}
    assert "now a dead letter" in functions.cli("logs", "work").out
    revived = functions.call("Async", "Retry", {"id": identity[:13]})
    assert revived["state"] == "WAITING" and revived["attempts"] == 0
    event = ended(functions, identity)
    assert json.loads(event["response"])["attempt"] == 6
    assert functions.call("Async", "Purge", {"id": identity})["purged"] == 1
    assert functions.error_of("Async", "Get", {"id": identity}).code == ttrpc.CODES["NOT_FOUND"]


def test_what_has_ended_is_not_retried(functions):
    identity = accept(functions, "work")
    ended(functions, identity)
    error = functions.error_of("Async", "Retry", {"id": identity})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and identity in error.message


def test_destinations_get_lambdas_record(functions):
    functions.deploy("told", {"app.py": CODE}, limits={"max_instances": 1})
    policy(functions, "told", retries=1, backoff_ms=1, on_success="sink", on_failure="sink")
    good, bad = accept(functions, "told", {"n": 12345678901234567890}), accept(functions, "told", {"fail": 9})
    ended(functions, good)
    ended(functions, bad, "FAILED")
    records = daemon.wait_until(lambda: (lambda got: got if len(got) == 2 else None)(
        functions.result("sink", "tell")), what="both records come")
    by_id = {record["requestContext"]["requestId"]: record for record in records}
    assert by_id[good]["requestContext"] == {
        "requestId": good, "functionArn": "arn:aws:lambda:local:000000000000:function:told:$LATEST",
        "condition": "Success", "approximateInvokeCount": 1}
    assert by_id[good]["version"] == "1.0" and by_id[good]["timestamp"].endswith("Z")
    assert by_id[good]["requestPayload"] == {"n": 12345678901234567890}
    assert by_id[good]["responsePayload"]["attempt"] == 1
    assert by_id[good]["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert by_id[bad]["requestContext"]["condition"] == "RetriesExhausted"
    assert by_id[bad]["requestContext"]["approximateInvokeCount"] == 2
    assert by_id[bad]["responseContext"]["functionError"] == "Unhandled"
    assert by_id[bad]["responsePayload"]["errorMessage"] == "attempt 2"
    assert by_id[bad]["responsePayload"]["errorType"] == "ValueError"
    origins = {e["origin"] for e in functions.call("Async", "List", {"function": "sink"})["events"]}
    assert origins == {f"event {good}", f"event {bad}"}


def test_a_circle_of_destinations_ends(functions):
    functions.deploy("circle", {"app.py": CODE})
    policy(functions, "circle", on_success="circle")
    accept(functions, "circle")
    events = daemon.wait_until(lambda: (lambda got: got if len(got) == 9 else None)(
        functions.call("Async", "List", {"function": "circle", "states": ["DONE"]})["events"]),
        what="nine events")
    assert sorted(e["depth"] for e in events) == list(range(9))
    assert "8 events have led to this one already" in events[0]["note"]
    assert functions.call("Async", "List", {"function": "circle"})["next"] == 0


def test_given_up_without_a_trace(functions):
    functions.deploy("careless", {"app.py": CODE})
    policy(functions, "careless", retries=0, on_failure="none")
    event = ended(functions, accept(functions, "careless", {"fail": 1}), "FAILED")
    assert event["payload"] == b"" and event["condition"] == "RetriesExhausted"


def test_a_removed_destination_makes_a_dead_letter(functions):
    functions.deploy("orphan", {"app.py": CODE})
    functions.deploy("gone", {"app.py": CODE})
    policy(functions, "orphan", retries=0, on_failure="gone")
    functions.remove_function("gone")
    event = ended(functions, accept(functions, "orphan", {"fail": 1}), "DEAD")
    assert 'there is no function "gone"' in event["note"]


def test_an_event_that_is_too_old_is_given_up(functions):
    functions.deploy("busy", {"app.py": CODE}, limits={"max_instances": 1})
    policy(functions, "busy", max_age_ms=1000)
    with functions.client() as client:
        client.send("Invocations", "Invoke", {"name": "busy", "payload": b'{"sleep": 25}'})
        daemon.wait_until(lambda: [i for i in functions.instances(function="busy") if i["state"] == "BUSY"])
        event = ended(functions, accept(functions, "busy"), "DEAD")
    assert event["condition"] == "EventAgeExceeded" and event["attempts"] == 0


def test_throttled_is_later_and_no_attempt(functions):
    functions.deploy("narrow", {"app.py": CODE}, limits={"max_instances": 1})
    policy(functions, "narrow", retries=0)
    with functions.client() as client:
        client.send("Invocations", "Invoke", {"name": "narrow", "payload": b'{"sleep": 5}'})
        daemon.wait_until(lambda: [i for i in functions.instances(function="narrow") if i["state"] == "BUSY"])
        identities = [accept(functions, "narrow", {"n": n}) for n in range(5)]
        assert event_of(functions, identities[0])["state"] == "WAITING"
        assert functions.stats()["queued"] == 0, "events do not stand in the queue of those who wait"
        client.receive()
    for identity in identities:
        assert ended(functions, identity)["attempts"] == 1


def test_events_of_a_removed_function_become_dead_letters(functions):
    functions.deploy("doomed", {"app.py": CODE}, limits={"max_instances": 1})
    running = accept(functions, "doomed", {"sleep": 50})
    ended(functions, running, "RUNNING")
    waiting = accept(functions, "doomed", {"n": 2})
    error = functions.error_of("Async", "Purge", {"id": running})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"]
    functions.remove_function("doomed")
    for identity in (running, waiting):
        assert ended(functions, identity, "DEAD")["condition"] == "FunctionRemoved"
    error = functions.error_of("Async", "Retry", {"id": waiting})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and "was removed" in error.message
    functions.deploy("doomed", {"app.py": CODE})
    functions.call("Async", "Retry", {"id": waiting})
    ended(functions, waiting)


@pytest.mark.parametrize("fields,word", [
    ({"retries": 101}, "retries: 101"), ({"max_age_ms": 999}, "max_age_ms: 999"),
    ({"backoff_ms": 0}, "backoff_ms: 0"), ({"backoff_ms": 3600001}, "backoff_ms"),
])
def test_a_bad_policy_is_refused(functions, fields, word):
    before = functions.call("Async", "GetPolicy", {"function": "work"})
    error = functions.error_of("Async", "SetPolicy", {"function": "work", **fields})
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and word in error.message
    assert functions.call("Async", "GetPolicy", {"function": "work"}) == before


@pytest.mark.parametrize("method,values,code", [
    ("Invoke", {"name": "nobody"}, "NOT_FOUND"), ("Invoke", {"name": "work", "client_context": b"{"},
                                                  "INVALID_ARGUMENT"),
    ("Invoke", {"name": "work", "payload_attached": True}, "INVALID_ARGUMENT"),
    ("Get", {"id": ""}, "NOT_FOUND"), ("Get", {"id": "nothing' OR 1=1 --"}, "NOT_FOUND"),
    ("List", {"limit": 1001}, "INVALID_ARGUMENT"), ("List", {"states": [9]}, "INVALID_ARGUMENT"),
    ("Purge", {}, "INVALID_ARGUMENT"), ("Purge", {"states": ["RUNNING"]}, "INVALID_ARGUMENT"),
    ("SetPolicy", {"function": "work", "on_success": "nobody"}, "NOT_FOUND"),
    ("SetPolicy", {"function": "nobody"}, "NOT_FOUND"),
])
def test_bad_requests(functions, method, values, code):
    assert functions.error_of("Async", method, values).code == ttrpc.CODES[code]


def test_a_payload_above_the_functions_limit_is_refused(functions):
    functions.deploy("small", {"app.py": CODE}, limits={"payload_bytes": 100})
    error = functions.error_of("Async", "Invoke", {"name": "small", "payload": b'"' + b"x" * 100 + b'"'})
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and "102" in error.message


def test_results_are_bounded(functions):
    functions.deploy("many", {"app.py": CODE})
    identities = [accept(functions, "many") for _ in range(40)]
    daemon.wait_until(lambda: (lambda s: s["waiting"] + s["running"] == 0)(functions.call("Async", "Stats")),
                      what="all have ended")
    kept = functions.call("Async", "List", {"states": ["DONE", "FAILED"], "limit": 1000})["events"]
    assert 20 <= len(kept) <= 25
    assert identities[-1] in [e["id"] for e in kept]


def test_listing_pages(functions):
    functions.deploy("paged", {"app.py": CODE}, limits={"max_instances": 1})
    with functions.client() as client:
        client.send("Invocations", "Invoke", {"name": "paged", "payload": b'{"sleep": 25}'})
        daemon.wait_until(lambda: [i for i in functions.instances(function="paged") if i["state"] == "BUSY"])
        made = [accept(functions, "paged") for _ in range(7)]
        seen, before = [], 0
        while True:
            page = functions.call("Async", "List", {"function": "paged", "limit": 3, "before": before})
            seen += [e["id"] for e in page["events"]]
            before = page["next"]
            if not before:
                break
        assert seen == made[::-1]
        assert functions.call("Async", "Purge", {"function": "paged", "states": ["WAITING"]})["purged"] == 7
    assert functions.call("Async", "List", {"function": "paged"})["events"] == []


def test_the_command(functions):
    done = functions.cli("invoke", "--async", "work", "--payload", '{"fail": 9}')
    identity = done.out.strip()
    ended(functions, identity, "DEAD")
    assert f"{identity}" in functions.cli("async", "ls", "--state", "dead").out
    shown = functions.cli("async", "show", identity[:14])
    assert "RetriesExhausted" in shown.out and '{"fail": 9}' in shown.out and "ValueError" in shown.out
    assert functions.cli("async", "show", identity, "--json").json()["payload"] == '{"fail": 9}'
    assert functions.cli("async", "retry", identity).out.strip() == identity
    ended(functions, identity, "DEAD")
    assert functions.cli("async", "purge", identity).code == 0
    assert functions.cli("async", "purge").code == 2
    ended(functions, accept(functions, "work"))
    assert int(functions.cli("async", "purge", "--state", "done", "--function", "work").out) > 0
    out = functions.cli("async", "policy", "work", "--max-age", "1h").out
    assert "1h" in out or "60m" in out, out
    assert functions.cli("async", "stats", "--json").json()["accepted"] > 10
    assert functions.cli("invoke", "--async", "work", "--trace").code == 2


# ---- owners ----

AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def test_owners_see_their_own(functions, tmp_path_factory):
    os.chmod(functions.socket, 0o666)
    folder = pathlib.Path(daemon.tempfile.mkdtemp(prefix="spore-e2e-async-"))
    try:
        folder.chmod(0o755)
        (folder / "app.py").write_text(CODE)
        as_nobody = lambda *args: functions.cli(*args, prefix=AS_NOBODY)  # noqa: E731
        done = as_nobody("function", "deploy", "theirs", "--runtime", "python", "--handler",
                         "app.handler", folder)
        assert done.code == 0, done
        roots = accept(functions, "work", {"secret": 1})
        theirs = as_nobody("invoke", "--async", "theirs", "--payload", "{}").out.strip()
        ended(functions, theirs)
        ended(functions, roots)
        assert [e["id"] for e in as_nobody("async", "ls", "--json").json()] == [theirs]
        for command in (["show", roots], ["retry", roots], ["purge", roots], ["policy", "work"],
                        ["policy", "theirs", "--on-success", "sink"]):
            done = as_nobody("async", *command)
            assert done.code == 4 and "no " in done.err, done
        assert as_nobody("async", "purge", "--state", "done").out.strip() == "1"
        assert event_of(functions, roots)["state"] == "DONE"
        assert as_nobody("invoke", "--async", "work").code == 4
    finally:
        daemon.shutil.rmtree(folder)


def test_another_owner_of_the_name_gets_no_event(place):
    os.chmod(place.socket, 0o666)
    policy(place, "work", backoff_ms=3600000)
    identity = accept(place, "work", {"fail": 1, "secret": 7})
    daemon.wait_until(lambda: event_of(place, identity)["attempts"] == 1)
    place.remove_function("work")
    assert ended(place, identity, "DEAD")["condition"] == "FunctionRemoved"
    folder = pathlib.Path(daemon.tempfile.mkdtemp(prefix="spore-e2e-async-"))
    try:
        folder.chmod(0o755)
        (folder / "app.py").write_text(CODE)
        done = place.cli("function", "deploy", "work", "--runtime", "python", "--handler",
                         "app.handler", folder, prefix=AS_NOBODY)
        assert done.code == 0, done
        error = place.error_of("Async", "Retry", {"id": identity})
        assert error.code == ttrpc.CODES["FAILED_PRECONDITION"]
    finally:
        daemon.shutil.rmtree(folder)


def test_limits_of_a_client():
    with daemon.Spored({"async": {"client-events": 2, "max-events": 3}}).running() as server:
        os.chmod(server.socket, 0o666)
        server.deploy("roots", {"app.py": CODE}, limits={"max_instances": 1})
        policy(server, "roots", retries=0)
        for _ in range(3):
            ended(server, accept(server, "roots", {"fail": 1}), "DEAD")
        error = server.error_of("Async", "Invoke", {"name": "roots"})
        assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"] and "async.max-events" in error.message
        assert server.call("Async", "Stats")["refused"] == 1
        server.call("Async", "Purge", {"states": ["DEAD"]})
        ended(server, accept(server, "roots"))


# ---- whatever dies ----

POINTS = ["async-accept-commit", "async-accept-committed", "async-dispatch", "async-answered",
          "async-record-commit", "async-record-committed"]


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_loses_nothing_that_was_accepted(place, point):
    place.stop()
    place.start({"SPORE_FAULT": f"{point}:kill"})
    accepted = None
    try:
        accepted = accept(place, "work", {"n": 1})
    except (ttrpc.RpcError, OSError, EOFError):
        assert point.startswith("async-accept") or point == "async-dispatch"
    assert place.process.wait(60) == -signal.SIGKILL
    place.start()
    events = place.call("Async", "List")["events"]
    if accepted:
        assert [e["id"] for e in events] == [accepted]
    assert len(events) <= 1
    if point == "async-accept-commit":
        assert events == [], "not committed: never answered, and not there"
    for event in events:
        done = ended(place, event["id"])
        assert json.loads(done["response"])["id"] == event["id"] and done["attempts"] == 1


@pytest.mark.parametrize("point", ["async-accept-commit", "async-dispatch", "async-record-commit"])
def test_what_fails_there_is_refused_or_tried_again(place, point):
    place.stop()
    place.start({"SPORE_FAULT": f"{point}:fail"})
    if point == "async-accept-commit":
        error = place.error_of("Async", "Invoke", {"name": "work"})
        assert "not accepted" in error.message and "fault point" in error.message
        assert place.call("Async", "List")["events"] == []
        assert place.call("Async", "Stats")["bytes"] == 0
        return
    identity = accept(place, "work")
    if point == "async-record-commit":
        daemon.wait_until(lambda: "cannot be recorded" in place.log_text())
        assert event_of(place, identity)["state"] == "RUNNING"
    else:
        daemon.wait_until(lambda: place.call("Async", "Stats")["postponed"] > 1)
    place.stop()
    place.start()
    assert ended(place, identity)["attempts"] == 1


def test_repeated_kills_under_load_lose_nothing(place):
    accepted = []
    for round_number in range(4):
        with place.client() as client:
            for n in range(30):
                client.send("Async", "Invoke", {"name": "work", "payload": b'{"n": %d}' % n})
            for _ in range(10 + 5 * round_number):
                accepted.append(client.answer("AsyncInvokeResponse", client.receive()[2])["id"])
            place.stop(signal.SIGKILL)
        place.start()
    daemon.wait_until(lambda: (lambda s: s["waiting"] + s["running"] == 0)(place.call("Async", "Stats")), 180, "all have ended")
    done = {e["id"]: e for e in place.call("Async", "List", {"limit": 1000})["events"]}
    assert len(accepted) == 70 and set(accepted) <= set(done)
    assert {e["state"] for e in done.values()} == {"DONE"}


def test_an_orderly_stop_interrupts_and_does_not_count(place):
    identity = accept(place, "work", {"sleep": 20})
    ended(place, identity, "RUNNING")
    waiting = accept(place, "work", {"n": 2})
    assert place.stop() == 0
    place.start()
    ended(place, identity, "RUNNING")
    assert event_of(place, identity)["attempts"] == 0 and event_of(place, waiting)["state"] == "WAITING"


def test_policies_survive_and_go_with_their_function(place):
    policy(place, "work", retries=7)
    place.stop(signal.SIGKILL)
    place.start()
    assert place.call("Async", "GetPolicy", {"function": "work"})["retries"] == 7
    place.remove_function("work")
    place.deploy("work", {"app.py": CODE})
    assert place.call("Async", "GetPolicy", {"function": "work"})["retries"] == 2


def test_a_full_disk_refuses_and_loses_nothing():
    server = daemon.Spored({})
    folder = server.state / "async"
    server.state.mkdir(mode=0o700)
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "spore-e2e", folder], check=True)
    try:
        server.start()
        server.deploy("work", {"app.py": CODE}, limits={"max_instances": 1})
        policy(server, "work", retries=0)
        first = accept(server, "work", {"fail": 1, "text": "x" * 200_000})
        ended(server, first, "DEAD")
        sleeper = accept(server, "work", {"sleep": 5})
        ended(server, sleeper, "RUNNING")
        error = fill(server)
        assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"], error
        assert "not accepted" in error.message and "make room" in error.message
        assert server.result("work", {"n": 1})["event"] == {"n": 1}, "the others are not disturbed"
        assert event_of(server, first)["state"] == "DEAD"
        ballast = folder / "ballast"
        with open(ballast, "wb") as out, pytest.raises(OSError):
            while True:
                out.write(b"x" * 65536)
                out.flush()
        last = server.call("Async", "List", {"states": ["WAITING"], "limit": 1})["events"]
        daemon.wait_until(lambda: event_of(server, sleeper)["state"] in ("DONE", "RUNNING"))
        server.error_of("Async", "Invoke", {"name": "work"})
        ballast.unlink()
        assert ended(server, sleeper)["attempts"] == 1, "it was not carried out again"
        for event in last:
            ended(server, event["id"], "DEAD")
        server.call("Async", "Purge", {"states": ["DEAD", "FAILED", "WAITING"]})
        daemon.wait_until(lambda: server.call("Async", "Stats")["running"] == 0)
        server.call("Async", "Purge", {"states": ["DEAD", "FAILED", "DONE"]})
        ended(server, accept(server, "work"))
        server.stop()
    finally:
        server.stop(9)
        subprocess.run(["umount", folder], check=True)
    server.start()
    server.check_end()
    server.remove()


def fill(server):
    """Events until one is refused; the error."""
    payload = b'{"fail": 1, "text": "' + os.urandom(250_000).hex().encode() + b'"}'
    for _ in range(60):
        try:
            accept(server, "work", json.loads(payload))
        except ttrpc.RpcError as error:
            return error
    raise AssertionError("the disk did not fill")


@pytest.mark.parametrize("how", ["header", "middle", "not a database"])
def test_a_damaged_database_is_moved_aside(place, how):
    policy(place, "work", retries=0)
    for _ in range(20):
        accept(place, "work", {"fail": 1, "text": "x" * 5000})
    daemon.wait_until(lambda: place.call("Async", "Stats")["dead"] == 20)
    place.stop()
    path = place.state / "async/events.db"
    data = bytearray(path.read_bytes())
    if how == "header":
        data[0:100] = os.urandom(100)
    elif how == "middle":
        for page in range(4096, len(data), 4096):
            data[page:page + 64] = os.urandom(64)
    else:
        data = bytearray(b"rubbish" * 1000)
    path.write_bytes(data)
    place.start()
    assert "damaged" in place.log_text() and list((place.state / "async").glob("events.db.damaged-*"))
    assert place.call("Async", "List")["events"] == []
    ended(place, accept(place, "work"))
