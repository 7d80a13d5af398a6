"""When the host's memory is short: who is ended, who stays, and that the next request is served."""
import json
import time

import daemon
import pytest

CODE = "import time\ndef handler(e, c):\n    time.sleep(e.get('seconds', 0))\n    return e\n"
SHORT = 1 << 44  # no host has so much available


@pytest.fixture
def short_of_memory(tmp_path):
    """A daemon on a host that it takes to be short of memory."""
    server = daemon.Spored({"memory-reserve": SHORT})
    (tmp_path / "app.py").write_text(CODE)
    with server.running():
        yield server


def deploy(server, name, folder, *options):
    done = server.cli("function", "deploy", name, folder, "--runtime", "python", "--handler",
                      "app.handler", "--idle-timeout", "10m", *options)
    assert done.code == 0, done


def test_idle_ones_are_ended_busy_and_reserved_ones_stay(short_of_memory, tmp_path):
    server = short_of_memory
    deploy(server, "idle", tmp_path)
    deploy(server, "kept", tmp_path, "--min-instances", "1")
    with server.client() as client:
        deploy(server, "busy", tmp_path)
        client.send("Invocations", "Invoke", {"name": "busy", "payload": b'{"seconds": 4}'})
        victim = server.invoke("idle", {})["instance_id"]
        death = server.death_of(victim)
        assert death["cause"] == "EVICTION", death
        assert "the host's memory is short" in death["message"]
        assert "to be kept free (memory-reserve)" in death["message"]
        assert server.result("idle", {"again": True}) == {"again": True}
        kept = daemon.wait_until(lambda: [i["id"] for i in server.instances(function="kept")])
        answer = client.answer("InvokeResponse", client.receive()[2])
        assert answer["error"] is None and json.loads(answer["payload"]) == {"seconds": 4}
    assert [i["id"] for i in server.instances(function="kept")] == kept
    assert "idle instances and zygotes are ended" in server.log_text()


def test_then_zygotes_that_nobody_uses(short_of_memory, tmp_path):
    server = short_of_memory
    deploy(server, "once", tmp_path)
    server.result("once", {})
    assert server.cli("zygote", "ls", "--json").json()
    daemon.wait_until(lambda: not server.cli("zygote", "ls", "--json").json(), what="it is ended")
    assert "its zygote is evicted" in server.log_text()
    assert server.result("once", {"back": 1}) == {"back": 1}


def test_nothing_is_ended_while_there_is_enough(tmp_path):
    server = daemon.Spored({"memory-reserve": 1 << 20})
    (tmp_path / "app.py").write_text(CODE)
    with server.running():
        deploy(server, "idle", tmp_path)
        first = server.invoke("idle", {})["instance_id"]
        time.sleep(6)  # the memory is looked at every five seconds
        assert server.invoke("idle", {})["instance_id"] == first


def test_more_are_made_ahead_after_a_burst(tmp_path):
    server = daemon.Spored({"ready-sandboxes": 2, "max-ready-sandboxes": 12})
    (tmp_path / "app.py").write_text(CODE)
    with server.running():
        deploy(server, "burst", tmp_path, "--isolation", "invocation")
        server.result("burst", {})
        daemon.wait_until(lambda: server.stats()["sandboxes_ready"] == 2, what="the least")
        with server.client() as client:
            for _ in range(30):
                client.send("Invocations", "Invoke", {"name": "burst", "payload": b"{}"})
            for _ in range(30):
                assert client.answer("InvokeResponse", client.receive()[2])["error"] is None
        # That it is forgotten half a minute later: tests/unit/memory_keeper_test.cc.
        daemon.wait_until(lambda: server.stats()["sandboxes_ready"] == 12, what="the most")


def test_bad_sizes():
    for value, told in (("much", "memory-reserve"), (-1, "memory-reserve"), (True, "memory-reserve")):
        server = daemon.Spored({"memory-reserve": value})
        with pytest.raises(AssertionError, match=told):
            try:
                server.start()
            finally:
                server.stop(9)
                server.remove()
