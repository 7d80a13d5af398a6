"""Schedules: each firing an event; what happens at restarts, to removed functions, to others' eyes."""
import json
import os
import pathlib
import signal
import time

import daemon
import pytest
import ttrpc

CODE = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def functions(spored):
    spored.deploy("work", {"app.py": CODE})
    return spored


@pytest.fixture
def place():
    """A daemon of the test's own."""
    with daemon.Spored({}).running() as server:
        server.deploy("work", {"app.py": CODE})
        yield server


def add(spored, **fields):
    return spored.call("Schedules", "Add", {"schedule": {"function": "work", **fields}})


def get(spored, name):
    return spored.call("Schedules", "Get", {"name": name})


def events_of(spored, name):
    return [e for e in spored.call("Async", "List", {"limit": 1000})["events"]
            if e["origin"] == f"schedule {name}"]


def fired(spored, name, times=1):
    return daemon.wait_until(lambda: (lambda s: s if s["fired"] >= times else None)(get(spored, name)),
                             what=f"schedule {name} fires {times} times")


def test_every_second(functions):
    made = add(functions, name="fast", every_ms=1000, payload=b'{"by": "schedule"}')
    assert made["next_unix_ms"] == made["created_unix_ms"] + 1000 and made["owner_uid"] == 0
    schedule = fired(functions, "fast", 2)
    assert (schedule["next_unix_ms"] - made["created_unix_ms"]) % 1000 == 0
    event = daemon.wait_until(lambda: (lambda e: e if e["state"] == "DONE" else None)(
        functions.call("Async", "Get", {"id": schedule["last_event"]})))
    assert json.loads(event["response"]) == {"by": "schedule"}
    assert event["origin"] == "schedule fast"
    functions.call("Schedules", "Remove", {"name": "fast"})
    count = len(events_of(functions, "fast"))
    time.sleep(1.3)
    assert len(events_of(functions, "fast")) == count, "it fires no more"


def test_once_and_then_it_is_gone(functions):
    add(functions, name="once", at_unix_ms=int(time.time() * 1000) + 2000)
    daemon.wait_until(lambda: events_of(functions, "once"), what="it fires")
    assert functions.error_of("Schedules", "Get", {"name": "once"}).code == ttrpc.CODES["NOT_FOUND"]
    assert len(events_of(functions, "once")) == 1


def test_cron_in_a_time_zone(functions):
    schedule = add(functions, name="dawn", cron="30 6 * * mon-fri", time_zone="Asia/Tokyo")
    moment = time.gmtime(schedule["next_unix_ms"] / 1000)
    assert (moment.tm_hour, moment.tm_min) == (21, 30) and moment.tm_wday in (6, 0, 1, 2, 3)
    assert schedule["next_unix_ms"] > time.time() * 1000


def test_paused_and_resumed(functions):
    add(functions, name="halting", every_ms=1000, paused=True)
    assert get(functions, "halting")["next_unix_ms"] == 0
    time.sleep(1.2)
    assert events_of(functions, "halting") == []
    now = time.time() * 1000
    resumed = functions.call("Schedules", "SetPaused", {"name": "halting", "paused": False})
    assert resumed["next_unix_ms"] > now - 100
    fired(functions, "halting")
    paused = functions.call("Schedules", "SetPaused", {"name": "halting", "paused": True})
    assert paused["next_unix_ms"] == 0 and paused["fired"] >= 1
    functions.call("Schedules", "Remove", {"name": "halting"})


@pytest.mark.parametrize("fields,code,word", [
    ({"function": "nobody", "every_ms": 5000}, "NOT_FOUND", "nobody"),
    ({"name": "a b", "every_ms": 5000}, "INVALID_ARGUMENT", "name"),
    ({}, "INVALID_ARGUMENT", "0 of cron"),
    ({"every_ms": 5000, "cron": "* * * * *"}, "INVALID_ARGUMENT", "2 of cron"),
    ({"every_ms": 999}, "INVALID_ARGUMENT", "every_ms: 999"),
    ({"every_ms": 1 << 63}, "INVALID_ARGUMENT", "every_ms"),
    ({"at_unix_ms": 1}, "INVALID_ARGUMENT", "at_unix_ms: 1 is in the past"),
    ({"cron": "61 * * * *"}, "INVALID_ARGUMENT", 'minute "61"'),
    ({"cron": "0 0 30 2 *"}, "INVALID_ARGUMENT", "never"),
    ({"cron": "@daily", "time_zone": "../../../etc/passwd"}, "INVALID_ARGUMENT", "time_zone"),
    ({"cron": "@daily", "time_zone": "Mars/Base"}, "INVALID_ARGUMENT", "Mars/Base"),
    ({"every_ms": 5000, "time_zone": "UTC"}, "INVALID_ARGUMENT", "without cron"),
    ({"every_ms": 5000, "payload": b"{"}, "INVALID_ARGUMENT", "payload: not JSON"),
    ({"every_ms": 5000, "payload": b'"' + b"x" * (256 << 10) + b'"'}, "INVALID_ARGUMENT", "payload"),
])
def test_a_bad_schedule_is_refused(functions, fields, code, word):
    error = functions.error_of("Schedules", "Add", {"schedule": {
        "function": "work", "name": "bad", **fields}})
    assert error.code == ttrpc.CODES[code] and word in error.message, error
    assert functions.error_of("Schedules", "Get", {"name": "bad"}).code == ttrpc.CODES["NOT_FOUND"]


def test_a_name_is_used_once(functions):
    add(functions, name="taken", cron="@daily")
    error = functions.error_of("Schedules", "Add", {"schedule": {
        "function": "work", "name": "taken", "cron": "@daily"}})
    assert error.code == ttrpc.CODES["ALREADY_EXISTS"]


def test_a_removed_function_is_told_and_no_end(functions):
    functions.deploy("brief", {"app.py": CODE})
    functions.call("Schedules", "Add", {"schedule": {"function": "brief", "every_ms": 1000}})
    fired(functions, "brief")
    functions.remove_function("brief")
    schedule = daemon.wait_until(lambda: (lambda s: s if s["last_error"] else None)(
        get(functions, "brief")), what="a firing without function")
    assert schedule["last_error"] == 'no function "brief"' and schedule["next_unix_ms"] > 0
    assert functions.call("Async", "Stats")["misfired"] >= 1
    functions.deploy("brief", {"app.py": CODE})
    count = schedule["fired"]
    assert fired(functions, "brief", count + 1)["last_error"] == ""
    functions.call("Schedules", "Remove", {"name": "brief"})


def test_what_was_missed_is_made_up_for_once(place):
    add(place, name="often", every_ms=1000)
    began = time.monotonic()
    before = fired(place, "often")
    place.stop(signal.SIGKILL)
    time.sleep(3.5)
    place.start()
    after = fired(place, "often", before["fired"] + 1)
    # Three at least were missed, and one has stood in for them.
    assert after["fired"] <= before["fired"] + int(time.monotonic() - began) + 1 - 2
    place.call("Schedules", "SetPaused", {"name": "often", "paused": True})
    count = get(place, "often")["fired"]
    events = events_of(place, "often")
    assert len(events) == count and len({e["id"] for e in events}) == count
    place.stop()
    time.sleep(1.5)
    place.start()
    time.sleep(0.5)
    assert get(place, "often")["fired"] == count, "a paused one has nothing to make up for"


@pytest.mark.parametrize("point", ["async-accept-commit", "async-accept-committed"])
def test_kill_9_neither_loses_nor_doubles_a_firing(place, point):
    add(place, name="one", at_unix_ms=int(time.time() * 1000) + 60000)
    place.call("Schedules", "Remove", {"name": "one"})
    place.stop()
    place.start({"SPORE_FAULT": f"{point}:kill"})
    add(place, name="one", at_unix_ms=int(time.time() * 1000) + 3000)
    assert place.process.wait(60) == -signal.SIGKILL
    place.start()
    daemon.wait_until(lambda: [e["state"] for e in events_of(place, "one")] == ["DONE"])
    assert place.call("Schedules", "List")["schedules"] == []


def test_the_command(functions):
    done = functions.cli("schedule", "add", "work", "--cron", "0 3 * * *", "--time-zone",
                         "Europe/Berlin", "--payload", '{"x": 1}', "--name", "nightly")
    assert done.out == "nightly\n", done
    assert "Europe/Berlin" in functions.cli("schedule", "ls").out
    shown = functions.cli("schedule", "show", "nightly")
    assert '{"x": 1}' in shown.out and "0 3 * * *" in shown.out
    assert functions.cli("schedule", "pause", "nightly").out == "nightly\n"
    assert functions.cli("schedule", "show", "nightly", "--json").json()["paused"] is True
    assert functions.cli("schedule", "resume", "nightly").code == 0
    assert functions.cli("schedule", "add", "work", "--every", "soon").code == 2
    assert functions.cli("schedule", "add", "work", "--at", "tomorrow").code == 2
    assert functions.cli("schedule", "add", "work", "--every", "5m", "--cron", "@daily").code == 2
    assert functions.cli("schedule", "add", "work", "--at", "2999-01-01T00:00:00Z", "--name",
                         "far").code == 0
    assert functions.cli("schedule", "rm", "nightly", "far").code == 0
    assert functions.cli("schedule", "rm", "nightly").code == 4


AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def test_others_do_not_see_them(functions):
    os.chmod(functions.socket, 0o666)
    folder = pathlib.Path(daemon.tempfile.mkdtemp(prefix="spore-e2e-schedules-"))
    try:
        folder.chmod(0o755)
        (folder / "app.py").write_text(CODE)
        as_nobody = lambda *args: functions.cli(*args, prefix=AS_NOBODY)  # noqa: E731
        assert as_nobody("function", "deploy", "theirs", "--runtime", "python", "--handler",
                         "app.handler", folder).code == 0
        add(functions, name="roots", cron="@daily")
        assert as_nobody("schedule", "add", "theirs", "--cron", "@daily").code == 0
        assert [s["name"] for s in as_nobody("schedule", "ls", "--json").json()] == ["theirs"]
        assert get(functions, "theirs")["owner_uid"] == 65534
        for command in ("show", "rm", "pause"):
            done = as_nobody("schedule", command, "roots")
            assert done.code == 4 and 'no schedule "roots"' in done.err
        assert as_nobody("schedule", "add", "work", "--cron", "@daily", "--name", "x").code == 4
        assert functions.cli("schedule", "rm", "theirs", "roots").code == 0
    finally:
        daemon.shutil.rmtree(folder)


def test_a_client_has_so_many_at_most():
    with daemon.Spored({"async": {"client-schedules": 1}}).running() as server:
        os.chmod(server.socket, 0o666)
        folder = pathlib.Path(daemon.tempfile.mkdtemp(prefix="spore-e2e-schedules-"))
        try:
            folder.chmod(0o755)
            (folder / "app.py").write_text(CODE)
            as_nobody = lambda *args: server.cli(*args, prefix=AS_NOBODY)  # noqa: E731
            as_nobody("function", "deploy", "theirs", "--runtime", "python", "--handler",
                      "app.handler", folder)
            assert as_nobody("schedule", "add", "theirs", "--cron", "@daily").code == 0
            done = as_nobody("schedule", "add", "theirs", "--cron", "@daily", "--name", "b")
            assert done.code == 4 and "async.client-schedules" in done.err
        finally:
            daemon.shutil.rmtree(folder)
