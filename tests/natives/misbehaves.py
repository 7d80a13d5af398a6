#!/usr/bin/python3 -SB
"""A custom runtime for Lambda functions that does what its events, or MODE, tell it, the wrong things too."""
import http.client
import json
import os
import socket
import sys
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
BASE = "/2018-06-01/runtime/"
MODE = os.environ.get("MODE", "")
ERROR = {"errorMessage": "as told", "errorType": "Custom.Error", "stackTrace": ["first line", "second line"]}
last = None  # what the event before has come to


def ask(method, path, body=None, headers=None, connection=None):
    """Status, headers and body."""
    own = connection or http.client.HTTPConnection(API)
    own.request(method, BASE + path, body, headers or {}, encode_chunked=True)
    answer = own.getresponse()
    found = answer.status, answer.headers, answer.read()
    if not connection:
        own.close()
    return found


def post(path, body, **headers):
    status, _, text = ask("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    return [status, json.loads(text)]


def raw(text):
    """All that is answered to these bytes until the connection ends."""
    host, port = API.split(":")
    with socket.create_connection((host, int(port)), 3) as connection:
        connection.settimeout(0.3)
        connection.sendall(text.encode("latin-1"))
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError) as error:
            answer += f"<{type(error).__name__}>".encode()
    return answer.decode("latin-1")


def answer(event, headers, identity):
    """Does what is asked; what it returns is to be sent yet."""
    global last
    own = f"invocation/{identity}/"
    do = event.get("do") if isinstance(event, dict) else None
    if do == "environment":
        return dict(os.environ, cwd=os.getcwd(), files=sorted(os.listdir(".")), path=sys.path[0])
    if do == "headers":
        return dict(headers)
    if do == "fill":
        return "x" * (event["bytes"] - 2)
    if do == "last":
        return last
    if do == "wrong id":
        return [post("invocation/nonsense/response", b"1"), post("invocation/nonsense/error", b"{}")]
    if do == "next again":
        status, _, text = ask("GET", "invocation/next")
        return [status, json.loads(text)]
    if do == "init again":
        return [post("init/error", b"{}"), ask("GET", "restore/next")[0], post("restore/error", b"{}")]
    if do == "raw":
        return [raw(text) for text in event["requests"]]
    if do == "many connections":
        held = [socket.create_connection(API.split(":")) for _ in range(300)]
        answered = 0
        for connection in held[::7]:
            connection.settimeout(0.5)
            connection.sendall(b"GET /2018-06-01/runtime/nowhere HTTP/1.1\r\n\r\n")
            try:
                answered += b"404" in connection.recv(100)
            except TimeoutError:
                break
        for connection in held:
            connection.close()
        return answered
    if do == "twice":
        last = [post(own + "response", b'"first"'), post(own + "response", b'"second"'), post(own + "error", b"{}")]
    elif do == "error":
        last = post(own + "error", json.dumps(ERROR))
    elif do == "error by header":
        last = post(own + "error", event["body"], Lambda_Runtime_Function_Error_Type="Header.Type")
    elif do == "large":
        last = post(own + "response", b"x" * event["bytes"])
    elif do == "large, asking first":
        text = f"POST {BASE}{own}response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {event['bytes']}\r\n\r\n"
        last = raw(text)
    elif do == "chunks":
        parts = [b'{"in"', b': "chunks"', b"}"]
        status, _, text = ask("POST", own + "response", iter(parts), {"Transfer-Encoding": "chunked"})
        last = [status, json.loads(text)]
    elif do == "bytes":
        last = post(own + "response", bytes(range(256)))
    elif do == "nothing":
        last = post(own + "response", b"")
    elif do == "never":
        time.sleep(3600)
    elif do == "exit":
        print("leaving", flush=True)
        os._exit(event["code"])
    elif do == "kill":
        os.kill(os.getpid(), event["signal"])
    elif do == "answer and exit":
        post(own + "response", b'"the last"')
        os._exit(event["code"])
    elif do == "kill the host":
        os.kill(2, 9)
        time.sleep(3600)
    elif do == "half an answer":
        with socket.create_connection(API.split(":")) as connection:
            connection.sendall(f"POST {BASE}{own}response HTTP/1.1\r\nContent-Length: 100\r\n\r\n".encode())
        os._exit(7)
    else:
        return {"event": event, "pid": os.getpid(), "ppid": os.getppid()}
    return None


def serve():
    connection = http.client.HTTPConnection(API)
    while True:
        status, headers, body = ask("GET", "invocation/next", connection=connection)
        assert status == 200, (status, body)
        result = answer(json.loads(body), headers, headers["Lambda-Runtime-Aws-Request-Id"])
        if result is not None:
            last_path = f"invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/response"
            status, _, text = ask("POST", last_path, json.dumps(result), connection=connection)
            assert status == 202 or b"TooLarge" in text, (status, text)


def restart_workers():
    """A parent whose worker dies while it waits for an event: the first worker never reads what it gets."""
    worker = os.fork()
    if worker == 0:
        waiting = socket.create_connection(API.split(":"))
        waiting.sendall(f"GET {BASE}invocation/next HTTP/1.1\r\n\r\n".encode())
        waiting.recv(1, socket.MSG_PEEK) if MODE == "worker dies with event" else time.sleep(0.2)
        os._exit(1)
    os.waitpid(worker, 0)
    serve()


if MODE == "init error":
    post("init/error", json.dumps(ERROR), Lambda_Runtime_Function_Error_Type="Init.Header")
    time.sleep(3600)
elif MODE == "exits at once":
    print("cannot go on", file=sys.stderr)
    sys.exit(3)
elif MODE == "never asks":
    time.sleep(3600)
elif MODE == "answers before it asks":
    last = [post("invocation/x/response", b"1"), ask("POST", "invocation/next")[0], ask("GET", "nowhere")[0],
            ask("GET", "../etc/passwd")[0], ask("DELETE", "init/error")[0], ask("POST", "restore/error", b"{}")[0]]
    serve()
elif MODE == "restores":
    last = [ask("GET", "restore/next")[0], ask("GET", "restore/next")[0]]
    serve()
elif MODE == "restore error":
    ask("GET", "restore/next")
    post("restore/error", json.dumps(ERROR))
elif MODE.startswith("worker dies"):
    restart_workers()
else:
    serve()
