"""Sandboxes that wait before they have warmed up: what a burst takes when the ready ones are gone."""
import errno
import glob
import json
import os
import pathlib
import signal

import daemon
import pytest

CODE = """
import os, time

def handler(event, context):
    return {'pid': os.getpid(), 'uid': os.getuid()}

def look(event, context):
    found = {name: os.readlink('/proc/self/ns/' + name) for name in os.listdir('/proc/self/ns')}
    found['cgroups'] = open('/proc/self/cgroup').read().split()
    found['processes'] = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    found['me'] = os.getpid()
    found['interfaces'] = [line.split(':')[0].strip() for line in open('/proc/self/net/dev').readlines()[2:]]
    found['sockets'] = len(open('/proc/self/net/unix').readlines()) - 1
    try:
        found['of init'] = open('/proc/1/net/unix').read()
    except OSError as error:
        found['of init'] = error.errno
    open('/tmp/begun', 'w').close()
    while os.path.exists('/tmp/begun'):
        time.sleep(0.02)
    return found
"""


@pytest.fixture(scope="module")
def spored(tmp_path_factory):
    server = daemon.Spored({"ready-sandboxes": 2, "max-ready-sandboxes": 2, "spare-sandboxes": 30})
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(CODE)
    with server.running():
        done = server.cli("function", "deploy", "plain", folder, "--runtime", "python", "--handler",
                          "app.handler", "--isolation", "invocation")
        assert done.code == 0, done
        done = server.cli("function", "deploy", "look", folder, "--runtime", "python", "--handler",
                          "app.look", "--isolation", "invocation")
        assert done.code == 0, done
        server.result("plain", {})
        yield server


def await_full(server, count=30):
    daemon.wait_until(lambda: server.stats()["sandboxes_spare"] == count
                      and server.stats()["sandboxes_ready"] == 2, what="all are there")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def waiting(server):
    """Processes of sandboxes that are no inits."""
    return [pid for pid, name in server.tenant_processes().items() if name.startswith("python")]


def sandbox_cgroups(server):
    """Names of those that are there in any hierarchy."""
    return {path.name for top in daemon.cgroups_named(server.cgroup) for path in map(pathlib.Path, glob.glob(f"{top}/python/s[0-9]*"))}


def complete(server):
    """Instances whose init and runtime are in all of their cgroups."""
    begun = [one for one in server.instances(function="look")
             if one["pid"] and os.path.exists(f"/proc/{one['pid']}/root/tmp/begun")]
    members = [[sorted(pathlib.Path(path, "cgroup.procs").read_text().split()) for path in one["cgroups"]]
               for one in begun]
    assert all(len(one[0]) == 2 and all(pids == one[0] for pids in one) for one in members), members
    return begun


def burst(server, count):
    """Answers of so many that are alive at once."""
    with server.client() as client:
        for _ in range(count):
            client.send("Invocations", "Invoke",
                        {"name": "look", "payload": b"{}"})
        # Each is complete before its tenant's code runs, which then waits for us.
        begun = daemon.wait_until(lambda: (lambda found: found if len(found) == count else None)(complete(server)),
                                  what="all have begun, and are whole")
        for one in begun:
            pathlib.Path(f"/proc/{one['pid']}/root/tmp/begun").unlink()
        answers = [client.answer("InvokeResponse", client.receive()[2]) for _ in range(count)]
    assert all(answer["error"] is None for answer in answers), answers
    return [json.loads(answer["payload"]) for answer in answers]


def test_all_that_are_taken_have_namespaces_and_limits_of_their_own(spored):
    await_full(spored)
    shared = {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "cgroup")
              for pid, command in spored.tenant_processes().items() if command == "spore-zygote"}
    found = burst(spored, 30)
    for name in ("net", "cgroup", "pid", "mnt", "ipc", "uts"):
        assert len({one[name] for one in found}) == 30, name
        assert shared.get(name) not in {one[name] for one in found}, name
    for one in found:
        assert all(line.endswith(":/") for line in one["cgroups"]), one
        assert one["interfaces"] == ["lo"], one
        assert one["processes"] == [one["me"]], one
        assert one["of init"] == errno.ENOENT, one
    await_full(spored)


def test_a_burst_takes_them_and_they_come_back(spored):
    await_full(spored)
    for _ in range(3):
        with spored.client() as client:
            for _ in range(30):
                client.send("Invocations", "Invoke", {"name": "plain", "payload": b"{}"})
            answers = [client.answer("InvokeResponse", client.receive()[2]) for _ in range(30)]
        assert all(answer["error"] is None for answer in answers), answers
        assert len({answer["instance_id"] for answer in answers}) == 30
        await_full(spored)
    # What has ended is put away when nobody waits, and all of it.
    daemon.wait_until(lambda: len(sandbox_cgroups(spored)) == 32, what="their cgroups have gone")


def test_what_has_ended_is_put_away_though_calls_go_on(spored):
    await_full(spored)
    for _ in range(150):
        spored.result("plain", {})
        assert len(sandbox_cgroups(spored)) < 32 + 64 + 40
    await_full(spored)
    daemon.wait_until(lambda: len(sandbox_cgroups(spored)) == 32, what="their cgroups have gone")


def test_the_place_of_the_bare_ones_ends_with_their_zygote(spored):
    await_full(spored)
    tops = daemon.cgroups_named(spored.cgroup)
    assert spored.cli("zygote", "rotate", "python").code == 0
    await_full(spored)
    # One generation's at most, in each hierarchy.
    daemon.wait_until(lambda: all(len(list(pathlib.Path(top).glob("python/bare-*"))) <= 1 for top in tops),
                      what="the old one's place has gone")


def test_each_keeps_one_descriptor_of_the_daemon(spored):
    await_full(spored)
    plain = daemon.Spored({"ready-sandboxes": 2, "max-ready-sandboxes": 2})
    with plain.running():
        plain.cli("zygote", "warm", "python")
        daemon.wait_until(lambda: plain.stats()["sandboxes_ready"] == 2)
        # What is being asked just now has some, too.
        daemon.wait_until(lambda: descriptors(spored) - descriptors(plain) <= 30 + 8, what="no more than one each")


@pytest.mark.parametrize("who", ["runtime", "init"])
def test_one_that_ends_is_replaced_and_the_next_request_is_served(spored, who):
    await_full(spored)
    before = set(spored.tenant_processes())
    names = spored.tenant_processes()
    victims = [pid for pid, name in names.items()
               if name.startswith("spore-init" if who == "init" else "python")]
    # The oldest is the zygote, or one of the ready ones; take from the middle.
    victim = sorted(victims)[len(victims) // 2]
    os.kill(victim, signal.SIGKILL)
    daemon.wait_until(lambda: not pathlib.Path(f"/proc/{victim}").exists(), what="it has ended")
    await_full(spored)
    assert set(spored.tenant_processes()) != before
    for _ in range(25):
        assert spored.result("plain", {})["uid"] > 0


def test_they_end_with_their_zygote(spored):
    await_full(spored)
    assert spored.cli("zygote", "evict", "python", "--force").code == 0
    daemon.wait_until(lambda: not waiting(spored), what="none is left")
    assert spored.result("plain", {})["uid"] > 0
    await_full(spored)
    assert spored.cli("zygote", "rotate", "python").code == 0
    await_full(spored)
    assert spored.result("plain", {})["uid"] > 0


@pytest.mark.parametrize("runtime, files, handler", [
    ("node", {"app.js": "exports.handler = async (event) => ({back: event.n});"}, "app.handler"),
    ("python", {"app.py": "def handler(e, c):\n    return {'back': e['n']}\n"}, "app.handler")],
    ids=["node", "python"])
def test_a_spare_one_serves_right_away(tmp_path, runtime, files, handler):
    server = daemon.Spored({"ready-sandboxes": 0, "max-ready-sandboxes": 0, "spare-sandboxes": 3})
    with server.running():
        server.deploy("only", files, handler, "ISOLATION_INVOCATION", runtime=runtime)
        for n in range(12):
            assert server.result("only", {"n": n}) == {"back": n}
