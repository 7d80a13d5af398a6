"""Sessions in tests: made, asked, ended."""
import contextlib
import os
import threading

import ttrpc

SERVICE = "Sandboxes"


class Sandbox:
    """One session of a daemon, by its id."""

    def __init__(self, spored, identity):
        self.spored, self.id = spored, identity

    def call(self, method, fds=(), patience=180, **fields):
        with self.spored.client(patience) as client:
            return client.call(SERVICE, method, {"id": self.id, **fields}, fds)

    def error(self, method, fds=(), **fields):
        return self.spored.error_of(SERVICE, method, {"id": self.id, **fields}, fds)

    def exec(self, *args, **fields):
        """Of a program whose output is kept: the whole response."""
        response = self.call("Exec", args=list(args), streams="KEPT", **fields)
        response["code"] = response["exec"]["exit_code"]
        return response

    def shell(self, script, **fields):
        return self.exec("sh", "-c", script, **fields)

    def out(self, script, **fields):
        """What a shell script writes; it must succeed."""
        done = self.shell(script, **fields)
        assert done["code"] == 0, done
        return done["stdout"].decode()

    def detach(self, *args, **fields):
        return self.call("Exec", args=list(args), streams="KEPT", detach=True, **fields)["exec"]["exec_id"]

    def code(self, text, **fields):
        return self.call("RunCode", code=text, **fields)

    def value(self, text, **fields):
        done = self.code(text, **fields)
        assert done["error"] is None, done
        return done["value"]

    def write(self, path, data, **fields):
        return self.call("WriteFile", path=as_bytes(path), data=data,
                         **{"create": True, "truncate": True, **fields})

    def read(self, path, **fields):
        return self.call("ReadFile", path=as_bytes(path), **fields)

    def names(self, path):
        names, cursor = [], 0
        while True:
            page = self.call("ListFiles", path=as_bytes(path), cursor=cursor)
            names += [file["path"] for file in page["files"]]
            cursor = page["cursor"]
            if cursor == 0:
                return sorted(names)

    def processes(self):
        return self.call("ListProcesses")["processes"]

    def agent(self):
        return next(p["pid"] for p in self.processes() if p["agent"])

    def inspect(self):
        return self.call("Inspect")

    def kill(self):
        return self.call("Kill")

    def ended(self, patience=180):
        """Its death, once it is complete."""
        import daemon
        return daemon.wait_until(
            lambda: (lambda s: s["death"] if s["state"] == "DEAD" else None)(self.inspect()),
            patience, "the session ends")


def as_bytes(path):
    return path if isinstance(path, bytes) else path.encode()


def create(spored, **fields):
    return Sandbox(spored, spored.call(SERVICE, "Create", fields)["id"])


@contextlib.contextmanager
def sandbox(spored, **fields):
    made = create(spored, **fields)
    try:
        yield made
    finally:
        with contextlib.suppress(ttrpc.RpcError):
            made.kill()


class Asking(threading.Thread):
    """A call that goes on beside others, on a connection of its own."""

    def __init__(self, box, method, fds=(), **fields):
        super().__init__(daemon=True)
        self.client = box.spored.client(300)
        self.stream = self.client.send(SERVICE, method, {"id": box.id, **fields}, fds)
        self.method, self.result, self.error = method, None, None
        self.start()

    def run(self):
        try:
            _, _, body = self.client.receive()
            self.result = self.client.answer(ttrpc.SERVICES[SERVICE][self.method][1], body)
        except (ttrpc.RpcError, OSError) as error:
            self.error = error

    def get(self, patience=300):
        self.join(patience)
        assert not self.is_alive(), "no answer"
        if self.error:
            raise self.error
        return self.result

    def vanish(self):
        """The client goes away."""
        self.client.socket.shutdown(2)
        self.join(60)
        self.client.close()


def pipes():
    """(for the program: stdin, stdout, stderr; for us: stdin, stdout, stderr)"""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    return (in_read, out_write, err_write), (in_write, out_read, err_read)


def read_all(descriptor):
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()
