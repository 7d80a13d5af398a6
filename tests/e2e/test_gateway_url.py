"""Function URLs: what curl and browsers send, and what functions make of it."""
import base64
import json
import subprocess

import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
CODE = """
import json
def handler(event, context):
    path = event["rawPath"]
    if path == "/event":
        return event
    if path == "/page":
        return {"statusCode": 201, "headers": {"Content-Type": "text/html", "X-Two": 2},
                "cookies": ["a=b; Path=/", "c=d"], "body": "<h1>hello</h1>"}
    if path == "/bytes":
        return {"statusCode": 200, "headers": {"content-type": "image/png"},
                "isBase64Encoded": True, "body": "AAECAw=="}
    if path == "/plain":
        return "just text"
    if path == "/raise":
        raise ValueError("secret detail")
    return json.loads(event["body"])
"""


@pytest.fixture(scope="module")
def served(spored):
    with gateway.Gateway(spored).running() as server:
        server.deploy("web", {"app.py": CODE}, Timeout=20)
        yield server


def curl(served, path, *arguments):
    done = subprocess.run(["curl", "-sS", "-i", "--noproxy", "*", *arguments, served.url + path],
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), [line.split(": ", 1) for line in lines[1:]], body


def test_event_of_a_get(served):
    status, headers, body = curl(served, "/fn/web/event?a=1&a=2&b=x%20y", "-H", "X-Test: one",
                                 "-H", "X-Test: two", "-H", "Cookie: k=v; l=m", "-A", "tests")
    event = json.loads(body)
    assert status == 200 and ["Content-Type", "application/json"] in headers
    assert event["version"] == "2.0" and event["routeKey"] == "$default"
    assert event["rawQueryString"] == "a=1&a=2&b=x%20y"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y"}
    assert event["cookies"] == ["k=v", "l=m"] and "cookie" not in event["headers"]
    assert event["headers"]["x-test"] == "one,two" and event["headers"]["user-agent"] == "tests"
    context = event["requestContext"]
    assert context["http"]["method"] == "GET" and context["http"]["path"] == "/event"
    assert context["http"]["sourceIp"] == "127.0.0.1" and context["http"]["userAgent"] == "tests"
    assert context["timeEpoch"] > 0 and context["requestId"] and "body" not in event


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods_and_bodies(served, method):
    status, _, body = curl(served, "/fn/web/event", "-X", method, "-d", '{"k": "\u00e4"}',
                           "-H", "Content-Type: application/json")
    event = json.loads(body)
    assert status == 200 and event["requestContext"]["http"]["method"] == method
    assert event["body"] == '{"k": "\u00e4"}' and event["isBase64Encoded"] is False


def test_binary_body(served, tmp_path):
    (tmp_path / "data").write_bytes(b"\x00\xff\x01")
    for kind in ("application/octet-stream", "text/plain"):  # the second is no UTF-8
        _, _, body = curl(served, "/fn/web/event", "--data-binary", f"@{tmp_path}/data",
                          "-H", f"Content-Type: {kind}")
        event = json.loads(body)
        assert event["isBase64Encoded"] is True and base64.b64decode(event["body"]) == b"\x00\xff\x01"


def test_answers(served):
    status, headers, body = curl(served, "/fn/web/page")
    assert (status, body) == (201, b"<h1>hello</h1>")
    assert ["Content-Type", "text/html"] in headers and ["X-Two", "2"] in headers
    assert [value for name, value in headers if name == "Set-Cookie"] == ["a=b; Path=/", "c=d"]
    # A page of a tenant's has an origin of its own, whatever it says.
    assert any(name == "Content-Security-Policy" and value.startswith("sandbox")
               for name, value in headers)
    status, headers, body = curl(served, "/fn/web/bytes")
    assert (status, body) == (200, b"\x00\x01\x02\x03") and ["content-type", "image/png"] in headers
    assert curl(served, "/fn/web/plain")[2] == b'"just text"'
    status, headers, body = curl(served, "/fn/web/page", "-I")
    assert status == 201 and body == b"" and ["Content-Length", "14"] in headers


def test_failures(served):
    status, _, body = curl(served, "/fn/web/raise")
    assert status == 502 and b"secret detail" not in body
    assert curl(served, "/fn/absent/")[0] == 404
    assert curl(served, "/fn/web")[0] == 502  # no body to parse: the function failed


@pytest.mark.parametrize("answer, status", [
    ({"statusCode": 99}, 502), ({"statusCode": 101}, 502), ({"statusCode": "x"}, 502),
    ({"statusCode": 200, "headers": {"A": "b\r\nSet-Cookie: x=y"}}, 502),
    ({"statusCode": 200, "headers": {"A\r\nB": "c"}}, 502), ({"statusCode": 200, "headers": []}, 502),
    ({"statusCode": 200, "cookies": ["a\nb"]}, 502), ({"statusCode": 200, "cookies": "a"}, 502),
    ({"statusCode": 200, "isBase64Encoded": True, "body": "%"}, 502),
    ({"statusCode": 200, "headers": {"Content-Length": "987654", "Transfer-Encoding": "chunked",
                                     "Connection": "upgrade"}, "body": "x"}, 200),
    ({"statusCode": "204"}, 204), ({"statusCode": 200, "body": {"a": 1}}, 200), ([1, 2], 200),
    (None, 200), (5, 200)])
def test_answers_of_a_hostile_function(served, answer, status):
    """Nothing that it says reaches the connection's framing."""
    text = json.dumps(answer)
    with served.connect() as client:
        request = (f"POST /fn/web/any HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(text)}\r\n\r\n{text}").encode()
        client.sendall(request + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := client.recv(65536):
            received += piece
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert len(answers) == 2 and answers[1].startswith(b"200") and answers[1].endswith(b"ok\n"), received
    assert answers[0].startswith(b"%d " % status), received
    assert b"Set-Cookie" not in answers[0] and b"987654" not in answers[0]


def test_answer_of_many_values_is_passed_on_as_it_is(served):
    text = "[" + "0, " * 200000 + "0]"
    status, _, body = served.request("POST", "/fn/web/any", text, {"Content-Type": "application/json"})
    assert status == 200 and json.loads(body) == json.loads(text)
