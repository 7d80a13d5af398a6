"""More work than fits: a bounded queue, clear refusals, idle instances giving way."""
import json
import pathlib

import daemon
import pytest
import ttrpc

SPORED_CONFIG = {"max-queue": 3, "max-queue-ms": 5000, "max-instances": 3}

SLEEP = "import time\ndef handler(e, c):\n    time.sleep(e or 0)\n    return e\n"


@pytest.fixture
def narrow(spored, request):
    """A function that serves one invocation at a time."""
    name = "n-" + request.node.name[5:40].replace("_", "-")
    spored.deploy(name, {"app.py": SLEEP}, limits={"max_instances": 1})
    yield name
    spored.remove_function(name)
    daemon.wait_until(lambda: not spored.instances(function=name), what="it is gone")


def send(client, name, seconds):
    return client.send("Invocations", "Invoke",
                       {"name": name, "payload": json.dumps(seconds).encode()})


def outcomes(client, streams):
    """{stream: result or RpcError}"""
    found = {}
    while len(found) < len(streams):
        stream, _, body = client.receive()
        try:
            found[stream] = json.loads(client.answer("InvokeResponse", body)["payload"])
        except ttrpc.RpcError as error:
            found[stream] = error
    return [found[stream] for stream in streams]


def test_queue_is_bounded(spored, narrow):
    before = spored.stats()["overloaded"]
    with spored.client() as client:
        first = send(client, narrow, 0.8)
        daemon.wait_until(lambda: spored.instances(function=narrow), what="the first one runs")
        rest = [send(client, narrow, 0) for _ in range(8)]
        answers = outcomes(client, [first, *rest])
    refused = [a for a in answers if isinstance(a, ttrpc.RpcError)]
    assert answers[0] == 0.8 and len(refused) == 5, answers
    for error in refused:
        assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"]
        assert error.message.startswith("throttled: ") and "3" in error.message, error.message
    assert [a for a in answers[1:] if a == 0] == [0, 0, 0]
    assert spored.stats()["overloaded"] >= before + 5


def test_waiting_is_bounded(spored, narrow):
    with spored.client() as client:
        streams = [send(client, narrow, 25), send(client, narrow, 0)]
        stream, _, body = client.receive()
        assert stream == streams[1]
        with pytest.raises(ttrpc.RpcError) as caught:
            client.answer("InvokeResponse", body)
    assert caught.value.code == ttrpc.CODES["RESOURCE_EXHAUSTED"]


def test_one_functions_queue_does_not_stop_another(spored, narrow):
    spored.deploy("other", {"app.py": SLEEP})
    with spored.client() as client:
        send(client, narrow, 1)
        send(client, narrow, 0)
        assert spored.result("other", 0) == 0
    spored.remove_function("other")


def test_idle_instances_give_way_to_others(spored):
    """The host takes three instances; a fourth function ends one that idles."""
    names = [f"idle-{i}" for i in range(4)]
    for name in names:
        spored.deploy(name, {"app.py": SLEEP})
        assert spored.result(name, 0) == 0
    assert len(spored.instances()) <= 3
    assert spored.result(names[0], 0) == 0
    dead = [i for i in spored.instances(include_dead=True) if i["state"] == "DEAD"]
    assert "EVICTION" in {spored.death_of(i["id"])["cause"] for i in dead
                          if i["function"].startswith("idle-")}
    for name in names:
        spored.remove_function(name)


def test_a_waiting_client_that_leaves_is_forgotten(spored, narrow):
    with spored.client() as client:
        send(client, narrow, 3)
        daemon.wait_until(lambda: spored.instances(function=narrow))
        waiting = spored.client()
        for _ in range(3):
            send(waiting, narrow, 0)
        daemon.wait_until(lambda: spored.stats()["queued"] == 3, what="three wait")
        waiting.close()
        daemon.wait_until(lambda: spored.stats()["queued"] == 0, what="none waits")
        assert spored.result(narrow, 0) == 0


def test_all_work_of_a_connection_ends_with_it(spored, narrow):
    """What runs and what waits of it; another connection's goes on."""
    with spored.client() as other:
        client = spored.client()
        send(client, narrow, 50)
        first = daemon.wait_until(lambda: [i["id"] for i in spored.instances(function=narrow)
                                           if i["pid"]], what="the first one runs")[0]
        send(client, narrow, 50)
        send(client, narrow, 50)
        daemon.wait_until(lambda: spored.stats()["queued"] == 2, what="two wait")
        kept = send(other, narrow, 0)
        daemon.wait_until(lambda: spored.stats()["queued"] == 3, what="three wait")
        client.close()
        assert outcomes(other, [kept]) == [0]
    assert spored.stats()["queued"] == 0
    assert spored.death_of(first)["cause"] == "KILLED"
    assert len({i["id"] for i in spored.instances(function=narrow, include_dead=True)}) == 2


def test_bytes_of_requests_are_bounded():
    """Together, whether they run or wait; refused at once, and taken again when others have ended."""
    server = daemon.Spored({"payload-memory": "4MiB"})
    try:
        server.start()
        # It goes on when the file that it makes is taken away.
        server.deploy("slow", {"app.py": "import os, time\ndef handler(e, c):\n"
                                         "    if e['wait']:\n        open('/tmp/wait', 'w').close()\n"
                                         "    while os.path.exists('/tmp/wait'):\n"
                                         "        time.sleep(0.01)\n    return len(e['text'])\n"},
                      limits={"max_instances": 1, "timeout_ms": 120000})

        def event(wait):
            return json.dumps({"wait": wait, "text": "x" * 1_900_000}).encode()

        with server.client() as client:
            streams = [client.send("Invocations", "Invoke", {"name": "slow", "payload": event(w)})
                       for w in (True, False)]
            daemon.wait_until(lambda: server.stats()["queued"] == 1, what="one runs and one waits")
            error = server.error_of("Invocations", "Invoke",
                                    {"name": "slow", "payload": event(False)})
            assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"]
            assert "payload-memory" in error.message and "try again" in error.message, error
            refused = server.cli("invoke", "slow", "--payload", "-", input=event(False))
            assert refused.code == 4 and "payload-memory" in refused.err, refused
            pid = daemon.wait_until(lambda: [i["pid"] for i in server.instances() if i["pid"]],
                                    what="its process is known")[0]
            wait = pathlib.Path(f"/proc/{pid}/root/tmp/wait")
            daemon.wait_until(wait.exists, what="its handler runs")
            wait.unlink()
            assert outcomes(client, streams) == [1_900_000, 1_900_000]
        assert json.loads(server.call("Invocations", "Invoke", {
            "name": "slow", "payload": event(False)})["payload"]) == 1_900_000
        assert server.stop() == 0
    finally:
        server.stop(9)
        server.remove()
