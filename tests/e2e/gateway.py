"""A real spore-gateway in front of a real spored, and the clients that people have for it."""
import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess

import daemon

# spored as the gateway's user may reach it: Debian's "nobody" is in the group "nogroup".
SPORED_CONFIG = {"socket-group": "nogroup"}
USER = "nobody"
KEY, SECRET = "AKIDSPORETESTS0001", "secret-of-the-tests/with+slashes"
TOKEN = "token-of-the-tests-0123456789"


class Gateway:
    def __init__(self, spored, arguments=(), user=USER, **config):
        self.spored = spored
        self.folder = spored.directory / f"gateway-{os.urandom(4).hex()}"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.log = self.folder / "log"
        settings = {"listen": "127.0.0.1:0", "socket": str(spored.socket),
                    **({"user": user} if user else {}), **config}
        self.config = self.folder / "gateway.toml"
        self.config.write_text("".join(
            f"{key} = {daemon.toml_value(value)}\n" for key, value in settings.items()))
        self.arguments = list(arguments)
        self.process = None
        self.address = None

    def command(self):
        return [daemon.find_program("spore-gateway"), "--config", str(self.config), *self.arguments]

    def start(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=daemon.environment())
        match = daemon.wait_until(self._listening, what="the gateway listens")
        self.address = match[1]
        return self

    def _listening(self):
        assert self.process.poll() is None, f"spore-gateway ended:\n{self.log_text()}"
        return re.search(r"listening on (\S+).*\n", self.log_text())

    def log_text(self):
        return self.log.read_text(errors="replace")

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    @property
    def url(self):
        return f"http://{self.address}"

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        return self.process.returncode

    @contextlib.contextmanager
    def running(self):
        try:
            yield self.start()
            assert self.stop() == 0, self.log_text()
        finally:
            self.stop(signal.SIGKILL)

    # ---- plain HTTP ----

    def request(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers, body) over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def invoke(self, name, event=None, headers=None, qualifier=""):
        status, headers, body = self.request(
            "POST", f"/2015-03-31/functions/{name}/invocations{qualifier}",
            json.dumps(event), headers)
        return status, headers, json.loads(body) if body else None

    def deploy(self, name, files, runtime="python3.11", handler="app.handler", headers=None,
               **settings):
        """A function of the gateway's own user."""
        body = {"FunctionName": name, "Runtime": runtime, "Handler": handler, **settings,
                "Code": {"ZipFile": base64.b64encode(daemon.make_zip(files)).decode()}}
        status, _, answer = self.request("POST", "/2015-03-31/functions", json.dumps(body), headers)
        assert status == 201, answer
        return json.loads(answer)

    def connect(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def raw(self, data, timeout=60):
        """Everything that comes back for these bytes, until the gateway closes or says no more."""
        with self.connect(timeout) as client:
            client.sendall(data)
            received = b""
            while True:
                piece = client.recv(65536)
                if not piece:
                    return received
                received += piece

    # ---- AWS's clients ----

    def environment(self, key=KEY, secret=SECRET):
        return {**os.environ, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_PAGER": "", "NO_PROXY": "*", "AWS_MAX_ATTEMPTS": "1"}

    def aws(self, *arguments, expect=0, **environment):
        """`aws lambda ...`; its output as JSON when there is some."""
        done = subprocess.run(
            ["/usr/bin/aws", "--endpoint-url", self.url, "lambda", *map(str, arguments)],
            capture_output=True, text=True, timeout=300, env=self.environment(**environment))
        assert done.returncode == expect, done
        return json.loads(done.stdout) if expect == 0 and done.stdout.strip() else done.stderr

    def boto3(self, key=KEY, secret=SECRET, **config):
        import boto3
        from botocore.config import Config
        return boto3.session.Session().client(
            "lambda", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 0}, proxies={}, **config))


def secret_file(gateway_or_path, text, mode=0o600):
    gateway_or_path.write_text(text)
    gateway_or_path.chmod(mode)
    return str(gateway_or_path)
