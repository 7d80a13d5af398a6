"""Sessions: made, found, paused, extended, ended by each of the causes that there are."""
import contextlib
import os

import daemon
import pytest
import sandboxes
import ttrpc


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored) as made:
        yield made


def test_it_lives_until_it_is_killed(spored, box):
    session = box.inspect()
    assert session["state"] == "RUNNING" and session["language"] == "python"
    assert session["start_kind"] in ("START_KIND_FORK", "START_KIND_COLD") and session["pid"] > 0
    assert box.out("echo hello") == "hello\n"
    listed = spored.call("Sandboxes", "List")["sessions"]
    assert [s["id"] for s in listed] == [box.id]
    death = box.kill()["death"]
    assert (death["cause"], death["message"]) == ("KILLED", "killed on request")
    assert box.inspect()["state"] == "DEAD"
    assert box.kill()["state"] == "DEAD"  # again: it is as it was
    assert spored.call("Sandboxes", "List")["sessions"] == []
    assert box.id in [s["id"] for s in spored.call("Sandboxes", "List", {"include_dead": True})["sessions"]]
    error = box.error("Exec", args=["true"], streams="KEPT")
    assert error.code == 9 and "has ended: killed on request" in error.message


def test_a_prefix_is_enough_where_it_is_unique(spored, box):
    short = sandboxes.Sandbox(spored, box.id[:8])
    assert short.inspect()["id"] == box.id
    assert spored.error_of("Sandboxes", "Inspect", {"id": ""}).code == 3
    assert spored.error_of("Sandboxes", "Inspect", {"id": "zz"}).code == 5


def test_bad_wishes_are_refused_by_name(spored):
    for fields, code, words in (
            ({"image": "nothing"}, 5, "nothing"),
            ({"ttl_ms": 5}, 3, "ttl_ms: 5"),
            ({"ttl_ms": 86_400_001}, 3, "ttl_ms"),
            ({"idle_timeout_ms": 1 << 40}, 3, "idle_timeout_ms"),
            ({"label": "a b"}, 3, "label"),
            ({"label": "x" * 65}, 3, "label"),
            ({"limits": {"pids": 40000}}, 3, "limits.pids"),
            ({"limits": {"timeout_ms": 5}}, 3, "limits.timeout_ms: 5"),
            ({"limits": {"output_bytes": 2 << 20}}, 3, "limits.output_bytes"),
            ({"environment": {"A=B": "c"}}, 3, "environment")):
        error = spored.error_of("Sandboxes", "Create", fields)
        assert (error.code, words in error.message) == (code, True), (fields, error)
    assert spored.call("Sandboxes", "List")["sessions"] == []


def test_its_time_ends_it_whoever_uses_it(spored):
    box = sandboxes.create(spored, ttl_ms=1500)
    asking = sandboxes.Asking(box, "Exec", args=["sleep", "60"], streams="KEPT")
    with contextlib.suppress(ttrpc.RpcError, AssertionError):
        while True:
            box.out("true")  # using it does not make it live longer
    death = box.ended()
    assert death["cause"] == "TIMEOUT" and "its time of 1.5 s is over" in death["message"]
    execution = asking.get()["exec"]
    assert execution["exit_code"] == 137 and "its time of 1.5 s is over" in execution["error"]


def test_extend_moves_the_end_only_away(spored):
    with sandboxes.sandbox(spored, ttl_ms=60_000) as box:
        before = box.inspect()["expires_unix_ms"]
        assert box.call("Extend", ttl_ms=1000)["expires_unix_ms"] == before
        assert box.call("Extend", ttl_ms=120_000)["expires_unix_ms"] > before
        assert box.error("Extend", ttl_ms=1).code == 3


def test_idleness_ends_it_but_not_a_call_in_progress(spored):
    box = sandboxes.create(spored, idle_timeout_ms=700)
    assert box.exec("sleep", "1.5")["code"] == 0
    box.detach("sleep", "100")  # what runs in the background is no use of it
    death = box.ended()
    assert death["cause"] == "EVICTION" and "nobody has used it for 0.7 s" in death["message"]


def test_paused_it_stands_still(spored, box):
    count = box.detach("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done")
    daemon.wait_until(lambda: b"count" in box.names("/tmp"), what="it counts")
    assert box.call("Pause")["state"] == "PAUSED"
    assert box.call("Pause")["state"] == "PAUSED"
    used = box.inspect()["cpu_us"]
    daemon.assert_stays(lambda: box.inspect()["cpu_us"] == used, 0.3, "no processor time is taken")
    error = box.error("Exec", args=["true"], streams="KEPT")
    assert error.code == 9 and "is paused" in error.message and "resume" in error.message
    assert box.call("Resume")["state"] == "RUNNING"
    daemon.wait_until(lambda: box.inspect()["cpu_us"] > used, what="it goes on")
    assert box.call("ListExecs")["execs"][0]["exec_id"] == count


def test_paused_it_can_be_killed(spored):
    box = sandboxes.create(spored)
    box.detach("sleep", "100")
    box.call("Pause")
    assert box.kill()["death"]["cause"] == "KILLED"


def test_two_share_nothing(spored):
    with sandboxes.sandbox(spored) as one, sandboxes.sandbox(spored) as two:
        one.write("/tmp/mine", b"secret")
        one.code("mine = 1")
        assert two.names("/tmp") == [] or b"mine" not in two.names("/tmp")
        assert two.code("mine")["error"]["type"] == "NameError"
        assert one.inspect()["uid"] != two.inspect()["uid"]
        assert one.value("__import__('random').random()") != two.value("__import__('random').random()")


def test_it_counts_as_an_instance():
    server = daemon.Spored({"max-instances": 2, "max-queue": 1, "max-queue-ms": 500})
    with server.running():
        boxes = [sandboxes.create(server), sandboxes.create(server)]
        error = server.error_of("Sandboxes", "Create", {})
        assert error.code == 8 and "2 instances of this host" in error.message
        boxes[0].kill()
        sandboxes.create(server).kill()


def test_stopping_the_daemon_ends_it_and_says_so():
    server = daemon.Spored()
    with server.running():
        box = sandboxes.create(server)
        asking = sandboxes.Asking(box, "Exec", args=["sleep", "100"], streams="KEPT")
        daemon.wait_until(lambda: len(box.processes()) == 2, what="it runs")
        server.stop()
        assert "spored is stopping" in asking.get()["exec"]["error"]


def test_who_did_not_make_it_does_not_see_it(spored, box, stranger):
    os.chmod(spored.socket, 0o666)
    try:
        assert box.id not in spored.cli("sandbox", "ls", "-a", "-q", prefix=stranger).out
        for command in (["inspect", box.id], ["kill", box.id], ["exec", box.id, "true"],
                        ["read", f"{box.id}:/etc/passwd"], ["pause", box.id], ["logs", box.id],
                        ["run-code", box.id, "-c", "1"], ["extend", "--ttl", "1h", box.id]):
            done = spored.cli("sandbox", *command, prefix=stranger)
            assert done.code != 0 and "no session" in done.err, done
        own = spored.cli("sandbox", "create", prefix=stranger)
        assert own.code == 0, own
        assert spored.cli("sandbox", "ls", "-q", prefix=stranger).out == own.out
        assert spored.cli("sandbox", "kill", own.out.strip(), prefix=stranger).code == 0
    finally:
        os.chmod(spored.socket, 0o660)
    assert box.out("echo there") == "there\n"


def test_logs_tell_what_became_of_it(spored):
    box = sandboxes.create(spored)
    box.code("import threading, time\n"
             "threading.Thread(target=lambda: (time.sleep(0.3), print('from behind')), daemon=True).start()")
    daemon.wait_until(lambda: "from behind" in spored.cli("sandbox", "logs", box.id).out, what="it is told")
    box.kill()
    lines = spored.cli("sandbox", "logs", box.id).out
    assert "created from image python" in lines and "ended: killed on request" in lines
