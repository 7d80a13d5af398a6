"""Archives of images: plain roots and OCI layouts, good, broken and hostile ones."""
import gzip
import hashlib
import json
import lzma
import os
import shutil
import socket
import subprocess
import tarfile

import daemon
import images_of_own as own
import pytest
import ttrpc

TREE = {"usr/bin/python3": "#!/bin/sh\n", "usr/lib/one": "1"}


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    server.write_config({"image-dirs": [str(server.directory / "images")], "max-image-bytes": "64MiB"})
    with server.running():
        yield server


def import_bytes(spored, data, name="a"):
    with own.file_of(data) as fd:
        return spored.call("Images", "Import", {"name": name, "runtime": "python", "source": "a test"}, [fd])


def refusal(spored, data):
    """The error, of which nothing has stayed."""
    with own.file_of(data) as fd:
        error = spored.error_of("Images", "Import", {"name": "bad", "runtime": "python"}, [fd])
    assert not list((spored.state / "images/staging").iterdir())
    assert not (spored.state / "images/names/bad").exists()
    assert spored.error_of("Images", "Get", {"name": "bad"}).code == ttrpc.CODES["NOT_FOUND"]
    return error


def tree_of(spored, response):
    return spored.state / "images/roots" / response["image"]["root"].removeprefix("sha256:") / "tree"


def names_in(tree):
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_the_root(spored, mode):
    data = own.tar_of({**TREE, "etc/hosts": "mine\n", "usr/lib/link": ("link", "/usr/lib/one"),
                       "usr/lib/hard": ("hard", "usr/lib/one")}, mode)
    response = import_bytes(spored, data, "tar" + mode[2:])
    assert response["image"]["source_digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    tree = tree_of(spored, response)
    assert (tree / "usr/lib/one").read_text() == "1" and (tree / "usr/lib/hard").read_text() == "1"
    assert (tree / "usr/lib/link").readlink().as_posix() == "/usr/lib/one"
    assert (tree / "etc/hosts").read_text() == "mine\n", "what the image has is left alone"
    assert "nobody" in (tree / "etc/passwd").read_text(), "what it lacks is added"
    for place in ("dev", "proc", "run/spore/host", "run/private", "tmp", "var/task"):
        assert (tree / place).is_dir()
    for path in [tree, *tree.rglob("*")]:
        info = path.lstat()
        assert (info.st_uid, info.st_gid, info.st_nlink if path.is_file() else 1) == (0, 0, 1)


def test_the_same_root_has_the_same_digest(spored):
    one = import_bytes(spored, own.tar_of(TREE), "same")
    other = import_bytes(spored, own.tar_of(dict(reversed(TREE.items())), "w:gz"), "same")
    assert other["unchanged"] and other["image"]["digest"] == one["image"]["digest"]


@pytest.mark.parametrize("compress", [gzip.compress, None, "zstd"])
def test_an_oci_archive(spored, compress):
    if compress == "zstd":
        def compress(data):
            return subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout
    layout = own.Layout([
        own.tar_of({**TREE, "opt/gone": "x", "opt/folder/gone": "x", "opt/stays": "1", "etc/replaced": "x",
                    "srv/opaque/old": "x", "srv/opaque/deep/old": "x", "lib": ("link", "usr/lib"), "was-file": "x",
                    "was-folder/inside": "x"}),
        own.tar_of({"opt/.wh.gone": "", "opt/.wh.folder": "", "opt/.wh.not-there": "", "etc/replaced": "new",
                    "srv/opaque/new": "n", "srv/opaque/deep/new": "n", "srv/opaque/.wh..wh..opq": "",
                    "lib/two": "2", "was-file": None, "was-file/now": "f", "was-folder": "now a file"}),
    ], compress)
    response = import_bytes(spored, layout.tar(), "oci-" + layout.layers[0]["mediaType"][-3:])
    assert response["image"]["source_digest"] == layout.manifest["digest"]
    tree = tree_of(spored, response)
    names = names_in(tree)
    assert "opt/stays" in names and not [name for name in names if name.endswith(("gone", "/old")) or ".wh." in name]
    assert (tree / "etc/replaced").read_text() == "new" and (tree / "usr/lib/two").read_text() == "2"
    assert sorted(path.name for path in (tree / "srv/opaque").rglob("*")) == ["deep", "new", "new"]
    assert (tree / "was-file/now").read_text() == "f" and (tree / "was-folder").read_text() == "now a file"
    assert not [name for name in names if name.startswith("blobs") or name == "index.json"]


def test_an_oci_layout_directory_runs_python(spored, tmp_path):
    root = own.python_root(tmp_path / "root")
    layout = own.Layout([own.tar_of_directory(root), own.tar_of({"opt/mark": "layered"})]).write(tmp_path / "layout")
    done = spored.cli("image", "import", "layered", "--runtime", "python", "--root", layout, timeout=300)
    assert done.code == 0, done
    spored.deploy("layered", {"app.py": "def handler(e, c): return open('/opt/mark').read()"}, image="layered")
    assert spored.result("layered") == "layered"
    spored.remove_function("layered")


PROCESS = {
    "Env": ["COLOUR=red", "TASTE=sweet", "PATH=/opt/bin:/usr/bin:/bin", "EMPTY=", "EQUALS=a=b", "LD_PRELOAD=/tmp/evil.so",
            "LD_LIBRARY_PATH=/opt/lib", "PYTHONHOME=/opt", "NODE_OPTIONS=--inspect", "JAVA_TOOL_OPTIONS=-Xint",
            "HOME=/root", "AWS_SECRET_ACCESS_KEY=x", "LAMBDA_TASK_ROOT=/", "bad name=1", "NOTHING", "LINE=a\nb"],
    "Entrypoint": ["/bin/sh"], "Cmd": ["-c", "true"], "WorkingDir": "/srv", "User": "", "ExposedPorts": {"80/tcp": {}},
}
SHOW = """import os
def handler(event, context): return {name: os.environ.get(name) for name in event}
"""


def test_the_environment_of_an_oci_archive(spored, tmp_path):
    layout = own.Layout([own.tar_of_directory(own.python_root(tmp_path / "root"))], process=PROCESS)
    layout.write(tmp_path / "layout")
    (tmp_path / "m.toml").write_text('runtime = "python"\n[environment]\nCOLOUR = "green"\nMINE = "yes"\n')
    done = spored.cli("image", "import", "env", "--manifest", tmp_path / "m.toml", "--root", tmp_path / "layout", "--json",
                      timeout=300)
    assert done.code == 0, done
    image, notes = done.json()["image"], "\n".join(done.json()["notes"])
    taken = {"TASTE": "sweet", "PATH": "/opt/bin:/usr/bin:/bin", "EMPTY": "", "EQUALS": "a=b"}
    assert image["environment"] == {**taken, "COLOUR": "green", "MINE": "yes"}
    assert sorted(image["archive_environment"]) == sorted(taken)
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHOME", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "HOME",
                 "AWS_SECRET_ACCESS_KEY", "LAMBDA_TASK_ROOT", '"bad name"', '"NOTHING"', '"LINE"'):
        assert name in notes, (name, notes)
    assert "not used of the archive's configuration: Entrypoint, Cmd, WorkingDir;" in notes
    text = spored.cli("image", "show", "env").out
    assert "TASTE=sweet  (of the archive)\n" in text and "COLOUR=green\n" in text
    spored.deploy("env", {"app.py": SHOW}, image="env")
    names = [*taken, "COLOUR", "MINE", "HOME", "LD_LIBRARY_PATH", "PYTHONHOME", "AWS_SECRET_ACCESS_KEY", "LINE"]
    assert spored.result("env", names) == {**dict.fromkeys(names), **image["environment"], "HOME": "/tmp"}
    spored.remove_function("env")
    assert spored.cli("image", "verify", "env", timeout=300).code == 0


def test_another_environment_is_another_version(spored):
    def made(*variables):
        return import_bytes(spored, own.Layout([own.tar_of(TREE)], process={"Env": [*variables]}).tar(), "env2")
    one, again, other = made("A=1", "LD_X=1"), made("A=1", "LD_X=2"), made("A=2")
    assert one["image"]["root"] == other["image"]["root"] and again["unchanged"] and not other.get("unchanged")
    assert one["image"]["digest"] != other["image"]["digest"] and other["image"]["version"] == 2
    plain = import_bytes(spored, own.Layout([own.tar_of(TREE)], process={"Env": None}).tar(), "env3")
    assert plain["image"]["digest"] == import_bytes(spored, own.tar_of(TREE), "env4")["image"]["digest"]


@pytest.mark.parametrize("environment, text", [
    ("A=1", "Env of its configuration is no list"), ([{"A": 1}], "no list of texts"), (["A=\0"], "holds a NUL"),
    (["A=" + "x" * (1 << 16)], "expected at most 65536"),
    ([f"A{i}=1" for i in range(257)], "has 257 variables; expected at most 256")])
def test_a_bad_environment_is_refused(spored, environment, text):
    error = refusal(spored, own.Layout([own.tar_of(TREE)], process={"Env": environment}).tar())
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and text in error.message, error.message


def spoil(change):
    layout = own.Layout([own.tar_of(TREE)])
    change(layout)
    return layout.tar()


def wrong_blob(part):
    def change(layout):
        name = layout.name_of(part(layout))
        layout.files[name] = layout.files[name][:-9] + b"\0" + layout.files[name][-8:]
    return change


def cut_blob(layout):
    name = layout.name_of(layout.layers[0])
    layout.files[name] = layout.files[name][:-20]


def other_diff_id(layout):
    config = json.loads(layout.files[layout.name_of(layout.config)])
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    layout.config = layout.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    remake(layout)


def remake(layout, **fields):
    manifest = {"schemaVersion": 2, "config": layout.config, "layers": layout.layers, **fields}
    layout.manifest = layout.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    layout.index([layout.manifest])


def several(layout):
    layout.index([layout.manifest, {**layout.manifest, **layout.blob(
        layout.files[layout.name_of(layout.manifest)] + b" ", layout.manifest["mediaType"])}])


@pytest.mark.parametrize("change, text", [
    (wrong_blob(lambda layout: layout.layers[0]), "layer sha256:"),
    (wrong_blob(lambda layout: layout.config), "configuration is not what its digest says"),
    (wrong_blob(lambda layout: layout.manifest), "manifest is not what its digest says"),
    (cut_blob, "bytes; expected"), (other_diff_id, "decompressed, is not what its digest says"),
    (several, "there are several for this host"),
    (lambda layout: layout.files.pop(layout.name_of(layout.layers[0])), "is missing"),
    (lambda layout: layout.index([]), "but for nothing at all"),
    (lambda layout: layout.index([{**layout.manifest, "platform": {"os": "linux", "architecture": "s390x"}}]),
     'but for \\"linux/s390x\\"'),
    (lambda layout: layout.index([{**layout.manifest, "digest": "sha256:../../etc/passwd"}]), "64 hexadecimal digits"),
    (lambda layout: layout.index([{**layout.manifest, "size": 3}]), "bytes; expected 3"),
    (lambda layout: layout.index([{**layout.manifest, "size": -1}]), "has no size"),
    (lambda layout: layout.files.update({"index.json": b"[" * 100000}), "no JSON object"),
    (lambda layout: layout.files.update({"index.json": b"{}"}), 'no array \\"manifests\\"'),
    (lambda layout: remake(layout, layers=[{**layout.layers[0], "mediaType": "text/html"}]), "media type"),
    (lambda layout: remake(layout, layers=layout.layers * 2), "does not name a diff_id for each of 2"),
    (lambda layout: remake(layout, config=7), "no configuration"),
])
def test_a_bad_oci_archive_is_refused(spored, change, text):
    error = refusal(spored, spoil(change))
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and text.replace("\\", "") in error.message.replace("\\", ""), \
        error.message


def test_another_architecture_is_refused(spored):
    assert "this host is linux/" in refusal(spored, own.Layout([own.tar_of(TREE)], architecture="s390x").tar()).message


def test_the_platform_of_the_host_is_chosen_from_an_index_in_an_index(spored):
    layout = own.Layout([own.tar_of({**TREE, "opt/right": ""})])
    fits = {**layout.manifest, "platform": {"os": "linux", "architecture": own.ARCHITECTURE}}
    other = {**layout.blob(b"{}", layout.manifest["mediaType"]), "platform": {"os": "linux", "architecture": "s390x"}}
    inner = layout.blob(json.dumps({"manifests": [other, fits]}).encode(), "application/vnd.oci.image.index.v1+json")
    layout.index([inner])
    assert (tree_of(spored, import_bytes(spored, layout.tar(), "nested")) / "opt/right").exists()
    layout.index([layout.blob(json.dumps({"manifests": [inner]}).encode(), inner["mediaType"])])
    for _ in range(4):
        inner = layout.blob(json.dumps({"manifests": [inner]}).encode(), inner["mediaType"])
    layout.index([inner])
    assert "too deep" in refusal(spored, layout.tar()).message


@pytest.mark.parametrize("files, text", [
    ({"../out": "x"}, 'holds ".."'), ({"a/../../out": "x"}, 'holds ".."'), ({"/etc/out": "x"}, "is absolute"),
    ({"a\nb": "x"}, "control character"), ({"run": ("link", "/etc")}, "it is no folder, and Spore needs one"),
    ({"dev": "x"}, "it is no folder"), ({"proc": ("link", "usr")}, "it is no folder"),
    ({"hard": ("hard", "../../etc/shadow")}, "no valid name"), ({"hard": ("hard", "nowhere")}, "no file of the image"),
    ({"hard": ("hard", "usr")}, "no file of the image"),
    ({"out": ("link", "/nowhere"), "out/file": "x"}, "is no folder"), ({"/".join("x" * 200): "x"}, "folders deep"),
    ({"x" * 256: "x"}, "a part of the name"), ({}, "holds no file"),
    ({"manifest.json": "[]", "layer.tar": ""}, "oci-archive"), ({"usr/lib/x": "x"}, "no /usr/bin/python3"),
])
def test_a_bad_root_is_refused(spored, files, text):
    tree = {} if text in ("holds no file", "oci-archive", "no /usr/bin/python3") else TREE
    error = refusal(spored, own.tar_of({**tree, **files}))
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and text in error.message.replace("\\", ""), error.message


def test_links_lead_nowhere_but_into_the_image(spored, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    data = own.tar_of({**TREE, str(tmp_path)[1:]: None, "out": ("link", str(tmp_path)), "up": ("link", "../../../../../.." + str(tmp_path)),
                       "out/victim": "changed", "up/victim": "changed"})
    tree = tree_of(spored, import_bytes(spored, data, "links"))
    assert victim.read_text() == "untouched"
    assert (tree / str(tmp_path)[1:] / "victim").read_text() == "changed", "as in a root of its own"


def test_what_a_root_may_not_keep(spored):
    data = own.tar_of({
        **TREE, "dev/null": own.special(tarfile.CHRTYPE, devmajor=1, devminor=3),
        "opt/disk": own.special(tarfile.BLKTYPE, devmajor=8), "opt/pipe": own.special(tarfile.FIFOTYPE),
        "usr/bin/su": own.special(tarfile.REGTYPE, 0o6755, uid=0), "etc/shadow": own.special(tarfile.REGTYPE, 0o640),
        "opt/open": own.special(tarfile.REGTYPE, 0o666, uid=1000, gid=1000)})
    response = import_bytes(spored, data, "odd")
    tree = tree_of(spored, response)
    assert not (tree / "dev/null").exists() and not (tree / "opt/disk").exists() and not (tree / "opt/pipe").exists()
    modes = {name: oct((tree / name).stat().st_mode & 0o7777) for name in ("usr/bin/su", "etc/shadow", "opt/open")}
    assert modes == {"usr/bin/su": "0o755", "etc/shadow": "0o600", "opt/open": "0o644"}
    assert response["notes"] == ['left out 3 devices, pipes and sockets, "dev/null" first',
                                 'took set-user-ID and set-group-ID bits from 1 files, "usr/bin/su" first']


def test_cut_short_and_rubbish(spored):
    whole = own.tar_of({**TREE, "usr/big": b"x" * 100000})
    for data in (b"", b"\0" * 3, b"rubbish" * 1000, whole[:700], whole[:50000], gzip.compress(whole)[:-5],
                 lzma.compress(whole)[:200], b"\x1f\x8b" + b"\0" * 600):
        assert refusal(spored, data).code == ttrpc.CODES["INVALID_ARGUMENT"], data[:20]
    end = len(whole.rstrip(b"\0"))
    assert "no end mark" in refusal(spored, whole[:-(-end // 512) * 512]).message


def test_too_large(spored):
    bomb = own.tar_of({**TREE, "zeros": b"\0" * (65 << 20)}, "w:gz")
    assert len(bomb) < 1 << 20
    assert "more than 67108864 bytes" in refusal(spored, bomb).message
    layout = own.Layout([own.tar_of({**TREE, "zeros": b"\0" * (65 << 20)})])
    assert "more than 67108864 bytes" in refusal(spored, layout.tar()).message


def test_what_is_no_archive(spored, tmp_path):
    ends = socket.socketpair()
    error = spored.error_of("Images", "Import", {"name": "bad", "runtime": "python"}, [ends[0].fileno()])
    assert "no file and no pipe" in error.message
    for end in ends:
        end.close()
    with own.pipe_of(own.tar_of(TREE)) as end:
        assert spored.call("Images", "Import", {"name": "piped", "runtime": "python"}, [end])["image"]["name"] == "piped@1"
    os.mkfifo(tmp_path / "fifo")
    for path, text in ((tmp_path / "fifo", "neither a file nor a directory"), (tmp_path / "none", "cannot read")):
        done = spored.cli("image", "import", "bad", "--runtime", "python", "--root", path)
        assert done.code == 2 and text in done.err, done


def test_a_directory_with_all_sorts_of_files(spored, tmp_path):
    root = tmp_path / "root"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    os.mkfifo(root / "pipe")
    os.link(root / "usr/lib/one", root / "usr/lib/hard")
    (root / "usr/lib/loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
        done = spored.cli("image", "import", "sorts", "--runtime", "python", "--root", root)
    assert done.code == 0 and "left out 1 devices" in done.out, done
    shutil.rmtree(root / "usr/bin")
    done = spored.cli("image", "import", "sorts", "--runtime", "python", "--root", root)
    assert done.code == 4 and "no /usr/bin/python3" in done.err, done
    assert spored.cli("image", "ls", "-q").out.split().count("sorts@1") == 1
