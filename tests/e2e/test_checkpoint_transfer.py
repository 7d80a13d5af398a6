"""Checkpoints on their way to another host: exported, imported, restored there; and files that lie."""
import hashlib
import os
import re
import signal
import struct
import subprocess
import tarfile

import daemon
import images_of_own as own
import protobuf
import pytest
import ttrpc
from test_checkpoint_images import APP as MARKED
from test_checkpoint_images import import_image, root, start  # noqa: F401
from test_checkpoints import PYTHON, SPORED_CONFIG, checkpoints, create, evict, warm, zygote

MAGIC = b"SPORECP1"
POINT = "checkpoint-received"


@pytest.fixture(scope="module")
def parcel(spored):
    """A whole one, of the host's Python."""
    made = create(spored, "python")
    with spored.client() as client:
        answer = client.call("CheckpointTransfer", "Export", {"id": made["id"]})
        archive = os.pread(client.received_fds[0], answer["archive_bytes"] + 1, 0)
        assert len(archive) == answer["archive_bytes"]
    spored.call("Checkpoints", "Remove", {"id": made["id"]})
    return answer["head"] + archive


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    yield
    if "spored" in request.fixturenames:
        spored = request.getfixturevalue("spored")
        folder = spored.state / "checkpoints"
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
        for identity in checkpoints(spored):
            spored.call("Checkpoints", "Remove", {"id": identity})


def split(parcel):
    """Its record as a dictionary, and its archive."""
    size = struct.unpack("<I", parcel[8:12])[0]
    record = parcel[44:44 + size]
    assert parcel[:8] == MAGIC and parcel[12:44] == hashlib.sha256(record).digest()
    return protobuf.decode("Checkpoint", record), parcel[44 + size:]


def join(record, archive):
    """Every digest is right, whatever else is not."""
    record = {**record, "archive_bytes": len(archive),
              "archive_digest": "sha256:" + hashlib.sha256(archive).hexdigest()}
    return seal(protobuf.encode("Checkpoint", record)) + archive


def seal(record):
    return MAGIC + struct.pack("<I", len(record)) + hashlib.sha256(record).digest() + record


def bring(server, parcel, **fields):
    with own.file_of(parcel) as fd:
        return server.call("CheckpointTransfer", "Import", fields, [fd])["checkpoint"]


def refusal(server, parcel, **fields):
    with own.file_of(parcel) as fd:
        return server.error_of("CheckpointTransfer", "Import", fields, [fd])


def test_moves_to_another_daemon(root, tmp_path):  # noqa: F811
    """Other state, other uids, another cgroup: what it is tied to is the same."""
    first, second = daemon.Spored(), daemon.Spored()
    for server in (first, second):
        start(server)
    assert first.uid_base != second.uid_base
    with first.running(), second.running():
        import_image(second, root, "other")
        (root / "opt/mark").write_text("two")
        import_image(second, root, "theirs")
        (root / "opt/mark").write_text("one")
        import_image(second, root, "theirs")
        import_image(first, root)
        for image, there, files in (("python", "python", PYTHON), ("mine", "other@1", MARKED)):
            made = create(first, image)
            file = tmp_path / "checkpoint"
            done = first.cli("checkpoint", "export", made["id"], "-o", file)
            assert done.code == 0 and done.out == "", done
            assert file.stat().st_mode & 0o777 == 0o600
            assert not (tmp_path / "checkpoint.partial").exists()
            done = second.cli("checkpoint", "import", file)
            assert done.code == 0 and done.out == made["id"] + "\n" and done.err == "", done
            kept = checkpoints(second)[made["id"]]
            # The same image by its digest, whatever it is called there.
            assert kept["image"] == there and kept["unusable"] == "" and kept["automatic"] is False
            assert kept["created_unix_ms"] == made["created_unix_ms"] and kept["imported_unix_ms"] > 0
            assert re.search(rf"^{made['id']} .* import .* yes$", second.cli("checkpoint", "ls").out, re.M)
            second.deploy("f-" + image, files, image=there)
            warm(second, there)
            evict(second, there)
            restored = warm(second, there)
            assert restored["checkpoint"] == made["id"], restored
            assert second.result("f-" + image, [1, 2])["sum"] == 3
            again = second.cli("checkpoint", "import", file)
            assert again.code == 4 and f"{made['id']} is here already" in again.err, again


def test_by_pipe_and_its_descriptor(spored, parcel):
    identity = split(parcel)[0]["id"]
    piped = spored.cli("checkpoint", "import", "-", input=parcel)
    assert piped.code == 0 and piped.out == identity + "\n", piped
    shown = spored.cli("checkpoint", "export", identity, "-o", "-")
    assert split(shown.raw)[0]["ties"] == split(parcel)[0]["ties"]
    if zygote(spored, "python"):
        evict(spored, "python")
    assert warm(spored, "python")["checkpoint"] == identity
    assert "descriptor" in str(spored.error_of("CheckpointTransfer", "Import", {}))
    with open("/dev/null", "rb") as null:
        error = spored.error_of("CheckpointTransfer", "Import", {}, [null.fileno()])
    assert "no file and no pipe" in str(error)


def damaged(parcel):
    record, archive = split(parcel)
    head = len(parcel) - len(archive)
    flipped = bytearray(parcel)
    flipped[head + len(archive) // 2] ^= 1
    altered = bytearray(parcel)
    altered[60] ^= 1
    plain = {**record, "memory_bytes": 1 << 20}

    def tar(files):
        return own.tar_of(files)

    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    fifo = tarfile.TarInfo()
    fifo.type = tarfile.FIFOTYPE
    bomb = subprocess.run(["zstd", "-q", "-c"], input=tar({"inventory.img": b"\0" * (64 << 20)}), check=True,
                          capture_output=True).stdout
    return {
        "empty": (b"", "ends before its archive"),
        "something else": (b"PK\3\4" + b"x" * 100, "does not begin like one"),
        "cut in its record": (parcel[:50], "ends before its archive"),
        "cut in its archive": (parcel[:-1000], "is cut short"),
        "without an archive": (parcel[:head], "is cut short"),
        "altered archive": (bytes(flipped), "digest of its archive differs"),
        "altered record": (bytes(altered), "record was altered"),
        "longer than it says": (parcel + b"x", "goes on behind its archive"),
        "no record": (MAGIC + struct.pack("<I", 0) + b"\0" * 32, "0 bytes long"),
        "a huge record": (MAGIC + struct.pack("<I", 1 << 31) + b"\0" * 32, "2147483648 bytes long"),
        "a record of rubbish": (seal(b"\xff" * 64) + archive, "cannot be read"),
        "an id that is a path": (join({**record, "id": "../../../etc"}, archive), "12 hexadecimal digits"),
        "an image that is a path": (join({**record, "image": "../x"}, archive), "image has no valid name"),
        "an image that is hidden": (join({**record, "image": ".staged-1"}, archive), "image has no valid name"),
        "a version that is none": (join({**record, "image": "a@../b"}, archive), "image has no valid name"),
        "escapes for a terminal": (join({**record, "runtime_version": "\x1b[2J"}, archive), "cannot be shown"),
        "ties without end": (join({**record, "ties": {str(i): "x" for i in range(99)}}, archive), "too long"),
        "no digest": (seal(protobuf.encode("Checkpoint", {**record, "archive_digest": "md5:0"})) + archive,
                      "no SHA-256"),
        "larger than may be": (join({**record, "memory_bytes": 1 << 50}, archive), "expected at most"),
        "no archive in it": (join(record, b"x" * 1000), "cannot be read"),
        "a path in its archive": (join(plain, tar({"../../evil": "x", "inventory.img": "x"})), "evil"),
        "folders in its archive": (join(plain, tar({"a/b/c": "x", "inventory.img": "x"})), "a/b/c"),
        "a folder in its archive": (join(plain, tar({"folder": None, "inventory.img": "x"})), "folder"),
        "a link in its archive": (join(plain, tar({"pages-1.img": link, "inventory.img": "x"})), "pages-1.img"),
        "a hidden name": (join(plain, tar({".hidden": "x", "inventory.img": "x"})), "files that CRIU does not make"),
        "not whole": (join(plain, tar({"pages-1.img": "x"})), "no inventory"),
        "a bomb": (join(plain, bomb), "unpacks to more than"),
    }


def test_files_that_lie_are_refused(spored, parcel):
    for what, (file, words) in damaged(parcel).items():
        error = refusal(spored, file, keep_unusable=True)
        assert words in str(error), (what, str(error))
        assert checkpoints(spored) == {}, what
        assert [p.name for p in (spored.state / "checkpoints").iterdir()] == [], what
    assert bring(spored, parcel)["unusable"] == ""


OTHERS = {"kernel": ("kernel", "5.10.0 x86_64"), "cpu": ("cpu", "i486"), "spore": ("spore", "0.0.1"),
          "image": ("image", "0123"), "runtime": ("runtime", "/usr/bin/python2")}


def test_what_does_not_fit_is_refused_unless_it_is_to_be_kept(spored, parcel, tmp_path):
    record, archive = split(parcel)
    files = {what: ({"ties": {**record["ties"], key: value}}, f'its {key} was "{value}"')
             for what, (key, value) in OTHERS.items()}
    files["no such image"] = ({"image": "nobody"}, "there is no image nobody here")
    files["a host up for longer"] = ({"boot_id": "other", "clock_ns": 2 ** 62}, "has been up for")
    for what, (fields, words) in files.items():
        file = join({**record, **fields}, archive)
        error = refusal(spored, file)
        assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and words in str(error), (what, str(error))
        assert checkpoints(spored) == {}
    path = tmp_path / "checkpoint"
    path.write_bytes(file)
    done = spored.cli("checkpoint", "import", path)
    assert done.code == 4 and words in done.err and "--force" in done.err, done
    done = spored.cli("checkpoint", "import", "--force", path)
    assert done.code == 0 and done.out.strip() == record["id"] and words in done.err, done
    assert words in checkpoints(spored)[record["id"]]["unusable"]
    assert words in spored.cli("checkpoint", "ls").out
    assert words in str(spored.error_of("Checkpoints", "Restore", {"id": record["id"]}))


def test_what_is_damaged_here_is_not_exported(spored, tmp_path):
    made = create(spored, "python")
    archive = spored.state / "checkpoints/python" / made["id"] / "memory.tar.zst"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    target = tmp_path / "checkpoint"
    target.write_text("before")
    done = spored.cli("checkpoint", "export", made["id"], "-o", target)
    assert done.code == 4 and "the digest differs" in done.err, done
    assert target.read_text() == "before" and os.listdir(tmp_path) == ["checkpoint"]
    (archive.parent / "checkpoint.json").write_text("{")
    assert "is damaged" in spored.cli("checkpoint", "export", made["id"], "-o", target).err
    missing = spored.cli("checkpoint", "export", "0" * 12, "-o", target)
    assert missing.code == 4 and "no checkpoint" in missing.err, missing


def test_a_full_disk_in_an_export(spored, parcel):
    assert bring(spored, parcel)["unusable"] == ""
    identity = split(parcel)[0]["id"]
    full = subprocess.run([daemon.find_program("spore"), "--socket", str(spored.socket), "checkpoint", "export",
                           identity], stdout=open("/dev/full", "wb"), stderr=subprocess.PIPE, text=True)
    assert full.returncode != 0 and "No space left on device" in full.stderr, full


def test_root_only(spored, parcel, stranger, tmp_path):
    for arguments in (["export", "0" * 12], ["import", "-"]):
        denied = spored.cli("checkpoint", *arguments, input=parcel, prefix=stranger)
        assert denied.code != 0 and ("only root" in denied.err or "ermission" in denied.err), denied


@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("point", [POINT, "checkpoint-packed", "checkpoint-staged", "checkpoint-renamed"])
def test_fault_points(parcel, point, how):
    with daemon.Spored(SPORED_CONFIG).running() as server:
        assert server.stop() == 0
        server.start({"SPORE_FAULT": f"{point}:{how}"})
        with pytest.raises((ttrpc.RpcError, OSError)):
            bring(server, parcel)
        if how == "kill":
            assert server.process.wait(60) == -signal.SIGKILL
        else:
            assert checkpoints(server) == {} and server.stop() == 0
        server.start()
        names = [p.name for p in (server.state / "checkpoints").iterdir()]
        assert not [name for name in names if name.startswith(".")]
        there = checkpoints(server)
        assert all(c["unusable"] == "" for c in there.values()) and len(there) <= 1
        if not there:
            bring(server, parcel)
        server.deploy("f", PYTHON)
        assert server.result("f", [4])["sum"] == 4
        if zygote(server, "python"):
            evict(server, "python")
        assert warm(server, "python")["checkpoint"] == split(parcel)[0]["id"]


def test_the_daemon_stops_while_a_file_comes(spored, parcel):
    """A client that sends half of one and waits keeps nobody: not a restore, not the daemon's end."""
    with daemon.Spored(SPORED_CONFIG).running() as server:
        made = create(server, "python")
        end, other = os.pipe()
        with server.client() as client:
            child = os.fork()
            if child == 0:
                os.close(other)
                try:
                    client.call("CheckpointTransfer", "Import", {}, [end])
                finally:
                    os._exit(0)
            os.close(end)
            os.write(other, parcel[:1000])
            if zygote(server, "python"):
                evict(server, "python")
            assert warm(server, "python")["checkpoint"] == made["id"]
            assert server.stop() == 0
            os.waitpid(child, 0)
        os.close(other)
        server.start()
        assert list(checkpoints(server)) == [made["id"]]
