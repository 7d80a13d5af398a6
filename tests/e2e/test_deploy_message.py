"""Archives in the message itself, from clients that cannot pass a descriptor."""
import contextlib
import io
import os
import zipfile

import daemon
import pytest
import ttrpc

ONE = "def handler(event, context):\n    return 'one'\n"
TWO = ONE.replace("one", "two")
MOST = 3 << 20


@pytest.fixture
def name(request):
    return "m-" + request.node.name[:50].replace("[", "-").replace("]", "").replace("_", "-").replace(" ", "-")


@contextlib.contextmanager
def memfd(data):
    descriptor = ttrpc.sealed_memfd(data)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def request(name, archive=None):
    values = {"name": name, "settings": {"runtime": "python", "handler": "app.handler"}}
    return values if archive is None else {**values, "archive": archive}


def refused(spored, method, values, *words, fds=(), code="INVALID_ARGUMENT"):
    error = spored.error_of("Functions", method, values, fds)
    assert error.code == ttrpc.CODES[code], error
    for word in words:
        assert word in error.message, error
    return error


def nothing_is_left(spored, name):
    assert spored.error_of("Functions", "Get", {"name": name}).code == ttrpc.CODES["NOT_FOUND"]
    assert not (spored.state / "functions" / name).exists()
    assert not list((spored.state / "staging").iterdir())


def zip_of_size(size):
    """A good archive of exactly so many bytes."""
    def stored(padding):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("app.py"), ONE)
            archive.writestr(zipfile.ZipInfo("padding"), bytes(padding))
        return buffer.getvalue()
    return stored(size - len(stored(0)))


def test_deploy_and_update(spored, name):
    archive = daemon.make_zip({"app.py": ONE})
    function = spored.call("Functions", "Deploy", request(name, archive))
    assert spored.result(name) == "one"
    with memfd(archive) as descriptor:
        passed = spored.call("Functions", "Deploy", request(name + "-fd"), [descriptor])
    assert passed["code_digest"] == function["code_digest"]
    updated = spored.call("Functions", "Update", {
        "name": name, "archive": daemon.make_zip({"app.py": TWO}), "keep_environment": True})
    assert (updated["version"], spored.result(name)) == (2, "two")


def test_the_largest_and_one_byte_more(spored, name):
    refused(spored, "Deploy", request(name, zip_of_size(MOST + 1)), "archive", str(MOST + 1),
            f"at most {MOST}", "spore function deploy")
    nothing_is_left(spored, name)
    spored.call("Functions", "Deploy", request(name, zip_of_size(MOST)))
    assert spored.result(name) == "one"
    refused(spored, "Update", {"name": name, "archive": zip_of_size(MOST + 1), "keep_environment": True},
            "archive", f"at most {MOST}")
    assert spored.call("Functions", "Get", {"name": name})["version"] == 1


def test_both_are_refused_and_the_connection_goes_on(spored, name):
    archive = daemon.make_zip({"app.py": ONE})
    with memfd(daemon.make_zip({"app.py": TWO})) as descriptor, spored.client() as client:
        refused(client, "Deploy", request(name, archive), "archive", "expected one of them", fds=[descriptor])
        nothing_is_left(spored, name)
        client.call("Functions", "Deploy", request(name, archive))
        for attached in (True, False):
            refused(client, "Update", {"name": name, "archive": archive, "archive_attached": attached,
                                       "keep_environment": True},
                    "archive", "expected one of them", fds=[descriptor])
        refused(client, "Update", {"name": name, "archive": archive, "archive_attached": True,
                                   "keep_environment": True}, "archive_attached", "no descriptor")
        assert client.call("Functions", "Get", {"name": name})["version"] == 1
    assert spored.result(name) == "one"


def test_neither_is_refused(spored, name):
    refused(spored, "Deploy", request(name), "archive", "expected one of them")
    nothing_is_left(spored, name)


def test_a_descriptor_of_the_next_call_stays_that_calls(spored, name):
    """Both frames in one write, with the second one's descriptor."""
    with memfd(daemon.make_zip({"app.py": TWO})) as descriptor, spored.client() as client:
        data = b""
        for values in (request(name, daemon.make_zip({"app.py": ONE})), request(name + "-fd")):
            payload = ttrpc.protobuf.encode("DeployRequest", values)
            data += ttrpc.frame(client.next_stream(), ttrpc.REQUEST,
                                ttrpc.envelope("Functions", "Deploy", payload))
        client.send_raw(data, [descriptor])
        for _ in range(2):
            client.answer("Function", client.receive()[2])
    assert (spored.result(name), spored.result(name + "-fd")) == ("one", "two")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04" + b"\xff" * 200,
                                     daemon.make_zip({"../out": "x"})], ids=["empty", "text", "cut", "outside"])
def test_rubbish_is_refused_as_in_a_descriptor(spored, name, content):
    said = refused(spored, "Deploy", request(name, content))
    nothing_is_left(spored, name)
    with memfd(content) as descriptor:
        assert refused(spored, "Deploy", request(name), fds=[descriptor]).message == said.message
    spored.deploy(name, {"app.py": ONE})
    refused(spored, "Update", {"name": name, "archive": content, "keep_environment": True})
    assert spored.call("Functions", "Get", {"name": name})["version"] == 1
    assert spored.result(name) == "one"


def test_archives_that_are_held_count_as_requests_in_progress(name):
    with daemon.Spored({"payload-memory": "2MiB"}).running() as server:
        refused(server, "Deploy", request(name, zip_of_size((2 << 20) + 1)), "payload-memory",
                code="RESOURCE_EXHAUSTED")
        nothing_is_left(server, name)
        for number in range(3):  # each gives back what it took, refused or not
            server.call("Functions", "Deploy", request(f"{name}-{number}", zip_of_size(2 << 20)))
            refused(server, "Deploy", request(f"{name}-{number}-bad", b"x" * (2 << 20)))
        assert server.result(f"{name}-2") == "one"
