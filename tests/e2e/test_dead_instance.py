"""An idle instance that is killed before it has read a request costs nobody that request; one that
is killed later does, because its handler may have begun."""
import json
import os
import pathlib
import re
import signal

import daemon
import pytest

CODE = "import os, time\n" \
       "def handler(e, c):\n" \
       "    open('/tmp/begun', 'w').close()\n" \
       "    time.sleep(e.get('seconds', 0))\n" \
       "    return {'context': c.client_context is not None, 'bytes': len(e.get('text', ''))}\n"


@pytest.fixture
def idle(spored, request):
    """An idle instance of a function that may have two: its id and its process."""
    name = "idle-" + re.sub(r"\W+", "-", request.node.name[5:])[:40]
    spored.deploy(name, {"app.py": CODE}, limits={"max_instances": 2, "timeout_ms": 60000})
    spored.invoke(name, {})
    found = daemon.wait_until(lambda: [i for i in spored.instances(function=name) if i["state"] == "IDLE"], what="it idles")
    assert len(found) == 1 and found[0]["pid"]
    yield name, found[0]["id"], found[0]["pid"]
    spored.remove_function(name)
    daemon.wait_until(lambda: not spored.instances(function=name), what="it is gone")


def send(client, name, event, **fields):
    return client.send("Invocations", "Invoke",
                       {"name": name, "payload": json.dumps(event).encode(), **fields})


def answer_of(client):
    return client.answer("InvokeResponse", client.receive()[2])


def stopped(pid):
    return "T (stopped)" in pathlib.Path(f"/proc/{pid}/status").read_text()


def init_of(pid):
    """The pid 1 of a process's sandbox: the only other process of its pid namespace."""
    here = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            same = os.readlink(f"/proc/{other}/ns/pid") == here
        except OSError:
            continue
        if same and int(other) != pid:
            found.append(int(other))
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("who", ["runtime", "init"])
@pytest.mark.parametrize("first", ["the request", "the death"])
def test_dead_before_the_request_is_taken(spored, idle, who, first):
    """spored stands still meanwhile, and then finds both at once."""
    name, dead, pid = idle
    victim = pid if who == "runtime" else init_of(pid)
    before = spored.stats()["invocation_errors"]
    with spored.client() as client:
        client.call("System", "Info")  # it is connected
        os.kill(spored.process.pid, signal.SIGSTOP)
        try:
            daemon.wait_until(lambda: stopped(spored.process.pid), what="spored stands still")
            if first == "the request":
                send(client, name, {})
            os.kill(victim, signal.SIGKILL)
            if first == "the death":
                send(client, name, {})
            # Nobody has waited for it, so it stays as a zombie at least until its parent has.
            daemon.wait_until(lambda: not alive(pid), what="it has ended")
        finally:
            os.kill(spored.process.pid, signal.SIGCONT)
        response = answer_of(client)
    assert response["error"] is None and response["start_kind"] == "START_KIND_FORK", response
    assert response["instance_id"] != dead
    assert spored.stats()["invocation_errors"] == before
    assert spored.death_of(dead)["cause"] in ("SIGNAL", "KILLED", "EXIT")


def alive(pid):
    try:
        return not re.search(r"^State:\s+[ZX]", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return False


@pytest.mark.parametrize("size", [10, 900_000], ids=["small", "larger than its socket"])
def test_dead_before_it_has_read_the_request(spored, idle, size):
    name, dead, pid = idle
    os.kill(pid, signal.SIGSTOP)
    daemon.wait_until(lambda: stopped(pid), what="it stands still")
    with spored.client() as client:
        send(client, name, {"text": "x" * size}, client_context=b'{"custom": {}}', log_tail=True)
        daemon.wait_until(lambda: [i for i in spored.instances(function=name)
                                   if i["id"] == dead and i["state"] == "BUSY"],
                          what="the request was handed over")
        os.kill(pid, signal.SIGKILL)
        response = answer_of(client)
    assert response["error"] is None, response
    assert json.loads(response["payload"]) == {"context": True, "bytes": size}
    assert response["instance_id"] != dead and response["start_kind"] == "START_KIND_FORK"
    logged = [line["text"] for line in spored.call("Logs", "Read", {"function": name})["lines"]]
    assert any(b"goes to another instance" in text for text in logged), logged


def test_dead_after_its_handler_began(spored, idle):
    name, dead, pid = idle
    began = pathlib.Path(f"/proc/{pid}/root/tmp/begun")
    began.unlink()
    with spored.client() as client:
        send(client, name, {"seconds": 50})
        daemon.wait_until(began.exists, what="the handler runs")
        os.kill(pid, signal.SIGKILL)
        response = answer_of(client)
    assert response["error"]["type"] == "Runtime.ExitError", response
    assert response["instance_id"] == dead
    assert len(spored.instances(function=name, include_dead=True)) == 1


def test_two_dead_ones_in_a_row(spored, idle):
    """Each that is found dead is passed over, and a request never waits in vain."""
    name, _, pid = idle
    with spored.client() as client:
        send(client, name, {"seconds": 3})
        daemon.wait_until(lambda: [i for i in spored.instances(function=name)
                                   if i["state"] == "BUSY"], what="the first is busy")
        spored.invoke(name, {})
        answer_of(client)
    idle_now = daemon.wait_until(lambda: (lambda all: all if [i["state"] for i in all] == ["IDLE", "IDLE"] else None)(
        spored.instances(function=name)), what="both idle")
    for instance in idle_now:
        os.kill(instance["pid"], signal.SIGSTOP)
        daemon.wait_until(lambda i=instance: stopped(i["pid"]), what="it stands still")
    with spored.client() as client:
        send(client, name, {})
        left = {i["id"]: i["pid"] for i in idle_now}
        while left:
            taken = daemon.wait_until(
                lambda: [i["id"] for i in spored.instances(function=name)
                         if i["id"] in left and i["state"] == "BUSY"], what="one has the request")[0]
            os.kill(left.pop(taken), signal.SIGKILL)
        response = answer_of(client)
    assert response["error"] is None, response
    assert response["instance_id"] not in {i["id"] for i in idle_now}
