"""TLS in the gateway: real clients with a certificate authority of the tests' own, and clients that break it."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess

import daemon
import gateway
import pytest
from gateway import TOKEN

SPORED_CONFIG = gateway.SPORED_CONFIG
ECHO = "def handler(event, context):\n    return event\n"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
INVOKE = "/2015-03-31/functions/echo/invocations"
HEAD_MS = 5000


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done
    return done.stdout


class Authority:
    """A root, an authority below it, and what that one signs: NAME.pem with its chain, NAME.key."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        self.root = self._new_key("root")
        openssl("req", "-x509", "-new", "-key", self.root, "-subj", "/CN=Spore test root", "-days", 2, "-out",
                folder / "root.pem")
        self.file = str(folder / "root.pem")
        self._sign("middle", "root", "basicConstraints=critical,CA:TRUE")

    def _new_key(self, name):
        path = self.folder / f"{name}.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        path.chmod(0o600)
        return path

    def _sign(self, name, by, extension, days=2):
        key = self._new_key(name)
        request, extensions, out = (self.folder / f"{name}.{ending}" for ending in ("csr", "ext", "pem"))
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        extensions.write_text(extension + "\n")
        openssl("x509", "-req", "-in", request, "-CA", self.folder / f"{by}.pem", "-CAkey", self.folder / f"{by}.key",
                "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", out)
        return out

    def server(self, name, days=2):
        """Signed by the one in the middle, which stands behind it in the file."""
        out = self._sign(name, "middle", "subjectAltName=DNS:localhost,IP:127.0.0.1", days)
        out.write_text(out.read_text() + (self.folder / "middle.pem").read_text())
        return str(out), str(self.folder / f"{name}.key")

    def context(self):
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture(scope="module")
def authority(spored):
    return Authority(spored.directory / "authority")


@pytest.fixture(scope="module")
def served(spored, authority):
    tokens = gateway.secret_file(spored.directory / "tokens", f"{TOKEN}\n")
    keys = gateway.secret_file(spored.directory / "keys", f"{gateway.KEY} {gateway.SECRET}\n")
    certificate, key = authority.server("first")
    # What is to be read again on SIGHUP is the gateway's user's.
    shutil.chown(key, gateway.USER)
    with gateway.Gateway(spored, **{"token-file": tokens, "key-file": keys, "tls-certificate": certificate, "tls-key": key,
                                    "head-timeout-ms": HEAD_MS}).running() as server:
        with connection(server, authority) as client:
            body = {"FunctionName": "echo", "Runtime": "python3.11", "Handler": "app.handler",
                    "Code": {"ZipFile": gateway.base64.b64encode(daemon.make_zip({"app.py": ECHO})).decode()}}
            client.request("POST", "/2015-03-31/functions", json.dumps(body), BEARER)
            assert client.getresponse().read()
        yield server
        assert TOKEN not in server.log_text()


@contextlib.contextmanager
def connection(server, authority):
    client = http.client.HTTPSConnection("localhost", server.port, context=authority.context(), timeout=180)
    try:
        yield client
    finally:
        client.close()


def ask(client, method, path, body=None, headers=BEARER):
    client.request(method, path, body, headers)
    response = client.getresponse()
    return response.status, response.read()


def serves(server, authority):
    with connection(server, authority) as client:
        return ask(client, "POST", INVOKE, b"5") == (200, b"5")


def curl(server, authority, *arguments, path=INVOKE):
    return subprocess.run(["curl", "-sS", "--noproxy", "*", *arguments, f"https://localhost:{server.port}{path}"],
                          capture_output=True, text=True, timeout=180)


def test_curl(served, authority):
    done = curl(served, authority, "--cacert", authority.file, "-H", f"Authorization: Bearer {TOKEN}", "-d", '"hi"')
    assert (done.returncode, done.stdout) == (0, '"hi"'), done
    assert curl(served, authority, "-d", "1").returncode == 60  # nobody whom it trusts has signed that
    done = curl(served, authority, "--cacert", authority.file, "-d", "1")
    assert "MissingAuthenticationToken" in done.stdout or "Missing Authentication" in done.stdout, done


def test_boto3(served, authority):
    import boto3
    from botocore.config import Config
    client = boto3.session.Session().client(
        "lambda", endpoint_url=f"https://localhost:{served.port}", region_name="us-east-1", verify=authority.file,
        aws_access_key_id=gateway.KEY, aws_secret_access_key=gateway.SECRET, config=Config(proxies={}))
    done = client.invoke(FunctionName="echo", Payload=b'{"a": 1}')
    assert json.loads(done["Payload"].read()) == {"a": 1}
    assert client.list_functions()["Functions"][0]["FunctionName"] == "echo"


def test_large_bodies_and_many_requests(served, authority):
    """More than a record and than the socket's buffers, both ways; then small ones over the same connection."""
    large = json.dumps("x" * (5 << 20)).encode()
    with connection(served, authority) as client:
        assert ask(client, "POST", INVOKE, large) == (200, large)
        for number in range(50):
            assert ask(client, "POST", INVOKE, b"%d" % number) == (200, b"%d" % number)


def test_two_requests_in_one_record(served, authority):
    with socket.create_connection(("127.0.0.1", served.port), 60) as plain:
        with authority.context().wrap_socket(plain, server_hostname="localhost") as client:
            one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
            client.sendall((one + "\r\n" + one + "Connection: close\r\n\r\n").encode())
            answer = b""
            while piece := client.recv(65536):  # until the gateway says that there is no more
                answer += piece
    assert answer.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it is the old version that is refused
def test_what_is_agreed_on(served, authority):
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", served.port), 60) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            assert client.selected_alpn_protocol() == "http/1.1"
            assert client.version() in ("TLSv1.2", "TLSv1.3")
    context = authority.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.port), 60) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_who_speaks_no_tls(served, authority):
    answer = served.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"speaks TLS" in answer
    for nonsense in (b"\0" * 300, b"\x16\x03\x01\xff\xff" + b"A" * 70000, os.urandom(5000)):
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in served.raw(nonsense)
    assert serves(served, authority)
    with connection(served, authority) as client:
        metrics = ask(client, "GET", "/metrics")[1].decode()
    assert int(re.search(r"^spore_gateway_tls_failed_total (\d+)", metrics, re.M)[1]) >= 2


def test_handshakes_that_do_not_end(served, authority):
    """They take nobody's turn, and end when a request's head would have had to be there."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of one, as a client sends it
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(40)]
        for client in clients[20:]:
            client.sendall(hello)
        assert serves(served, authority)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                assert client.recv(100) == b""
    assert serves(served, authority)


def test_a_client_that_vanishes(served, authority):
    for how in ("before its request", "in its request", "before the answer"):
        plain = socket.create_connection(("127.0.0.1", served.port), 60)
        client = authority.context().wrap_socket(plain, server_hostname="localhost")
        if how != "before its request":
            client.sendall(b"POST " + INVOKE.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                           + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode() + b'"123')
        if how == "before the answer":
            client.sendall(b'4567"')
        client.close()  # without a word of TLS
        assert serves(served, authority)


def serial(server, authority):
    with socket.create_connection(("127.0.0.1", server.port), 60) as plain:
        with authority.context().wrap_socket(plain, server_hostname="localhost") as client:
            return client.getpeercert()["serialNumber"]


def hang_up(server, said):
    before = server.log_text().count("SIGHUP")
    server.process.send_signal(signal.SIGHUP)
    daemon.wait_until(lambda: server.log_text().count("SIGHUP") > before, what="it has been read again")
    assert said in server.log_text().splitlines()[-1]


def test_a_renewed_certificate(served, authority):
    """SIGHUP: new connections get it, old ones go on; what cannot be used changes nothing."""
    files = [authority.folder / name for name in ("first.pem", "first.key")]
    new = authority.server("renewed")
    first = serial(served, authority)
    with connection(served, authority) as client:
        assert ask(client, "GET", "/healthz")[0] == 200
        for source, target in zip(new, files):
            target.write_bytes(open(source, "rb").read())
        hang_up(served, "good until")
        assert ask(client, "GET", "/healthz")[0] == 200
    second = serial(served, authority)
    assert second != first
    files[1].write_text("nothing")
    hang_up(served, "stays as it is")
    assert serial(served, authority) == second and serves(served, authority)


def test_files_that_cannot_be_used(spored, authority):
    certificate, key = authority.server("good")
    _, other = authority.server("other")
    folder = authority.folder
    encrypted, empty, broken, private, open_key = (
        folder / name for name in ("encrypted", "empty", "broken", "private", "open"))
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
    empty.write_text("")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    open_key.write_bytes(open(key, "rb").read())
    private.write_bytes(open(certificate, "rb").read())
    for path in (encrypted, empty, broken, private):
        path.chmod(0o600)
    open_key.chmod(0o644)
    for cert_file, key_file, said in (
            (certificate, "", "expected both or neither"), ("", key, "expected both or neither"),
            ("/nonexistent.pem", key, "cannot read /nonexistent.pem"), (certificate, "/nonexistent.key", "nonexistent.key"),
            (empty, key, "holds none"), (key, key, "holds none"), (broken, key, str(broken)),
            (certificate, empty, "found none"), (certificate, private, "found none"), (certificate, encrypted, "not encrypted"),
            (certificate, other, "is not the key of the certificate"), (certificate, open_key, "chmod 0600"),
            (folder, key, "not a file")):
        server = gateway.Gateway(spored, ["--tls-certificate", str(cert_file), "--tls-key", str(key_file)])
        done = subprocess.run(server.command(), capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, (cert_file, key_file, done)


def test_an_expired_certificate_is_told(spored, authority):
    certificate, key = authority.server("old", days=0)
    daemon.time.sleep(1.1)
    with gateway.Gateway(spored, **{"tls-certificate": certificate, "tls-key": key}).running() as server:
        assert "has expired on" in server.log_text()
