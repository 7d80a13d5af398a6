"""The gateway or spored dies or stops under load: who notices, and who comes back."""
import concurrent.futures
import http.client
import json
import os
import signal
import threading
import time

import daemon
import gateway
import pytest

CODE = "import time\ndef handler(e, c):\n    time.sleep((e or {}).get('sleep', 0))\n    return 'served'\n"


class Load:
    """Clients that invoke without end, each over connections of its own."""

    def __init__(self, server, clients=4):
        self.server, self.statuses, self.stopped = server, [], threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(clients)
        self.done = [self.pool.submit(self._run) for _ in range(clients)]

    def _run(self):
        while not self.stopped.is_set():
            try:
                status, headers, _ = self.server.invoke("f")
                self.statuses.append((status, headers["Retry-After"]))
            except (OSError, http.client.HTTPException):
                self.statuses.append(("refused", None))
                time.sleep(0.02)

    def since(self, mark):
        return {status for status, _ in self.statuses[mark:]}

    def stop(self):
        self.stopped.set()
        for future in self.done:
            future.result(300)
        self.pool.shutdown()


@pytest.fixture
def place():
    server = daemon.Spored(gateway.SPORED_CONFIG)
    with server.running():
        yield server


def test_gateway_killed_under_load(place):
    """spored notices a client that went: its calls are cancelled, nothing is left, another serves."""
    first = gateway.Gateway(place).start()
    load = None
    try:
        first.deploy("f", {"app.py": CODE}, Timeout=60)
        load = Load(first)
        daemon.wait_until(lambda: len(load.statuses) > 20, what="there is load")
        sleeper = threading.Thread(target=lambda: pytest.raises((OSError, http.client.HTTPException), first.invoke, "f", {"sleep": 50}))
        sleeper.start()
        daemon.wait_until(lambda: [i for i in place.instances() if i["state"] == "BUSY"])
        time.sleep(0.2)
        first.stop(signal.SIGKILL)
        sleeper.join(120)
    finally:
        first.stop(signal.SIGKILL)
        if load:
            load.stop()
    daemon.wait_until(lambda: not [i for i in place.instances() if i["state"] == "BUSY"],
                      what="its invocations have ended")
    assert place.process.poll() is None
    with gateway.Gateway(place).running() as second:
        assert second.invoke("f")[2] == "served"


def test_spored_killed_under_load_and_back(place):
    with gateway.Gateway(place).running() as server:
        server.deploy("f", {"app.py": CODE}, Timeout=60)
        load = Load(server)
        try:
            daemon.wait_until(lambda: len(load.statuses) > 20, what="there is load")
            assert load.since(0) == {200}
            place.stop(signal.SIGKILL)
            gone = len(load.statuses)
            daemon.wait_until(lambda: len(load.statuses) > gone + 20, what="there is load still")
            status, headers, body = server.invoke("f")
            assert status == 503 and headers["Retry-After"] == "1"
            assert headers["x-amzn-ErrorType"] == "ServiceUnavailableException" and body["Type"] == "Service"
            daemon.wait_until(lambda: server.request("GET", "/healthz")[0] == 503, what="it is told")
            assert b"spore_up 0\n" in server.request("GET", "/metrics")[2]
            assert load.since(gone) <= {200, 503}
            place.start()
            daemon.wait_until(lambda: server.request("GET", "/healthz")[0] == 200, what="it is back")
            back = len(load.statuses)
            daemon.wait_until(lambda: len(load.statuses) > back + 20, what="there is load again")
            assert 200 in load.since(back)
            assert server.invoke("f")[2] == "served"
        finally:
            load.stop()
        # boto3 tries again by itself what is answered with 503.
        assert all(retry == "1" for status, retry in load.statuses if status == 503)


def test_spored_that_does_not_answer_holds_up_nobody_else(place):
    """A stopped spored: calls wait, the gateway goes on with what needs none of it."""
    with gateway.Gateway(place).running() as server:
        server.deploy("f", {"app.py": CODE}, Timeout=60)
        assert server.invoke("f")[2] == "served"
        os.kill(place.process.pid, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                waiting = [pool.submit(server.invoke, "f") for _ in range(20)]
                assert server.request("GET", "/")[0] == 200
                assert server.request("GET", "/nothing")[0] == 404
                os.kill(place.process.pid, signal.SIGCONT)
                assert [future.result()[2] for future in waiting] == ["served"] * 20
        finally:
            os.kill(place.process.pid, signal.SIGCONT)


def test_sigterm_lets_requests_in_progress_end(place):
    server = gateway.Gateway(place).start()
    try:
        server.deploy("f", {"app.py": CODE}, Timeout=60)
        with concurrent.futures.ThreadPoolExecutor(1) as pool, server.connect() as idle:
            running = pool.submit(server.invoke, "f", {"sleep": 4})
            daemon.wait_until(lambda: [i for i in place.instances() if i["state"] == "BUSY"])
            server.process.terminate()
            assert running.result(120)[2] == "served"
            assert idle.recv(10) == b""
        assert server.process.wait(60) == 0
    finally:
        server.stop(signal.SIGKILL)


def test_many_at_once_are_served_or_told(place):
    """More calls than there are instances or places in the queue: nobody waits for ever."""
    with gateway.Gateway(place).running() as server:
        server.deploy("f", {"app.py": CODE}, Timeout=60)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: server.invoke("f"), range(500)))
        assert {status for status, _, _ in answers} <= {200, 429}
        assert [body for status, _, body in answers if status == 200].count("served") >= 100
        for status, headers, body in answers:
            if status == 429:
                assert headers["Retry-After"] and json.dumps(body)
