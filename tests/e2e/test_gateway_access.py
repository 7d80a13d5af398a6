"""Who may use the gateway: tokens, AWS signatures, loopback, browsers; and what it never says."""
import datetime
import json
import os
import pathlib
import subprocess

import daemon
import gateway
import pytest
from gateway import KEY, SECRET, TOKEN

SPORED_CONFIG = gateway.SPORED_CONFIG
CODE = "def handler(event, context):\n    return event\n"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FUNCTIONS = "/2015-03-31/functions"


@pytest.fixture(scope="module")
def guarded(spored):
    tokens = gateway.secret_file(spored.directory / "tokens", f"# two\n{TOKEN}\nanother-token-of-16-bytes\n")
    keys = gateway.secret_file(spored.directory / "keys", f"{KEY} {SECRET}\n")
    with gateway.Gateway(spored, **{"token-file": tokens, "key-file": keys}).running() as server:
        server.deploy("f", {"app.py": CODE}, headers=BEARER)
        yield server
        log = server.log_text()
        for secret in (TOKEN, SECRET, "another-token"):
            assert secret not in log


@pytest.fixture(scope="module")
def open_to_all(spored):
    with gateway.Gateway(spored).running() as server:
        yield server


def test_without_a_token_nothing(guarded):
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer "},
                    {"Authorization": "Bearer wrong-token-0123456789"},
                    {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN},
                    {"Authorization": f"Bearer {TOKEN}x"}, {"X-Token": TOKEN}):
        for method, path in (("GET", FUNCTIONS), ("POST", f"{FUNCTIONS}/f/invocations"),
                             ("GET", "/metrics"), ("GET", "/fn/f/"), ("GET", "/"), ("GET", "/nothing")):
            status, answer, _ = guarded.request(method, path, None, headers)
            assert status == 403 and answer["x-amzn-ErrorType"], (method, path, headers)
    assert guarded.request("GET", "/healthz")[0] == 200


def test_with_a_token(guarded):
    for token in (TOKEN, "another-token-of-16-bytes"):
        headers = {"Authorization": f"Bearer {token}"}
        assert guarded.invoke("f", 5, headers)[2] == 5
    assert guarded.request("GET", "/metrics", None, BEARER)[0] == 200


def test_two_authorizations_are_none(guarded):
    answer = guarded.raw(f"GET {FUNCTIONS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
                         f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_functions_do_not_see_the_token(guarded):
    _, _, body = guarded.request("GET", "/fn/f/x", None, {**BEARER, "X-Other": "1"})
    event = json.loads(body)
    assert event["headers"]["x-other"] == "1" and TOKEN not in json.dumps(event)


def test_boto3_signs_and_is_served(guarded):
    client = guarded.boto3()
    names = ["f", client.get_function(FunctionName="f")["Configuration"]["FunctionArn"]]
    for name in names:  # an ARN's colons are encoded, then signed as encoded
        done = client.invoke(FunctionName=name, Payload=b'{"a": "\xc3\xa4"}', LogType="Tail", Qualifier="$LATEST")
        assert json.loads(done["Payload"].read()) == {"a": "\u00e4"}
    client.list_functions(MaxItems=1, Marker="AA==")
    assert guarded.aws("list-functions")["Functions"][0]["FunctionName"] == "f"


def test_wrong_keys(guarded):
    for key, secret, kind in ((KEY, "another secret of more than 16", "InvalidSignatureException"),
                              ("AKIDNOBODY", SECRET, "UnrecognizedClientException")):
        client = guarded.boto3(key, secret)
        with pytest.raises(client.exceptions.ClientError) as error:
            client.list_functions()
        assert error.value.response["Error"]["Code"] == kind
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def signed(guarded, method="POST", path=f"{FUNCTIONS}/f/invocations", body=b"1", headers=None,
           when=None, service="lambda"):
    """A request's headers, signed by botocore as of `when`."""
    from botocore import auth, awsrequest, credentials
    request = awsrequest.AWSRequest(method, guarded.url + path, data=body, headers=headers or {})
    signer = auth.SigV4Auth(credentials.Credentials(KEY, SECRET), service, "us-east-1")

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return when or datetime.datetime.utcnow()

    class Module:
        datetime = Clock

    original, auth.datetime = auth.datetime, Module
    try:
        signer.add_auth(request)
    finally:
        auth.datetime = original
    return dict(request.headers)


def test_altered_requests_are_refused(guarded):
    path = f"{FUNCTIONS}/f/invocations"
    good = signed(guarded)
    assert guarded.request("POST", path, b"1", good)[0] == 200
    now = datetime.datetime.utcnow()
    minutes = datetime.timedelta(minutes=1)
    for what, request in {
            "another body": ("POST", path, b"2", good),
            "another path": ("POST", path.replace("/f/", "/g/"), b"1", good),
            "another query": ("POST", path + "?Qualifier=1", b"1", good),
            "a query that cannot be read": ("POST", path + "?%zz&Qualifier=1", b"1", good),
            "a header more": ("POST", path, b"1", {**good, "X-Amz-Invocation-Type": "DryRun"}),
            "another host": ("POST", path, b"1", {**good, "Host": "elsewhere"}),
            "no date": ("POST", path, b"1", {k: v for k, v in good.items() if k != "X-Amz-Date"}),
            "old": ("POST", path, b"1", signed(guarded, when=now - 16 * minutes)),
            "early": ("POST", path, b"1", signed(guarded, when=now + 16 * minutes)),
            "of another service": ("POST", path, b"1", signed(guarded, service="s3")),
            "another hash": ("POST", path, b"1", signed(guarded, headers={"X-Amz-Content-SHA256": "0" * 64})),
            "cut": ("POST", path, b"1", {**good, "Authorization": good["Authorization"][:-2]}),
            "no headers": ("POST", path, b"1", {**good, "Authorization": good["Authorization"].split(",")[0]}),
    }.items():
        status, headers, body = guarded.request(*request)
        assert status == 403 and headers["x-amzn-ErrorType"], (what, status, body)
        assert SECRET.encode() not in body


def test_browsers(open_to_all):
    """Without a token no web page of elsewhere gets at it: neither by a form nor by a name."""
    def status(headers, method="POST", path=f"{FUNCTIONS}/absent/invocations"):
        return open_to_all.request(method, path, None, headers)[0]

    port, scheme = open_to_all.port, "http:" + "//"
    assert status({}) == status({"Host": f"localhost:{port}"}) == status({"Host": f"[::1]:{port}"}) == 404
    assert status({"Origin": open_to_all.url, "Sec-Fetch-Site": "same-origin"}) == 404
    for headers in ({"Host": "evil.example"}, {"Host": f"127.0.0.1.evil.example:{port}"},
                    {"Origin": scheme + "evil.example"}, {"Origin": "null"},
                    {"Origin": f"{scheme}127.0.0.1:{port + 1}"}, {"Sec-Fetch-Site": "cross-site"},
                    {"Sec-Fetch-Site": "same-site"}):
        assert status(headers) == 403, headers
        assert status(headers, "GET", FUNCTIONS) == 403, headers
    # A function's page is looked at from wherever a link leads to it; a form is its own matter.
    assert status({"Sec-Fetch-Site": "cross-site"}, "GET", "/fn/absent/") == 404
    assert status({"Origin": "null"}, "POST", "/fn/absent/") == 403
    assert status({"Host": "evil.example"}, "GET", "/fn/absent/") == 403


def test_public_functions(spored, guarded):
    tokens = str(spored.directory / "tokens")
    with gateway.Gateway(spored, **{"token-file": tokens, "public-functions": True}).running() as server:
        assert server.request("POST", "/fn/f/x", None, {"Origin": "null"})[0] == 200
        assert server.request("GET", FUNCTIONS)[0] == 403


def test_a_unix_socket(spored):
    folder = spored.directory / "sockets"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    path = folder / "http.sock"
    with gateway.Gateway(spored, listen=f"unix:{path}").running():
        done = subprocess.run(["curl", "-sS", "--unix-socket", path, "any/healthz"],
                              capture_output=True, timeout=120)
        assert done.stdout == b"ok\n", done
        assert path.stat().st_mode & 0o777 == 0o660


def ends(spored, *arguments, **config):
    """What a gateway says that does not start."""
    server = gateway.Gateway(spored, arguments, **config)
    done = subprocess.run(server.command(), capture_output=True, text=True, timeout=120,
                          env=daemon.environment())
    assert done.returncode in (1, 2), done
    return done.stderr


def test_refuses_to_start(spored, tmp_path):
    assert "does not run as root" in ends(spored, user="")
    assert "no such user" in ends(spored, user="nobody-of-that-name")
    assert "is root" in ends(spored, user="root")
    for listen in ("0.0.0.0:0", "[::]:0"):
        assert "reached from other hosts" in ends(spored, listen=listen)
    for listen in ("localhost:80:", "nonsense", "127.0.0.1:99999", "unix:relative", "example.com:80", ":80"):
        assert "listen" in ends(spored, listen=listen), listen
    assert "unknown key" in ends(spored, **{"no-such-key": 1})
    assert "max-connections" in ends(spored, **{"max-connections": "many"})
    assert "max-payload" in ends(spored, **{"max-payload": "1TiB"})
    loose = gateway.secret_file(tmp_path / "loose", TOKEN + "\n", 0o644)
    assert "chmod 0600" in ends(spored, **{"token-file": loose})
    for text, part in (("short\n", "16 characters"), ("# none\n", "holds no token")):
        said = ends(spored, **{"token-file": gateway.secret_file(tmp_path / "tokens", text)})
        assert part in said and "short" not in said
    said = ends(spored, **{"key-file": gateway.secret_file(tmp_path / "keys", "ONLYANID\n")})
    assert "SECRET" in said and "ONLYANID" not in said


def test_holds_no_privilege(open_to_all):
    status = pathlib.Path(f"/proc/{open_to_all.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() != ["0"] * 4 and len(set(fields["Uid"].split())) == 1
    for capability in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert fields[capability].strip() == "0000000000000000"
    assert fields["NoNewPrivs"].strip() == "1" and fields["Threads"].strip() == "1"
    assert "0" not in fields["Groups"].split()
    assert os.stat(f"/proc/{open_to_all.process.pid}/environ").st_uid == 0  # not dumpable
