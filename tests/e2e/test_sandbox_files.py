"""Files of sessions: read, written, listed, watched; and copied in and out of hostile ones."""
import os
import subprocess
import threading

import pytest
import sandboxes


@pytest.fixture(scope="module")
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000) as made:
        yield made


@pytest.fixture
def folder(box, request):
    path = "/tmp/" + request.node.name[:60]
    box.call("MakeDirectory", path=path.encode(), parents=True)
    yield path
    box.call("RemoveFile", path=path.encode(), recursive=True, missing_ok=True)


def test_what_is_written_is_read(box, folder, spored):
    path = f"{folder}/file"
    assert box.write(path, b"hello")["size"] == 5
    assert box.read(path) == {"data": b"hello", "size": 5, "end": True}
    box.write(path, b"J", truncate=False)
    box.call("WriteFile", path=path.encode(), data=b"!", append=True)
    assert box.read(path)["data"] == b"Jello!"
    assert box.read(path, offset=1, length=3)["data"] == b"ell"
    assert box.read(path, offset=100)["data"] == b""
    assert box.write(path, b"")["size"] == 0
    assert spored.cli("sandbox", "write", f"{box.id}:{path}", input=b"x" * 3_000_000).code == 0
    assert spored.cli("sandbox", "read", f"{box.id}:{path}").raw == b"x" * 3_000_000
    assert spored.cli("sandbox", "write", "-a", f"{box.id}:{path}", input=b"end").code == 0
    assert box.read(path, offset=3_000_000)["data"] == b"end"


def test_errors_say_what_the_kernel_says(box, folder, spored):
    box.write(f"{folder}/file", b"")
    for method, fields, code, words in (
            ("ReadFile", {"path": b"/tmp/none"}, 5, "/tmp/none: No such file"),
            ("ReadFile", {"path": b"/tmp"}, 9, "Is a directory"),
            ("ReadFile", {"path": b"relative"}, 3, "path"),
            ("ReadFile", {"path": b"/a\0b"}, 3, "path"),
            ("ReadFile", {"path": b"/" + b"x" * 5000}, 3, "path"),
            ("ReadFile", {"path": b"/tmp/none", "length": 2 << 20}, 3, "length"),
            ("WriteFile", {"path": b"/usr/x", "create": True}, 7, ""),
            ("WriteFile", {"path": b"/tmp/none"}, 5, "No such file"),
            ("WriteFile", {"path": f"{folder}/file".encode(), "create": True, "exclusive": True}, 6, "File exists"),
            ("WriteFile", {"path": b"/tmp/x", "mode": 0o10000, "create": True}, 3, "mode"),
            ("WriteFile", {"path": b"/tmp/x", "data": b"x" * ((1 << 20) + 1), "create": True}, 3, "data"),
            ("ListFiles", {"path": f"{folder}/file".encode()}, 9, "Not a directory"),
            ("ListFiles", {"path": b"/tmp", "limit": 1001}, 3, "limit"),
            ("MakeDirectory", {"path": f"{folder}/file".encode()}, 6, "File exists"),
            ("MakeDirectory", {"path": f"{folder}/a/b".encode()}, 5, "No such file"),
            ("RemoveFile", {"path": b"/tmp/none"}, 5, "No such file"),
            ("RemoveFile", {"path": folder.encode()}, 9, "not empty"),
            ("RenameFile", {"from": b"/tmp/none", "to": b"/tmp/x"}, 5, "No such file"),
            ("MakeSymlink", {"path": b"/tmp/x", "target": b""}, 3, "target"),
            ("WatchFiles", {"path": f"{folder}/file".encode()}, 9, "Not a directory"),
            ("WatchFiles", {"watch": 77}, 5, "number 77")):
        error = box.error(method, **fields)
        assert error.code == code and words in error.message, (method, fields, error)
    done = spored.cli("sandbox", "read", f"{box.id}:/tmp/none")
    assert done.code == 4 and "/tmp/none" in done.err
    assert spored.cli("sandbox", "read", "nonsense").code == 2


def test_names_may_be_anything(box, folder):
    odd = [b"new\nline", b"\xff\xfe", b" ", b"-rf", b"\x1b[31m", "ü".encode()]
    for name in odd:
        box.write(folder.encode() + b"/" + name, name)
    assert box.names(folder) == sorted(odd)
    for name in odd:
        assert box.read(folder.encode() + b"/" + name)["data"] == name
    shown = box.spored.cli("sandbox", "ls", f"{box.id}:{folder}")
    assert shown.code == 0 and "\x1b" not in shown.out


def test_a_large_folder_comes_in_pages(box, folder):
    assert box.exec("python3", "-c", f"for i in range(2500): open(f'{folder}/{{i}}', 'w')")["code"] == 0
    page = box.call("ListFiles", path=folder.encode(), limit=10)
    assert len(page["files"]) == 10 and page["cursor"] != 0
    assert len(box.names(folder)) == 2500
    box.call("RemoveFile", path=folder.encode(), recursive=True)


def test_stat_links_and_attributes(box, folder):
    box.write(f"{folder}/file", b"12345", mode=0o600)
    box.call("MakeSymlink", path=f"{folder}/link".encode(), target=b"file")
    info = box.call("StatFile", path=f"{folder}/link".encode())
    assert info["kind"] == "SYMLINK" and info["target"] == b"file"
    info = box.call("StatFile", path=f"{folder}/link".encode(), follow=True)
    assert (info["kind"], info["size"], info["mode"]) == ("FILE", 5, 0o600)
    box.call("SetAttributes", path=f"{folder}/file".encode(), mode=0o751, modified_unix_ns=1_500_000_000_000_000_001)
    info = box.call("StatFile", path=f"{folder}/file".encode())
    assert (info["mode"], info["modified_unix_ns"]) == (0o751, 1_500_000_000_000_000_001)
    assert box.error("SetAttributes", path=f"{folder}/link".encode(), mode=0o777).code == 9
    assert box.error("ReadFile", path=f"{folder}/link".encode(), no_follow=True).code == 9
    box.call("RenameFile", **{"from": f"{folder}/file".encode(), "to": f"{folder}/other".encode()})
    box.write(f"{folder}/file", b"")
    assert box.error("RenameFile", **{"from": f"{folder}/file".encode(), "to": f"{folder}/other".encode()}).code == 6
    box.call("RenameFile", **{"from": f"{folder}/file".encode(), "to": f"{folder}/other".encode(), "replace": True})


def test_pipes_and_devices_hold_nobody_up(box, folder):
    box.out(f"mkfifo {folder}/pipe")
    assert box.error("ReadFile", path=f"{folder}/pipe".encode()).code == 3
    assert box.error("WriteFile", path=f"{folder}/pipe".encode(), data=b"x").code in (3, 9)
    assert box.error("ReadFile", path=b"/dev/zero").code == 3
    assert box.call("StatFile", path=f"{folder}/pipe".encode())["kind"] == "OTHER"
    assert b"Name" in box.read("/proc/self/status")["data"]


def test_a_tree_is_removed_and_no_link_followed(box, folder):
    box.out(f"cd {folder}; mkdir -p keep deep; touch keep/this; ln -s {folder}/keep deep/link; ln -s / deep/root;"
            "cd deep; for i in $(seq 100); do mkdir d; cd d; touch f; done")
    box.call("RemoveFile", path=f"{folder}/deep".encode(), recursive=True)
    assert box.names(folder) == [b"keep"] and box.names(f"{folder}/keep") == [b"this"]
    box.out(f"cd {folder}; for i in $(seq 300); do mkdir d; cd d; done")
    error = box.error("RemoveFile", path=f"{folder}/d".encode(), recursive=True)
    assert error.code == 9
    box.out(f"rm -r {folder}/d")


def test_changes_are_told(box, folder, spored):
    first = box.call("WatchFiles", path=folder.encode(), recursive=True)
    waiting = sandboxes.Asking(box, "WatchFiles", watch=first["watch"], wait_ms=60000)
    box.out(f"mkdir {folder}/new && echo 1 > {folder}/new/file")
    seen = {(e["kind"], e["path"]) for e in waiting.get()["events"]}
    while ("CREATED", b"new/file") not in seen:
        more = box.call("WatchFiles", watch=first["watch"], wait_ms=60000)["events"]
        seen |= {(e["kind"], e["path"]) for e in more}
    assert ("CREATED", b"new") in seen
    # That it was written may come for itself, after that it is there.
    changed = {("CHANGED", b"new/file")}
    box.out(f"echo 22 >> {folder}/new/file")
    seen = set()
    while not seen:
        more = box.call("WatchFiles", watch=first["watch"], wait_ms=60000)["events"]
        seen |= {(e["kind"], e["path"]) for e in more}
    assert seen == changed
    box.call("RemoveFile", path=f"{folder}/new".encode(), recursive=True)
    seen, removed = set(), {("REMOVED", b"new/file"), ("REMOVED", b"new")}
    while not removed <= seen:
        more = box.call("WatchFiles", watch=first["watch"], wait_ms=60000)["events"]
        seen |= {(e["kind"], e["path"]) for e in more}
    assert seen <= removed | changed
    assert box.call("WatchFiles", watch=first["watch"], wait_ms=0)["events"] == []


def test_copies_in_and_out(spored, box, folder, tmp_path):
    tree = tmp_path / "tree"
    (tree / "below/deeper").mkdir(parents=True)
    (tree / "file").write_bytes(os.urandom(2_500_000))
    (tree / "below/run").write_text("#!/bin/sh\necho ran\n")
    (tree / "below/run").chmod(0o755)
    (tree / "link").symlink_to("below/run")
    (tree / "away").symlink_to("/etc/passwd")
    (tree / "empty").touch()
    (tree / "new\nline").write_text("odd")
    os.mkfifo(tree / "pipe")
    done = spored.cli("sandbox", "cp", tree, f"{box.id}:{folder}")
    assert done.code == 0 and "pipe is left out" in done.err, done
    assert box.out(f"{folder}/tree/link") == "ran\n"
    assert box.names(f"{folder}/tree") == sorted([b"away", b"below", b"empty", b"file", b"link", b"new\nline"])
    back = tmp_path / "back"
    assert spored.cli("sandbox", "cp", f"{box.id}:{folder}/tree", back).code == 0
    (tree / "pipe").unlink()
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, back]).returncode == 0
    assert (back / "below/run").stat().st_mode & 0o777 == 0o755
    # One file, onto a name and into a folder.
    assert spored.cli("sandbox", "cp", f"{box.id}:{folder}/tree/empty", tmp_path / "one").code == 0
    assert spored.cli("sandbox", "cp", f"{box.id}:{folder}/tree/empty", tmp_path).code == 0
    assert (tmp_path / "one").exists() and (tmp_path / "empty").exists()
    assert spored.cli("sandbox", "cp", str(tree) + "/.", f"{box.id}:{folder}/contents").code == 0
    assert b"below" in box.names(f"{folder}/contents")
    for wrong in ((tree, back), (f"{box.id}:/a", f"{box.id}:/b"), (tree, f"{box.id}:relative")):
        assert spored.cli("sandbox", "cp", *wrong).code == 2
    assert spored.cli("sandbox", "cp", f"{box.id}:/tmp/none", tmp_path / "x").code == 4
    assert spored.cli("sandbox", "cp", tmp_path / "none", f"{box.id}:/tmp").code == 4


def test_what_comes_out_is_written_through_no_link(spored, box, folder, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    # Here lie links where the sandbox has files: nothing goes through them.
    box.out(f"mkdir -p {folder}/t/sub; echo bad > {folder}/t/file; echo bad > {folder}/t/sub/file")
    (out / "t").mkdir()
    (out / "t/file").symlink_to(victim / "file")
    (out / "t/sub").symlink_to(victim)
    done = spored.cli("sandbox", "cp", f"{box.id}:{folder}/t", out)
    assert done.code == 4
    assert (victim / "file").read_text() == "precious"
    # The sandbox has links: they come as links, wherever they lead.
    box.out(f"rm -r {folder}/t; mkdir {folder}/t; ln -s {victim} {folder}/t/sub; ln -s ../../../etc {folder}/t/up")
    clean = tmp_path / "clean"
    assert spored.cli("sandbox", "cp", f"{box.id}:{folder}/t", clean).code == 0
    assert os.readlink(clean / "sub") == str(victim) and os.readlink(clean / "up") == "../../../etc"
    # It changes a folder into a link while it is copied.
    box.out(f"mkdir -p {folder}/race/a; echo bad > {folder}/race/a/file")
    stop = threading.Event()
    number = box.detach("sh", "-c", f"cd {folder}/race; while :; do mv a b; ln -s {victim} a; rm a; mv b a; done")
    for i in range(10):
        spored.cli("sandbox", "cp", f"{box.id}:{folder}/race", tmp_path / f"race{i}")
    stop.set()
    box.call("SignalExec", exec_id=number, signal=9)
    assert (victim / "file").read_text() == "precious" and os.listdir(victim) == ["file"]


def test_special_files_and_modes_stay_inside(spored, box, folder, tmp_path):
    box.out(f"cd {folder}; touch plain setuid; chmod 4755 setuid; mkfifo pipe;"
            "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"")
    out = tmp_path / "out"
    done = spored.cli("sandbox", "cp", f"{box.id}:{folder}", out)
    assert done.code == 0 and done.err.count("left out") == 2
    assert sorted(os.listdir(out)) == ["plain", "setuid"]
    assert (out / "setuid").stat().st_mode & 0o7777 == 0o755


def test_copies_are_bounded(spored, box, folder, tmp_path):
    box.out(f"head -c 3000000 /dev/zero > {folder}/big; truncate -s 40G {folder}/sparse || true")
    done = spored.cli("sandbox", "cp", "--max-size", "1M", f"{box.id}:{folder}/big", tmp_path / "big")
    assert done.code == 4 and "--max-size" in done.err
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)
    done = spored.cli("sandbox", "cp", "--max-size", "1M", tmp_path / "large", f"{box.id}:{folder}")
    assert done.code == 4 and "--max-size" in done.err
    box.out(f"cd {folder}; for i in $(seq 80); do mkdir d; cd d; done")
    done = spored.cli("sandbox", "cp", f"{box.id}:{folder}/d", tmp_path / "deep")
    assert done.code == 4 and "too deep" in done.err


def test_processes_are_listed(box):
    number = box.detach("sleep", "325")
    found = {p["pid"]: p for p in box.processes()}
    sleeper = next(p for p in found.values() if p["args"] == ["sleep", "325"])
    assert sleeper["exec_id"] == number and sleeper["name"] == "sleep"
    assert sum(p["agent"] for p in found.values()) == 1
    text = box.spored.cli("sandbox", "ps", box.id).out
    assert "(agent)" in text and "sleep 325" in text
    box.call("SignalExec", exec_id=number, signal=9)
