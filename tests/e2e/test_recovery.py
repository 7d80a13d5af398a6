"""Whatever is killed, nothing is left behind and no deployed function is lost."""
import os
import signal
import subprocess
import time

import daemon
import pytest

SLEEPY = "import os, time\ndef handler(e, c):\n    if e:\n        open('/tmp/begun', 'w').close()\n" \
         "    time.sleep(e or 0)\n    return os.getpid()\n"


@pytest.fixture
def server():
    """A daemon of the test's own, with a function, checked for residue in the end."""
    # Of one size, whatever is asked at once: some tests count what is there.
    with daemon.Spored({"max-ready-sandboxes": 8}).running() as spored:
        spored.deploy("sleepy", {"app.py": SLEEPY}, limits={"timeout_ms": 60000})
        assert spored.result("sleepy") == 2
        yield spored


def image(spored):
    return next(i for i in spored.call("System", "Info")["images"] if i["zygote_pid"])


def parent_of(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])


def busy(spored):
    """An instance whose handler has begun: one that ends before costs its caller nothing."""
    return daemon.wait_until(lambda: [i for i in spored.instances()
                                      if i["state"] == "BUSY" and i["pid"]
                                      and os.path.exists(f"/proc/{i['pid']}/root/tmp/begun")],
                             what="an invocation runs")[0]


def call_in_progress(client, seconds=50):
    client.send("Invocations", "Invoke", {"name": "sleepy", "payload": str(seconds).encode()})


def answer_of(client):
    return client.answer("InvokeResponse", client.receive()[2])


def test_kill_9_of_the_daemon_ends_everything(server):
    client = server.client()
    call_in_progress(client)
    busy(server)
    tenants = server.tenant_processes()
    assert len(tenants) >= 3
    server.stop(signal.SIGKILL)
    daemon.wait_until(lambda: not server.tenant_processes(),
                      what="no process outlives a killed daemon")
    client.close()
    server.start()
    assert server.result("sleepy") == 2


def test_restart_after_kill_9_clears_cgroups_and_mounts(server):
    server.stop(signal.SIGKILL)
    assert daemon.cgroups_named(server.cgroup)
    server.start()
    assert server.result("sleepy") == 2
    # The residue check at the end of the fixture is the proof: one clean stop leaves nothing.


def test_orderly_stop_and_restart_keep_functions(server):
    server.call("Functions", "Update", {
        "name": "sleepy", "settings": {"limits": {"pids": 33}}, "keep_environment": True})
    before = server.call("Functions", "Get", {"name": "sleepy"})
    assert server.stop() == 0
    daemon.wait_until(lambda: not server.residue(), what=f"nothing is left: {server.residue()}")
    server.start()
    after = server.call("Functions", "Get", {"name": "sleepy"})
    assert {**after, "instances": 0} == {**before, "instances": 0}
    assert server.result("sleepy") == 2


def test_repeated_kills_while_deploying_never_leave_half_a_function(server):
    for round_number in range(5):
        names = [f"f{round_number}-{i}" for i in range(4)]
        code = f"def handler(e, c):\n    return {round_number}\n"
        with server.client() as client:
            for name in names:
                descriptor = daemon.ttrpc.sealed_memfd(daemon.make_zip(
                    {"app.py": code, "ballast": os.urandom(300_000)}))
                client.send("Functions", "Deploy", {"name": name, "settings": {
                    "runtime": "python", "handler": "app.handler"}}, [descriptor])
                os.close(descriptor)
            time.sleep(0.004 * round_number)
            server.stop(signal.SIGKILL)
        server.start()
        present = [f["name"] for f in server.call("Functions", "List")["functions"]]
        for name in names:
            if name in present:
                assert server.result(name) == round_number
        assert "sleepy" in present
        assert not list((server.state / "staging").iterdir())


def test_answered_deploys_survive_kill_9(server):
    server.deploy("kept", {"app.py": "def handler(e, c):\n    return 'kept'\n"})
    server.stop(signal.SIGKILL)
    server.start()
    assert server.result("kept") == "kept"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
def test_kill_of_the_zygote(server, number):
    pid = image(server)["zygote_pid"]
    server.deploy("fresh", {"app.py": SLEEPY}, isolation="ISOLATION_INVOCATION")
    os.kill(pid, number)
    daemon.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="the zygote is gone")
    daemon.wait_until(lambda: answered(server, "fresh"), what="a new zygote serves")
    assert image(server)["zygote_pid"] != pid
    assert answered(server)


def answered(server, name="sleepy"):
    """Whether the function answers; a refusal is no answer yet."""
    try:
        response = server.invoke(name)
    except daemon.ttrpc.RpcError:
        return False
    return response["result"] == 2


def test_kill_of_the_supervisor(server):
    pid = parent_of(image(server)["zygote_pid"])
    assert open(f"/proc/{pid}/comm").read().startswith("spore")
    with server.client() as client:
        call_in_progress(client)
        busy(server)
        os.kill(pid, signal.SIGKILL)
        error = answer_of(client)["error"]
    assert error["type"] == "Runtime.ExitError"
    assert error["death"]["cause"] in ("DAEMON", "SIGNAL", "KILLED"), error
    daemon.wait_until(lambda: answered(server), what="a new supervisor serves")


def test_kill_of_an_instance(server):
    with server.client() as client:
        call_in_progress(client)
        instance = busy(server)
        os.kill(instance["pid"], signal.SIGKILL)
        error = answer_of(client)["error"]
    assert error["type"] == "Runtime.ExitError"
    assert error["death"]["cause"] == "SIGNAL" and error["death"]["signal"] == 9
    assert server.result("sleepy") == 2


def test_kill_of_a_sandboxs_init(server):
    with server.client() as client:
        call_in_progress(client)
        instance = busy(server)
        group = next(open(f"{path}/cgroup.procs").read().split() for path in instance["cgroups"])
        inits = [int(p) for p in group if int(p) != instance["pid"]]
        assert len(inits) == 1, group
        os.kill(inits[0], signal.SIGKILL)
        error = answer_of(client)["error"]
    assert error["type"] == "Runtime.ExitError", error
    daemon.wait_until(lambda: not os.path.exists(f"/proc/{instance['pid']}"), what="all is gone")
    assert server.result("sleepy") == 2


def test_kill_of_an_idle_instance(server):
    instance = server.instances(function="sleepy")[0]
    os.kill(instance["pid"], signal.SIGKILL)
    daemon.wait_until(lambda: answered(server), what="another instance serves")
    daemon.wait_until(lambda: instance["id"] not in [i["id"] for i in server.instances()])


def test_stopped_instance_is_ended_by_its_deadline(server):
    server.deploy("short", {"app.py": SLEEPY}, limits={"timeout_ms": 4000})
    with server.client() as client:
        client.send("Invocations", "Invoke", {"name": "short", "payload": b"30"})
        os.kill(busy(server)["pid"], signal.SIGSTOP)
        error = answer_of(client)["error"]
    assert error["type"] == "Sandbox.Timedout" and error["death"]["cause"] == "TIMEOUT"


def test_cgroups_of_ended_instances_are_removed(server):
    server.deploy("fresh", {"app.py": SLEEPY}, isolation="ISOLATION_INVOCATION")
    server.result("fresh")
    paths = [p for i in server.instances(include_dead=True) if i["function"] == "fresh"
             for p in i["cgroups"]]
    daemon.wait_until(lambda: not [p for p in paths if os.path.isdir(p)], what="cgroups go")


def test_many_starts_leave_no_descriptors_or_processes(server):
    server.deploy("fresh", {"app.py": SLEEPY}, isolation="ISOLATION_INVOCATION")
    for _ in range(20):
        server.result("fresh")

    def settled():
        """A census, once none is on its way out and all that are made ahead are there."""
        first = census(server)
        time.sleep(0.5)
        whole = server.stats()["sandboxes_ready"] == 8 and not server.instances(function="fresh")
        return first if whole and census(server) == first else None

    before = daemon.wait_until(settled, what="all have settled")
    for _ in range(150):
        server.result("fresh")
    daemon.wait_until(lambda: all(now <= then + 8 for now, then in zip(settled() or [1 << 20], before)),
                      what=f"as many descriptors and processes as before: {before}")


def census(server):
    zygote = image(server)["zygote_pid"]
    pids = [server.process.pid, zygote, parent_of(zygote)]
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids] + [len(server.tenant_processes())]


def test_second_daemon_on_the_same_place_is_refused(server):
    done = subprocess.run([daemon.find_program("spored"), "--config", str(server.config)],
                          capture_output=True, text=True, timeout=60, env=daemon.environment())
    assert done.returncode != 0 and done.stderr
    assert server.result("sleepy") == 2
    assert server.socket.exists()


def test_stale_socket_is_replaced(server):
    server.stop(signal.SIGKILL)
    assert server.socket.exists()
    server.start()
    assert server.result("sleepy") == 2


@pytest.mark.parametrize("text,word", [
    ("nonsense = 3\n", "nonsense"), ("uid-base = 'x'\n", "uid-base"), ("socket = \n", "spore.toml:1"),
    ("uid-base = 5\n", "uid-base"), ("max-queue = -1\n", "max-queue"),
    ("[limits]\nmemory-bytes = 1\n", "memory-bytes"), ("socket = 'relative'\n", "socket"),
])
def test_wrong_configuration_is_refused_with_its_place(tmp_path, text, word):
    path = tmp_path / "spore.toml"
    path.write_text(text)
    done = subprocess.run([daemon.find_program("spored"), "--config", str(path), "--socket",
                           str(tmp_path / "s"), "--state", str(tmp_path / "state")],
                          capture_output=True, text=True, timeout=60, env=daemon.environment())
    assert done.returncode != 0 and word in done.stderr and "spore.toml" in done.stderr, done.stderr
