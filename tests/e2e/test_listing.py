"""ps, inspect, logs, stats and kill."""
import concurrent.futures
import os
import subprocess

import daemon
import pytest

TALK = '''
import os, sys, time

def handler(event, context):
    print("line from", event.get("who"))
    print("error from", event.get("who"), file=sys.stderr)
    time.sleep(event.get("sleep", 0))
    return os.getpid()
'''


@pytest.fixture
def talker(spored, request):
    name = "t-" + request.node.name[5:50].replace("_", "-")
    spored.deploy(name, {"app.py": TALK})
    return name


@pytest.fixture
def busy(spored, talker):
    """An invocation in progress, and its instance."""
    with spored.client() as client:
        client.send("Invocations", "Invoke",
                    {"name": talker, "payload": b'{"who": "busy", "sleep": 30}'})
        yield daemon.wait_until(lambda: [
            i for i in spored.instances(function=talker)
            if i["state"] == "BUSY" and i["pid"]])[0]


def test_ps(spored, busy, talker):
    text = spored.cli("ps")
    assert text.code == 0 and busy["id"] in text.out and talker in text.out
    rows = {row["id"]: row for row in spored.cli("ps", "--json").json()}
    row = rows[busy["id"]]
    assert row["function"] == talker and row["state"] == "BUSY"
    assert row["start_kind"] == "START_KIND_FORK" and row["owner_uid"] == 0
    assert busy["id"] in spored.cli("ps", "-q").out.split()


def test_inspect_by_prefix(spored, busy):
    # A runtime forked ahead takes the sandbox's uid when its work comes.
    def confined():
        now = spored.cli("inspect", busy["id"], "--json").json()
        return f"Uid:\t{now['uid']}\t" in open(f"/proc/{now['pid']}/status").read()
    daemon.wait_until(confined)
    shown = spored.cli("inspect", busy["id"][:8], "--json").json()
    assert shown["id"] == busy["id"]
    assert shown["memory_bytes"] > 0 and shown["pids"] >= 2
    assert spored.uid_base <= shown["uid"] < spored.uid_base + daemon.UIDS
    assert all(os.path.isdir(path) for path in shown["cgroups"]) and shown["cgroups"]
    status = open(f"/proc/{shown['pid']}/status").read()
    assert f"Uid:\t{shown['uid']}\t" in status
    assert busy["id"] in spored.cli("inspect", busy["id"]).out


def test_kill(spored, talker):
    with spored.client() as client:
        client.send("Invocations", "Invoke", {"name": talker, "payload": b'{"sleep": 30}'})
        instance = daemon.wait_until(lambda: [
            i for i in spored.instances(function=talker)
            if i["state"] == "BUSY" and i["pid"]])[0]
        done = spored.cli("kill", instance["id"][:10])
        assert done.code == 0 and instance["id"] in done.out
        _, _, body = client.receive()
        error = client.answer("InvokeResponse", body)["error"]
    assert error["type"] == "Runtime.ExitError" and error["death"]["cause"] == "KILLED", error
    assert spored.death_of(instance["id"])["usage"]["wall_us"] > 0
    dead = spored.call("Instances", "Inspect", {"id": instance["id"]})
    assert dead["state"] == "DEAD" and dead["pid"] == 0
    assert instance["id"] not in spored.cli("ps", "-q").out
    assert instance["id"] in spored.cli("ps", "-a", "-q").out
    assert not os.path.exists(f"/proc/{instance['pid']}")


def test_logs(spored, talker):
    response = spored.invoke(talker, {"who": "ada"})
    done = daemon.wait_until(lambda: (lambda d: d if "REPORT" in d.out else None)(
        spored.cli("logs", talker)), what="the report line")
    for word in ("line from ada", "error from ada", "START", "END", response["request_id"]):
        assert word in done.out, done
    lines = spored.call("Logs", "Read", {"function": talker})["lines"]
    streams = {line["text"]: line["stream"] for line in lines}
    assert streams[b"line from ada"] == "STDOUT" and streams[b"error from ada"] == "STDERR"
    assert {line["instance_id"] for line in lines} == {response["instance_id"]}
    tail = spored.call("Logs", "Read", {"function": talker, "tail": 1})["lines"]
    assert len(tail) == 1 and tail[0]["text"] == lines[-1]["text"]


def test_logs_cursor_goes_on_where_it_stopped(spored, talker):
    spored.invoke(talker, {"who": "one"})
    daemon.wait_until(lambda: any(b"REPORT" in line["text"] for line in spored.call(
        "Logs", "Read", {"function": talker})["lines"]))
    first = spored.call("Logs", "Read", {"function": talker})
    empty = spored.call("Logs", "Read", {"function": talker, "cursor": first["cursor"]})
    assert empty["lines"] == []
    spored.invoke(talker, {"who": "two"})
    second = spored.call("Logs", "Read",
                         {"function": talker, "cursor": first["cursor"], "wait_ms": 60000})
    texts = [line["text"] for line in second["lines"]]
    assert texts and b"line from one" not in texts


def test_following_logs(spored, talker):
    spored.invoke(talker, {"who": "before"})
    follower = subprocess.Popen(
        [daemon.find_program("spore"), "--socket", str(spored.socket), "logs", talker, "-f"],
        stdout=subprocess.PIPE, env=daemon.environment())
    try:
        seen = []
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            def read_until(word):
                for line in follower.stdout:
                    seen.append(line.decode())
                    if word in seen[-1]:
                        return True
                return False
            assert pool.submit(read_until, "line from before").result(120)
            spored.invoke(talker, {"who": "after"})
            assert pool.submit(read_until, "line from after").result(120)
    finally:
        follower.terminate()
        follower.communicate()


def test_stats_count(spored, talker):
    before = spored.stats()
    spored.invoke(talker, {})
    spored.invoke(talker, {})
    spored.cli("run", "--runtime", "python", "-", input=b"1")
    after = spored.stats()
    assert after["invocations"] == before["invocations"] + 2
    assert after["runs"] == before["runs"] + 1
    assert after["starts"]["warm"] == before["starts"].get("warm", 0) + 1
    assert after["starts"]["fork"] == before["starts"].get("fork", 0) + 2
    assert after["daemon_memory_bytes"] > 0 and after["latency_p50_us"] > 0
    assert after["functions"] >= 1 and after["instances_live"] >= 1
    shown = spored.cli("stats", "--json").json()
    assert shown["invocations"] >= after["invocations"]
    assert "Invocations" in spored.cli("stats").out


def test_images_are_listed(spored, talker):
    spored.invoke(talker, {})
    image = [i for i in spored.call("System", "Info")["images"] if i["name"] == "python"][0]
    assert image["state"] == "READY" and image["runtime"] == "python"
    assert image["runtime_version"].startswith("3.") and image["forks"] >= 1


def test_memory_of_an_idle_instance_is_small(spored, talker):
    spored.invoke(talker, {})
    instance = daemon.wait_until(lambda: [i for i in spored.instances(function=talker) if i["state"] == "IDLE"],
                                 what="it is idle")[0]
    assert instance["memory_bytes"] < 32 << 20
