"""Sessions with egress in tests: a daemon, another host for them to reach, and what they say."""
import json

import daemon
import far_host
import pytest
import sandboxes
from far_host import DNS, FAR4, PRIVATE, SIX, WEB

CEILING = ["*:*", f"{PRIVATE}.0/24:*", f"[{SIX}::/64]:*", "127.0.0.1:1024-65535"]
AT = f"web.test:{WEB}"
PROXY = "HTTP://127.0.0.1:3128".lower()
NAMED = f"egress:web.test:{WEB},*.wild.test:{WEB}"
CONFIG = {"sessions": {"egress": CEILING, "name-servers": [f"{FAR4}:{DNS}"]}}
# In the session: speaks to the proxy as told, and says what came.
RAW = r"""
import json, socket, sys, time
pieces = json.load(open(sys.argv[1]))
s = socket.create_connection(("127.0.0.1", 3128), 60)
try:
    for piece in pieces:
        if isinstance(piece, (int, float)):
            time.sleep(piece)
        else:
            s.sendall(bytes.fromhex(piece[0]) * piece[1])
    s.shutdown(socket.SHUT_WR)
except OSError:
    pass
got = b""
try:
    while part := s.recv(65536):
        got += part
except OSError as error:
    got += b"[%s]" % type(error).__name__.encode()
sys.stdout.buffer.write(got)
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    with far_host.far_host(tmp_path_factory.mktemp("far")) as host:
        yield host


@pytest.fixture(scope="module")
def spored(far):
    with daemon.Spored(CONFIG).running() as server:
        yield server


@pytest.fixture(scope="module")
def box(spored):
    with sandboxes.sandbox(spored, network=NAMED, ttl_ms=600_000) as made:
        yield made


def curl(box, *args, **fields):
    return box.exec("curl", "-sS", "--max-time", "90", *args, **fields)


def connects(box, place):
    """The status line that a CONNECT gets."""
    return raw(box, b"CONNECT %s HTTP/1.1\r\n\r\n" % place.encode()).split(b"\r\n")[0].decode()


def raw(box, *pieces):
    """What comes back for these bytes, or for (bytes, so many times); a number is a pause."""
    pieces = [(p, 1) if isinstance(p, bytes) else p for p in pieces]
    box.write("/tmp/pieces", json.dumps([(p[0].hex(), p[1]) if isinstance(p, tuple) else p for p in pieces]).encode())
    done = box.exec("python3", "-c", RAW, "/tmp/pieces")
    assert done["code"] == 0, done
    return done["stdout"]


def allowed(line):
    return line.startswith("HTTP/1.1 200")


def egress(box):
    return box.inspect()["egress"]


def log_of(box):
    lines = box.call("ReadLogs")["lines"]
    return [line["text"].decode() if isinstance(line["text"], bytes) else line["text"] for line in lines]


def proxies(spored):
    return [pid for pid, name in spored.tenant_processes().items() if name == "spore-egress"]


def settled_proxies(spored):
    """Those of the sessions that live: one that has ended takes its proxy along a moment later."""
    sessions = [s for s in spored.call("Sandboxes", "List")["sessions"] if s["egress"]]
    return daemon.wait_until(lambda: (lambda found: found if len(found) == len(sessions) else None)(
        set(proxies(spored))), what="each session that lives has one proxy")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@pytest.fixture(scope="module")
def everything(spored):
    with sandboxes.sandbox(spored, network="egress:*:*", ttl_ms=600_000) as made:
        yield made
