"""Another host for tests of egress: a network namespace behind a veth pair, with real servers in it.

As a module it is the test's side; executed, it is what runs there. Nothing of it outlives its process.
"""
import contextlib
import http.server
import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading

NUMBER = int(os.environ.get("FAR_HOST") or os.getpid() % 60)  # two runs may meet on one host
HOST4, FAR4 = (f"203.0.113.{4 * NUMBER + i}" for i in (1, 2))  # documentation's stand for public ones
PRIVATE = f"10.213.{NUMBER}"
HOST_PRIVATE, FAR_PRIVATE = PRIVATE + ".1", PRIVATE + ".2"
SIX = f"2001:db8:77:{NUMBER + 1}"
HOST6, FAR6 = SIX + "::1", SIX + "::2"
DNS, WEB, OTHER, ECHO, TLS, NOBODY, SILENT = 5353, 8080, 8081, 7000, 8443, 9, 7001
# What the name server there says; "!" says nothing, a list of lists changes with each question.
NAMES = {
    "web.test": [FAR4],
    "a.b.wild.test": [FAR4],
    "wild.test": [FAR4],
    "six.test": [FAR6],
    "private.test": [FAR_PRIVATE],
    "loop.test": ["127.0.0.1", "::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "own.test": [HOST4],
    "zero.test": ["0.0.0.0"],
    "mixed.test": ["127.0.0.1", FAR_PRIVATE, FAR4],
    "rebinds.test": [[FAR4], ["127.0.0.1"]],
    "silent.test": "!",
    "empty.test": [],
}


# ---- the test's side ----

class FarHost:
    def __init__(self, folder):
        self.folder = str(folder)
        name = f"spe{os.getpid() % 100000}"
        self.near, self.far = name + "a", name + "b"
        self.process = subprocess.Popen(
            ["unshare", "-n", sys.executable, "-B", os.path.abspath(__file__), self.folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "FAR_HOST": str(NUMBER)})
        assert self.process.stdout.readline() == b"there\n"
        pid = str(self.process.pid)
        run("ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", pid)
        self.addresses([], self.near, HOST4, HOST_PRIVATE, HOST6)
        self.addresses(["nsenter", "-t", pid, "-n"], self.far, FAR4, FAR_PRIVATE, FAR6)
        self.process.stdin.write(b"serve\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"serving\n"

    @staticmethod
    def addresses(prefix, device, v4, private, v6):
        run(*prefix, "ip", "addr", "add", v4 + "/30", "dev", device)
        run(*prefix, "ip", "addr", "add", private + "/24", "dev", device)
        run(*prefix, "ip", "addr", "add", v6 + "/64", "dev", device, "nodad")
        run(*prefix, "ip", "link", "set", device, "up")
        run(*prefix, "ip", "link", "set", "lo", "up")

    def asked(self):
        """The names that the name server was asked for, each once."""
        path = os.path.join(self.folder, "asked")
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            return set(file.read().split())
        return set()

    def certificate(self):
        with open(os.path.join(self.folder, "cert.pem"), "rb") as file:
            return file.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        subprocess.run(["ip", "link", "del", self.near], capture_output=True, check=False)


@contextlib.contextmanager
def far_host(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                    "/CN=web.test", "-addext", "subjectAltName=DNS:web.test", "-keyout",
                    f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    host = FarHost(folder)
    try:
        yield host
    finally:
        host.close()


def run(*command):
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


# ---- there ----

class Web(http.server.SimpleHTTPRequestHandler):
    """Says what it was asked; below /files/ it has the folder's files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/files/"):
            self.path = self.path[len("/files"):]
            return super().do_GET()
        if self.path == "/large":
            return self.reply(b"x" * (8 << 20))
        return self.say()

    def do_POST(self):
        self.say(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def say(self, body=b""):
        self.reply(json.dumps({
            "method": self.command, "path": self.path, "body": len(body),
            "port": self.server.server_address[1], "headers": {k.lower(): v for k, v in self.headers.items()},
        }).encode())

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.sendall(b"end")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = daemon_threads = True
    request_queue_size = 256

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "far", self.server_address[1]


def answer(query, asked):
    """Of RFC 1035: the one question, as it was asked, and its records."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    name, (kind, _) = ".".join(labels).lower(), struct.unpack(">HH", query[at + 1:at + 5])
    question = query[12:at + 5]
    asked.append(name)
    known = NAMES.get(name)
    if known == "!":
        return None
    if known and isinstance(known[0], list):
        known = known[min(asked.count(name) - 1, 2 * len(known) - 1) // 2]
    records = b""
    count = 0
    for text in known or []:
        v6 = ":" in text
        if kind == (28 if v6 else 1):
            data = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, text)
            records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
            count += 1
    flags = 0x8180 | (3 if known is None else 0)
    return query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question + records


def serve_names(folder):
    asked = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("0.0.0.0", DNS))
        while True:
            query, peer = listening.recvfrom(4096)
            reply = answer(query, asked)
            with open(os.path.join(folder, "asking"), "w", encoding="utf-8") as file:
                file.write("\n".join(asked))
            os.rename(file.name, os.path.join(folder, "asked"))  # who reads it sees it whole
            if reply:
                listening.sendto(reply, peer)


def main(folder):
    print("there", flush=True)
    sys.stdin.buffer.readline()
    os.chdir(folder)
    servers = [Server(("::", WEB), Web), Server(("::", OTHER), Web), Server(("::", ECHO), Echo)]
    tls = Server(("::", TLS), Web)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    tls.socket = context.wrap_socket(tls.socket, server_side=True)
    # Nobody accepts there, and its backlog is full: connecting takes for ever.
    silent = socket.create_server(("0.0.0.0", SILENT), backlog=0)
    filled = [socket.socket() for _ in range(4)]
    for one in filled:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", SILENT))
    for server in [*servers, tls]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=serve_names, args=(folder,), daemon=True).start()
    print("serving", flush=True)
    sys.stdin.buffer.read()
    silent.close()


if __name__ == "__main__":
    main(sys.argv[1])
