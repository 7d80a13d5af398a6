"""What hostile, broken and hurried clients of the gateway get, and what others notice of it."""
import json
import resource
import socket
import time

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
CODE = """
import time
def handler(event, context):
    if event and event.get("sleep"):
        time.sleep(event["sleep"])
    return "served"
"""
INVOKE = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def served(spored):
    with gateway.Gateway(spored, **{"max-payload": 65536}).running() as server:
        server.deploy("f", {"app.py": CODE}, Timeout=60)
        yield server


@pytest.fixture(scope="module")
def hasty(spored, served):
    """One that gives nobody much time, for the tests of that."""
    limits = {"head-timeout-ms": 1500, "body-timeout-ms": 1500, "write-timeout-ms": 1500}
    with gateway.Gateway(spored, **limits).running() as server:
        yield server


@pytest.fixture(autouse=True)
def goes_on(served):
    """Whatever a client has done, the next one is served."""
    yield
    status, _, body = served.invoke("f")
    assert (status, body) == (200, "served")


def sleeping(seconds):
    body = b'{"sleep": %d}' % seconds
    return INVOKE + b"Content-Length: %d\r\n\r\n" % len(body) + body


def statuses(answer):
    return [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("request_bytes", [
    INVOKE + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"Content-Length: 4\r\nContent-Length: 49\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"Content-Length: 4, 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"Content-Length: +4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"Content-Length: 0x4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    INVOKE + b"Content-Length: 99999999999999999999\r\n\r\n" + SMUGGLED,
    INVOKE + b"Content-Length : 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"X: y\r\n Content-Length: 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"X: y\r\n\tz\r\n\r\n" + SMUGGLED,
    INVOKE + b"X: a\rContent-Length: 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"X: a\nContent-Length: 4\r\n\r\nnull" + SMUGGLED,
    INVOKE + b"X: a\x00b\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: chunked\r\n\r\n0x4\r\nnull\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: chunked\r\n\r\n4\nnull\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nnull\r\n0\r\n\r\n" + SMUGGLED,
    INVOKE + b"Host: other\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/1.1\nHost: localhost\n\n" + SMUGGLED,
    b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    b"GET /healthz\r\n\r\n" + SMUGGLED,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 4,
    b"(){}[]\r\n\r\n",
])
def test_requests_that_two_might_read_differently(served, request_bytes):
    """One refusal, then the connection is closed: what comes behind is never looked at."""
    found = statuses(served.raw(request_bytes))
    assert len(found) == 1 and found[0] in (400, 501, 505), found


def test_trailers_are_no_headers(served):
    answer = served.raw(INVOKE + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                        b"4\r\nnull\r\n0\r\nX-Amz-Invocation-Type: Nonsense\r\n\r\n")
    assert statuses(answer) == [200] and b'"served"' in answer


def test_pipelined_requests_are_answered_in_order(served):
    one = INVOKE + b"Content-Length: 4\r\n\r\nnull"
    last = INVOKE + b"Content-Length: 4\r\nConnection: close\r\n\r\nnull"
    assert statuses(served.raw(one * 5 + last)) == [200] * 6


def test_byte_by_byte(served):
    with served.connect() as client:
        for byte in INVOKE + b"Connection: close\r\nContent-Length: 4\r\n\r\nnull":
            client.sendall(bytes([byte]))
        assert statuses(client.recv(65536)) == [200]


def test_oversized(served):
    assert statuses(served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40000)) == [431]
    assert statuses(served.raw(b"GET /" + b"y" * 40000)) == [431]
    assert statuses(served.raw(b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")) == [414]
    many = b"".join(b"X%d: y\r\n" % i for i in range(150))
    assert statuses(served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")) == [431]
    status, headers, body = served.invoke("f", "x" * 70000)
    assert status == 413 and headers["x-amzn-ErrorType"] == "RequestTooLargeException"
    # Announced only: refused before a byte of it is sent.
    assert statuses(served.raw(INVOKE + b"Content-Length: 70000\r\n\r\n")) == [413]
    chunks = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    assert statuses(served.raw(INVOKE + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 5)) == [413]
    long_line = b"4;" + b"x" * 10000
    assert statuses(served.raw(INVOKE + b"Transfer-Encoding: chunked\r\n\r\n" + long_line)) == [400]


def test_expect_continue(served):
    with served.connect() as client:
        client.sendall(INVOKE + b"Expect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"null")
        assert statuses(client.recv(65536)) == [200]
    assert statuses(served.raw(INVOKE + b"Expect: miracles\r\nContent-Length: 4\r\n\r\n")) == [417]


def test_unknown_paths_methods_and_types(served):
    for method in ("GET", "BREW", "TRACE", "CONNECT"):
        status, headers, body = served.request(method, "/2015-03-31/functions/f/invocations")
        assert status == 405 and headers["Allow"] == "POST", (method, status)
    for path in ("/nothing", "/2015-03-31", "/2015-03-31/functions/f/nothing", "/fn", "/fn/",
                 "/2015-03-31/functions/%00/invocations", "/2015-03-31/functions/%zz/invocations",
                 "/2015-03-31/functions/%ff/invocations", "//", "/%2e%2e/healthz"):
        status, headers, body = served.request("POST", path)
        assert status == 404, path
    for name in ("a%2Fb", "..", "a b".replace(" ", "%20"), "x" * 200, "arn:aws:lambda"):
        assert served.request("POST", f"/2015-03-31/functions/{name}/invocations")[0] in (400, 404)
    for kind in ("multipart/form-data; boundary=x", "text/html", "application/xml", "nonsense"):
        status, headers, body = served.request("POST", "/2015-03-31/functions/f/invocations", b"null",
                                               {"Content-Type": kind})
        assert status == 415 and headers["x-amzn-ErrorType"] == "UnsupportedMediaTypeException"


@pytest.mark.parametrize("body", [
    b"", b"[]", b"null", b"{", b'{"FunctionName": 5}', b'{"FunctionName": "x", "Runtime": []}',
    b"[" * 100000, b'{"a":' * 100000, b"[" + b"0," * 400000 + b"0]", b'{"FunctionName": "\xff"}',
    b'{"FunctionName": "x", "Runtime": "python", "Handler": "a.b", "Code": {"ZipFile": "!!!!"}}',
    b'{"FunctionName": "x", "Runtime": "python", "Handler": "a.b", "Code": {"ZipFile": "UEsDBA=="}}',
    b'{"FunctionName": "x", "Runtime": "python", "Handler": "a.b", "Timeout": 1e99}',
    b'{"FunctionName": "x", "Runtime": "python", "Handler": "a.b", "Timeout": 18446744073709551615}',
])
def test_broken_descriptions(served, body):
    status, headers, answer = served.request("POST", "/2015-03-31/functions", body)
    assert status == 400, answer
    assert json.loads(answer)["Type"] == "User"


def test_slow_requests_are_ended(hasty):
    """A head or body that dribbles in is cut at its deadline, however often a byte comes."""
    for start in (b"GET /healthz HTTP/1.1\r\nX: ", INVOKE + b"Content-Length: 60000\r\n\r\n"):
        with hasty.connect() as client:
            client.sendall(start)
            client.settimeout(0.1)
            answer = b""
            for _ in range(200):
                try:
                    client.sendall(b"y")
                    piece = client.recv(65536)
                    answer += piece
                    if not piece:
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            assert statuses(answer) == [408], answer


def test_answers_that_nobody_reads(served, hasty):
    served.deploy("large", {"app.py": "def handler(e, c):\n    return 'x' * (5 << 20)\n"})
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = metric(hasty, "spore_gateway_timed_out_total")
        client.connect(("127.0.0.1", hasty.port))
        client.sendall(INVOKE.replace(b"/f/", b"/large/") + b"\r\n")
        daemon.wait_until(lambda: metric(hasty, "spore_gateway_timed_out_total") > before,
                          what="it is cut off")


def metric(served, name):
    _, _, text = served.request("GET", "/metrics")
    return int(next(line.split()[1] for line in text.decode().splitlines() if line.startswith(name + " ")))


def test_client_that_vanishes_ends_its_invocation(served, spored):
    """Its instance is killed; those of others on the same connection to spored go on."""
    with served.connect() as stays, served.connect() as goes:
        stays.sendall(sleeping(5))
        goes.sendall(sleeping(50))

        def busy():
            return [i for i in spored.instances() if i["function"] == "f" and i["state"] == "BUSY"]

        daemon.wait_until(lambda: len(busy()) == 2, what=f"both run: {spored.instances()}")
        goes.close()
        daemon.wait_until(lambda: len(busy()) == 1, what="the one whose client went is ended")
        stays.settimeout(120)
        answer = stays.recv(65536)
        assert statuses(answer) == [200], answer
    daemon.wait_until(lambda: metric(served, "spore_gateway_in_progress") == 1, what="none but the question itself")


def test_a_thousand_idle_connections(served):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    clients = []
    try:
        for _ in range(1000):
            clients.append(served.connect())
        status, _, body = served.invoke("f")
        assert (status, body) == (200, "served")
        assert metric(served, "spore_gateway_connections") >= 1000
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    daemon.wait_until(lambda: metric(served, "spore_gateway_connections") < 10, what="all are gone")


def test_no_place_left(spored):
    """Who idles makes room for who comes; when nobody idles the next is told so."""
    with gateway.Gateway(spored, **{"max-connections": 4}).running() as small:
        idle = [small.connect() for _ in range(4)]
        assert small.invoke("f")[0] == 200
        for client in idle:
            client.close()
        busy = [small.connect() for _ in range(4)]
        for client in busy:
            client.sendall(sleeping(30))
        daemon.wait_until(lambda: len([i for i in spored.instances() if i["state"] == "BUSY"]) == 4)
        assert statuses(small.raw(b"")) == [503]  # told at once, whatever it was going to ask
        for client in busy:
            client.close()
        daemon.wait_until(lambda: small_answers(small), what="there is room again")


def small_answers(server):
    try:
        return server.request("GET", "/healthz")[0] == 200
    except OSError:
        return False


def test_large_answers_are_bounded_together(spored):
    """Clients that do not read hold no more than there is room for; small answers go on."""
    with gateway.Gateway(spored, **{"max-body-memory": "8MiB"}).running() as small:
        clients = [small.connect() for _ in range(4)]
        for client in clients:
            client.sendall(INVOKE.replace(b"/f/", b"/large/") + b"\r\n")
        heads = [client.recv(100) for client in clients]
        assert 503 in {statuses(head)[0] for head in heads} and 200 in {statuses(head)[0] for head in heads}
        assert small.invoke("f")[2] == "served"
        for client in clients:
            client.close()


def test_a_refusal_without_a_body_keeps_the_connection(served):
    refused = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert statuses(served.raw(refused * 3 + last)) == [404, 404, 404, 200]


def test_time_of_a_keep_alive_client_is_its_own(hasty):
    """Between two requests it may idle for longer than one may take to arrive."""
    with hasty.connect() as client:
        for _ in range(2):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert statuses(client.recv(65536)) == [200]
            time.sleep(2)
