"""Functions: deploy, update, list, show, remove, and what archives may hold."""
import io
import os
import stat
import tarfile
import zipfile

import daemon
import pytest
import ttrpc

HELLO = "def handler(event, context):\n    return 'one'\n"
HELLO_TWO = HELLO.replace("one", "two")


@pytest.fixture
def name(request):
    return "f-" + request.node.name[:50].replace("[", "-").replace("]", "").replace("_", "-")


def tar_of(add):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        add(archive)
    return buffer.getvalue()


def tar_file(archive, name, content=b"x", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def with_app(add):
    def both(archive):
        tar_file(archive, "app.py", HELLO.encode())
        add(archive)
    return tar_of(both)


def refused(spored, archive, *words, name="refused"):
    """Deploying the archive is an INVALID_ARGUMENT that says why, and leaves nothing."""
    with pytest.raises(ttrpc.RpcError) as caught:
        spored.deploy(name, archive)
    assert caught.value.code == ttrpc.CODES["INVALID_ARGUMENT"], caught.value
    for word in words:
        assert word in caught.value.message, caught.value.message
    assert spored.error_of("Functions", "Get", {"name": name}).code == ttrpc.CODES["NOT_FOUND"]
    assert not (spored.state / "functions" / name).exists()
    assert not list((spored.state / "staging").iterdir())


def test_function_has_every_default_filled_in(spored, name):
    function = spored.deploy(name, {"app.py": HELLO})
    assert function["name"] == name and function["version"] == 1
    settings = function["settings"]
    assert settings["runtime"] == "python" and settings["image"] == "python"
    assert settings["isolation"] == "ISOLATION_INSTANCE"
    limits = settings["limits"]
    assert limits["memory_bytes"] == 128 << 20 and limits["pids"] == 64
    assert limits["timeout_ms"] == 30000 and limits["open_files"] == 1024
    assert all(limits.values())
    assert function["owner_uid"] == 0
    assert function["code_digest"].startswith("sha256:") and len(function["code_digest"]) == 71
    assert function["code_bytes"] == len(HELLO)
    assert spored.call("Functions", "Get", {"name": name}) == function


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_of_every_compression(spored, name, mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        tar_file(archive, "./app.py", HELLO.encode())
    name = name.replace(":", "-")
    spored.deploy(name, buffer.getvalue())
    assert spored.result(name) == "one"


def test_packages_data_files_and_inner_links(spored, name):
    def add(archive):
        tar_file(archive, "pkg/__init__.py", b"")
        tar_file(archive, "pkg/deep/mod.py",
                 b"import pkg, os\ndef handler(e, c):\n"
                 b"    here = os.path.dirname(__file__)\n"
                 b"    return [open(os.path.join(here, n)).read() for n in ('data', 'link', 'hard')]\n")
        tar_file(archive, "pkg/deep/data", b"data")
        tar_file(archive, "pkg/deep/link", b"", type=tarfile.SYMTYPE, linkname="data")
        tar_file(archive, "pkg/deep/hard", b"", type=tarfile.LNKTYPE, linkname="pkg/deep/data")
        tar_file(archive, "tools/run", b"#!/bin/sh\necho\n", mode=0o755)
    spored.deploy(name, tar_of(add), handler="pkg.deep.mod.handler")
    assert spored.result(name) == ["data"] * 3


def test_modes_and_owners_of_the_archive_count_for_nothing(spored, name):
    def add(archive):
        tar_file(archive, "app.py", HELLO.encode(), mode=0o000, uid=0, gid=0)
        tar_file(archive, "setuid", b"x", mode=0o6777, uid=0, gid=0)
    spored.deploy(name, tar_of(add))
    assert spored.result(name) == "one"
    code = spored.state / "functions" / name / "v1" / "code"
    for path in [code, *code.rglob("*")]:
        mode = path.lstat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH | stat.S_IWGRP), path


@pytest.mark.parametrize("bad", [
    "../outside", "a/../../outside", "/etc/absolute", "a/../../../../../../tmp/outside",
    "..", "a\\..\\..\\outside/../../x",
])
def test_archive_reaching_out_by_name_is_refused(spored, bad):
    refused(spored, with_app(lambda archive: tar_file(archive, bad)), "outside" if "out" in bad else "")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "/", "a/../../x"])
def test_archive_with_a_link_leading_out_is_refused(spored, target):
    def add(archive):
        tar_file(archive, "link", b"", type=tarfile.SYMTYPE, linkname=target)
    refused(spored, with_app(add), "link")


def test_archive_writing_through_its_own_link_is_refused(spored):
    def add(archive):
        tar_file(archive, "door", b"", type=tarfile.SYMTYPE, linkname="/tmp")
        tar_file(archive, "door/spore-e2e-escaped", b"x")
    refused(spored, with_app(add))
    assert not os.path.exists("/tmp/spore-e2e-escaped")


def test_archive_with_a_hard_link_leading_out_is_refused(spored):
    def add(archive):
        tar_file(archive, "hard", b"", type=tarfile.LNKTYPE, linkname="../../../../etc/shadow")
    refused(spored, with_app(add))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_archive_with_devices_and_pipes_is_refused(spored, kind):
    def add(archive):
        tar_file(archive, "device", b"", type=kind, devmajor=1, devminor=1)
    refused(spored, with_app(add), "device")


def test_bomb_is_refused(spored):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("app.py", HELLO)
        with archive.open("bomb", "w", force_zip64=True) as out:
            block = bytes(1 << 20)
            for _ in range(700):
                out.write(block)
    refused(spored, buffer.getvalue(), "536870912")


def test_too_many_files_are_refused(spored):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", HELLO)
        for number in range(20001):
            archive.writestr(f"d/{number}", b"")
    refused(spored, buffer.getvalue(), "20000")


def test_too_deep_and_too_long_names_are_refused(spored):
    refused(spored, with_app(lambda a: tar_file(a, "/".join(["d"] * 100) + "/f")))
    refused(spored, with_app(lambda a: tar_file(a, "/".join(["x" * 200] * 8))))


@pytest.mark.parametrize("content", [
    b"", b"not an archive at all", b"PK\x03\x04" + b"\xff" * 200, os.urandom(4096),
], ids=["empty", "text", "cut zip", "noise"])
def test_what_is_no_archive_is_refused(spored, content):
    refused(spored, content)


def test_truncated_archives_are_refused(spored):
    whole = daemon.make_zip({"app.py": HELLO, "data": os.urandom(10000)})
    refused(spored, whole[: len(whole) // 2])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        tar_file(archive, "app.py", HELLO.encode())
        tar_file(archive, "data", os.urandom(100000))
    refused(spored, packed.getvalue()[:50000])


def test_one_name_twice_is_harmless(spored, name):
    """The later entry wins, as with unzip(1), or the archive is refused: never a mixture."""
    def add(archive):
        tar_file(archive, "app.py", HELLO.encode())
        tar_file(archive, "app.py", HELLO_TWO.encode())
    try:
        spored.deploy(name, tar_of(add))
    except ttrpc.RpcError as error:
        assert error.code == ttrpc.CODES["INVALID_ARGUMENT"]
    else:
        assert spored.result(name) == "two"


def test_odd_file_names_inside_are_kept(spored, name):
    odd = ["sp ace", "ümlaut", "-rf", "$(id)", "'quote\"", "\u202eright"]
    files = {"app.py": "import os\ndef handler(e, c):\n    return sorted(os.listdir('.'))\n"}
    files.update({entry: "x" for entry in odd})
    spored.deploy(name, files)
    assert set(odd) <= set(spored.result(name))


def test_control_characters_in_file_names_are_refused(spored):
    refused(spored, daemon.make_zip({"app.py": HELLO, "new\nline": "x"}), "U+000A")


def test_deploying_a_taken_name_is_refused(spored, name):
    spored.deploy(name, {"app.py": HELLO})
    with pytest.raises(ttrpc.RpcError) as caught:
        spored.deploy(name, {"app.py": HELLO_TWO})
    assert caught.value.code == ttrpc.CODES["ALREADY_EXISTS"] and name in caught.value.message
    assert spored.result(name) == "one"


def update(spored, name, files=None, **settings):
    values = {"name": name, "settings": settings, "archive_attached": files is not None}
    values["keep_environment"] = "environment" not in settings
    if files is None:
        return spored.call("Functions", "Update", values)
    descriptor = ttrpc.sealed_memfd(daemon.make_zip(files))
    try:
        return spored.call("Functions", "Update", values, [descriptor])
    finally:
        os.close(descriptor)


def test_update_of_code_reaches_the_next_invocation(spored, name):
    spored.deploy(name, {"app.py": HELLO})
    assert spored.result(name) == "one"
    function = update(spored, name, {"app.py": HELLO_TWO})
    assert function["version"] == 2
    response = spored.invoke(name)
    assert response["result"] == "two" and response["function_version"] == 2


def test_update_of_settings_keeps_code_and_environment(spored, name):
    code = "import os\ndef handler(e, c):\n    return [os.environ['K'], c.memory_limit_in_mb]\n"
    spored.deploy(name, {"app.py": code}, environment={"K": "v"})
    function = update(spored, name, limits={"memory_bytes": 64 << 20})
    assert function["version"] == 2 and function["settings"]["limits"]["pids"] == 64
    assert spored.result(name) == ["v", "64"]


def test_update_that_is_refused_changes_nothing(spored, name):
    spored.deploy(name, {"app.py": HELLO})
    with pytest.raises(ttrpc.RpcError):
        update(spored, name, {"../x": "x"})
    error = spored.error_of("Functions", "Update", {
        "name": name, "settings": {"limits": {"pids": 1 << 20}}, "keep_environment": True})
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and "pids" in error.message
    assert spored.call("Functions", "Get", {"name": name})["version"] == 1
    assert spored.result(name) == "one"


def test_running_invocation_finishes_on_its_version(spored, name):
    slow = "import time\ndef handler(e, c):\n    time.sleep(3)\n    return 'old'\n"
    spored.deploy(name, {"app.py": slow})
    with spored.client() as client:
        stream = client.send("Invocations", "Invoke", {"name": name})
        daemon.wait_until(lambda: [i for i in spored.instances(function=name)
                                   if i["state"] == "BUSY"], what="the invocation runs")
        update(spored, name, {"app.py": HELLO_TWO})
        assert spored.result(name) == "two"
        got, _, body = client.receive()
        assert got == stream
        answer = client.answer("InvokeResponse", body)
    assert answer["payload"] == b'"old"' and answer["function_version"] == 1
    daemon.wait_until(lambda: not (spored.state / "functions" / name / "v1").exists(),
                      what="the old version is removed")


def test_list_and_remove(spored, name):
    spored.deploy(name, {"app.py": HELLO})
    spored.result(name)
    listed = spored.call("Functions", "List")["functions"]
    assert name in [function["name"] for function in listed]
    assert [f["instances"] for f in listed if f["name"] == name] == [1]
    spored.remove_function(name)
    assert name not in [f["name"] for f in spored.call("Functions", "List")["functions"]]
    daemon.wait_until(lambda: not spored.instances(function=name), what="its instances end")
    daemon.wait_until(lambda: not (spored.state / "functions" / name).exists(), what="files go")
    for service, method in (("Invocations", "Invoke"), ("Functions", "Get"),
                            ("Functions", "Remove"), ("Functions", "Update")):
        error = spored.error_of(service, method, {"name": name})
        assert error.code == ttrpc.CODES["NOT_FOUND"] and name in error.message
    spored.deploy(name, {"app.py": HELLO_TWO})
    assert spored.result(name) == "two"


def test_code_is_read_only_inside(spored, name):
    code = ("import os\ndef handler(e, c):\n    try:\n        open('/var/task/new', 'w')\n"
            "    except OSError as error:\n        return error.strerror\n    return 'written'\n")
    spored.deploy(name, {"app.py": code})
    assert spored.result(name) in ("Read-only file system", "Permission denied")


def test_the_archive_must_be_sealed(spored):
    archive = daemon.make_zip({"app.py": HELLO})
    values = {"name": "unsealed", "settings": {"runtime": "python", "handler": "app.handler"}}
    descriptor = ttrpc.sealed_memfd(archive, seals=False)
    error = spored.error_of("Functions", "Deploy", values, [descriptor])
    os.close(descriptor)
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and "seal" in error.message


def test_other_descriptors_than_memfds_are_refused(spored):
    values = {"name": "pipe", "settings": {"runtime": "python", "handler": "app.handler"}}
    for descriptor in (os.pipe()[0], os.open("/dev/zero", os.O_RDONLY), os.open("/", os.O_RDONLY)):
        error = spored.error_of("Functions", "Deploy", values, [descriptor])
        assert error.code == ttrpc.CODES["INVALID_ARGUMENT"], error
        os.close(descriptor)
