"""What hostile and broken clients do to a session's proxy, and how it ends."""
import contextlib
import os
import random
import signal
import textwrap

import daemon
import pytest
import sandboxes
import ttrpc
from egress import (  # noqa: F401
    CONFIG,
    NAMED,
    allowed,
    box,
    connects,
    egress,
    far,
    log_of,
    proxies,
    raw,
    settled_proxies,
    spored,
)
from far_host import ECHO, WEB

CONNECT = b"CONNECT web.test:%d HTTP/1.1\r\nHost: x\r\n\r\n" % WEB
SOCKS_NAME = b"\x05\x01\x00" + b"\x05\x01\x00\x03\x08web.test" + WEB.to_bytes(2, "big")


def test_in_pieces(box):
    get = b"GET / HTTP/1.0\r\n\r\n"
    pieces = [p for byte in CONNECT for p in (bytes([byte]), 0.002)]
    assert b'"path": "/"' in raw(box, *pieces, get)
    assert b'"path": "/"' in raw(box, CONNECT + get)
    assert b'"path": "/"' in raw(box, *[bytes([byte]) for byte in SOCKS_NAME], 0.2, get)


def test_half_closed(spored):
    with sandboxes.sandbox(spored, network=f"egress:web.test:{ECHO}") as box:
        place = b"CONNECT web.test:%d HTTP/1.1\r\n\r\n" % ECHO
        got = raw(box, place, (b"y", 1_000_000))
        assert got.endswith(b"y" * 1000 + b"end") and got.count(b"y") == 1_000_000


@pytest.mark.parametrize("sent, answer", [pytest.param(*pair, id=str(i)) for i, pair in enumerate([
    (b"\x00\x01\x02", b"HTTP/1.1 400"),
    (b"\x16\x03\x01\x02\x00\x01\x00", b"HTTP/1.1 400"),
    (b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", b"\x00\x5b"),
    (b"get / http/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTPS://web.test/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTP://user@web.test:8080/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET http:///x HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET  HTTP://web.test/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"CONNECT web.test HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"CONNECT web.test:99999 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    (b"CONNECT web.test:80 HTTP/2\r\n\r\n", b"HTTP/1.1 400"),
    (b"CONNECT web.test:80 HTTP/1.1\r\nX\r\n\r\n", b"HTTP/1.1 200"),  # its headers are nobody's affair
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\nX\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\n folded: x\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\nA: b\nC: d\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\nA: \x00\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\r\n", b"HTTP/1.1 431"),
    (b"GET HTTP://web.test:8080/ HTTP/1.1\r\n" + b"A" * 20000, b"HTTP/1.1 431"),
    ((b"A", 3_000_000), b"HTTP/1.1 431"),
    (b"\x05\x00", b"\x05\xff"),
    (b"\x05\x01\x02", b"\x05\xff"),
    (b"\x05\x01\x00\x05\x02\x00\x01\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x07"),
    (b"\x05\x01\x00\x05\x01\x00\x09\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x08"),
    (b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x02"),
    (b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01"),
    (b"\x05\x01\x00\x05\x01\x00\x04" + b"\x00" * 15 + b"\x01\x00\x50", b"\x05\x00\x05\x02"),
    (b"\x05\x01\x00\x07\x01\x00\x01\x01\x02\x03\x04\x00\x50", b"\x05\x00\x05\x01"),
    (b"\x05\x01\x00" + b"\x05\x01\x00\x03\x09\x00eb.test\x00" + b"\x00\x50", b"\x05\x00\x05\x01"),
])])
def test_hostile_requests(spored, box, sent, answer):
    if answer == b"HTTP/1.1 200":
        sent = sent.replace(b":80 ", b":%d " % WEB)
    got = raw(box, sent)
    assert got.startswith(answer), got[:300]
    assert egress(box)["serving"] and egress(box)["restarts"] == 0


def test_rubbish_by_chance(box):
    chance = random.Random(5)
    seeds = [CONNECT, SOCKS_NAME, b"GET HTTP://web.test:8080/x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"]
    lines = []
    for _ in range(150):
        text = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text))
            text[at:at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        lines.append(bytes(text).hex())
    box.write("/tmp/rubbish", "\n".join(lines).encode())
    done = box.exec("python3", "-c", textwrap.dedent("""
        import socket
        for line in open("/tmp/rubbish"):
            s = socket.create_connection(("127.0.0.1", 3128), 120)
            s.sendall(bytes.fromhex(line))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            s.settimeout(0.02)
            try:
                s.recv(100)
            except OSError:
                pass
            s.close()"""), timeout_ms=300_000, patience=300)
    assert done["code"] == 0, done
    assert allowed(connects(box, f"web.test:{WEB}")) and egress(box)["restarts"] == 0


def test_a_slow_client_is_ended(box):
    got = raw(box, b"CONNECT web", 11, b".test")
    assert got.startswith(b"HTTP/1.1 408"), got


def test_as_many_as_may_be(spored):
    with sandboxes.sandbox(spored, network=f"egress:web.test:{ECHO}") as box:
        done = box.exec("python3", "-c", textwrap.dedent(f"""
            import socket, time
            held, said = [], []
            for i in range(130):
                s = socket.create_connection(("127.0.0.1", 3128), 120)
                s.sendall(b"CONNECT web.test:{ECHO} HTTP/1.1\\r\\n\\r\\n")
                said.append(s.recv(100).split()[1].decode())
                held.append(s)
            print(said.count("200"), said.count("503"))
            held.pop(0).close(), held.pop().close(), held.pop().close()
            end = time.monotonic() + 120
            while time.monotonic() < end:
                s = socket.create_connection(("127.0.0.1", 3128), 120)
                s.sendall(b"CONNECT web.test:{ECHO} HTTP/1.1\\r\\n\\r\\n")
                if s.recv(100).split()[1] == b"200":
                    print("again")
                    break"""), timeout_ms=300_000, patience=300)
        assert done["stdout"].split() == [b"128", b"2", b"again"], done
        daemon.wait_until(lambda: egress(box)["failed"] >= 2, what="the refused ones are counted")


def test_a_flood_of_refusals_is_not_a_flood_of_lines(spored):
    with sandboxes.sandbox(spored, network=NAMED) as box:
        done = box.exec("python3", "-c", textwrap.dedent("""
            import socket
            for i in range(1000):
                with socket.create_connection(("127.0.0.1", 3128), 120) as s:
                    s.sendall(b"CONNECT evil.test:1 HTTP/1.1\\r\\n\\r\\n")
                    assert s.recv(100).startswith(b"HTTP/1.1 403")"""), timeout_ms=300_000, patience=300)
        assert done["code"] == 0, done
        daemon.wait_until(lambda: egress(box)["refused"] == 1000)
        lines = daemon.wait_until(lambda: (lambda l: l if any("more, not logged" in t for t in l) else None)(log_of(box)))
        assert len([t for t in lines if "evil.test" in t]) < 200, len(lines)


def test_the_proxy_cannot_be_seen_or_ended_from_inside(spored):
    others = settled_proxies(spored)
    with sandboxes.sandbox(spored, network=NAMED) as box:
        assert "egress" not in box.out("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        pids = proxies(spored)
        with contextlib.suppress(ttrpc.RpcError):
            box.shell("for p in " + " ".join(map(str, pids)) + " $(seq 1 400); do [ $p = $$ ] || kill -9 $p; done")
        assert box.ended()
        daemon.wait_until(lambda: set(proxies(spored)) == others < set(pids), what="its own proxy has gone, no other")


# ---- ends ----

def test_the_proxy_is_killed(spored):
    with sandboxes.sandbox(spored, network=NAMED) as box:
        before = settled_proxies(spored)
        with sandboxes.sandbox(spored, network=NAMED) as other:
            new = set(proxies(spored)) - before
            assert len(new) == 1
            os.kill(new.pop(), signal.SIGKILL)
            daemon.wait_until(lambda: egress(other)["restarts"] == 1 and egress(other)["serving"])
            assert allowed(connects(other, f"web.test:{WEB}"))
            assert any("another one is started" in line for line in log_of(other))
            assert egress(box)["restarts"] == 0


HOLD = f"""
import socket, time
s = socket.create_connection(("127.0.0.1", 3128))
s.sendall(b"CONNECT web.test:{ECHO} HTTP/1.1\\r\\n\\r\\n")
assert b"200" in s.recv(100)
open("/tmp/held", "w").close()
time.sleep(600)
"""


def hold(box):
    box.detach("python3", "-c", HOLD)
    daemon.wait_until(lambda: egress(box)["open"] == 1, what="a connection is open")


def test_a_session_is_killed_with_open_connections(spored):
    before = settled_proxies(spored)
    with sandboxes.sandbox(spored, network=f"egress:web.test:{ECHO}") as box:
        hold(box)
        box.kill()
        daemon.wait_until(lambda: set(proxies(spored)) == before, what="its proxy has gone")


def test_paused_and_resumed(spored):
    with sandboxes.sandbox(spored, network=NAMED) as box:
        box.call("Pause")
        box.call("Resume")
        assert allowed(connects(box, f"web.test:{WEB}"))


def test_spored_is_killed(far):
    server = daemon.Spored(CONFIG)
    with server.running():
        box = sandboxes.create(server, network=f"egress:web.test:{ECHO}")
        hold(box)
        assert proxies(server)
        server.stop(signal.SIGKILL)
        daemon.wait_until(lambda: not server.tenant_processes(), what="nothing of it runs on")
        server.start()
