"""Roots and archives for the tests of imported images, made from this host's own files."""
import contextlib
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile

# Fault points of an import.
POINTS = ["image-staged", "image-unpacked", "image-listed", "image-root-placed", "image-placed"]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def python_root(root):
    """The host's Python with the libraries it needs, without anything else of the host."""
    root = pathlib.Path(root)
    python = pathlib.Path("/usr/bin/python3").resolve()
    version = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                             capture_output=True, text=True, check=True).stdout.strip()
    stdlib = pathlib.Path(f"/usr/lib/python{version}")
    skip = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip",
                                  "lib2to3", "config-*", "dist-packages", "pydoc_data", "distutils")
    shutil.copytree(stdlib, root / str(stdlib)[1:], symlinks=True, ignore=skip)
    for path in list((root / str(stdlib)[1:]).rglob("*")):
        if path.is_symlink() and not path.exists():
            path.unlink()  # into /etc
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(python, root / "usr/bin" / python.name)
    (root / "usr/bin/python3").symlink_to(python.name)
    objects = [python, *stdlib.glob("lib-dynload/*.so"), *pathlib.Path("/usr/lib").glob("*/libseccomp.so.2")]
    listed = subprocess.run(["ldd", *map(str, objects)], capture_output=True, text=True).stdout
    libraries = set(re.findall(r"(/\S+) \(0x", listed)) | {str(objects[-1])}
    for name in libraries:
        target = root / name[1:] if name.startswith("/lib64/") else root / "usr" / name.removeprefix("/usr")[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, target)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    return root


def tar_of(files, mode="w", end=True):
    """A tar of {name: text, bytes, TarInfo, ("link", target), ("hard", target) or None for a folder}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            data = None
            if isinstance(content, tarfile.TarInfo):
                entry = content
                entry.name = name
            elif content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                entry.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}[content[0]]
                entry.linkname = content[1]
            else:
                data = content.encode() if isinstance(content, str) else content
                entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data) if data is not None else None)
    return buffer.getvalue()


def tar_of_directory(directory):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(pathlib.Path(directory).iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()


def special(kind, mode=0o644, **fields):
    entry = tarfile.TarInfo()
    entry.type = kind
    entry.mode = mode
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry


class Layout:
    """An OCI image layout in memory; `files` may be spoiled before it is packed."""

    def __init__(self, layers, compress=gzip.compress, architecture=ARCHITECTURE, process=None):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        suffix = {gzip.compress: "+gzip", None: ""}.get(compress, "+zstd")
        described, diff_ids = [], []
        for tar in layers:
            diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
            blob = compress(tar) if compress else tar
            described.append(self.blob(blob, "application/vnd.oci.image.layer.v1.tar" + suffix))
        config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        if process is not None:
            config["config"] = process
        self.layers = described
        self.config = self.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        self.manifest = self.blob(json.dumps({"schemaVersion": 2, "config": self.config,
                                              "layers": described}).encode(),
                                  "application/vnd.oci.image.manifest.v1+json")
        self.index([self.manifest])

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        self.files["blobs/sha256/" + digest] = data
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def index(self, manifests):
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()

    def name_of(self, descriptor):
        return "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")

    def tar(self):
        return tar_of(self.files)

    def write(self, directory):
        for name, data in self.files.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return directory


@contextlib.contextmanager
def pipe_of(data):
    """The read end of a pipe with `data`, which must fit into it."""
    end, other = os.pipe()
    try:
        os.write(other, data)
        os.close(other)
        yield end
    finally:
        os.close(end)


@contextlib.contextmanager
def file_of(data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file.fileno()
