"""Java handlers for the end-to-end tests, compiled from tests/java by the host's javac."""
import functools
import pathlib
import subprocess
import tempfile

import daemon

SOURCES = pathlib.Path(__file__).parents[1] / "java"


def hosts():
    return pathlib.Path(daemon.environment().get("SPORE_HOSTS", "/usr/local/lib/spore/hosts"))


@functools.cache
def function_jar():
    """What handlers are compiled against, of the build or of the installation."""
    places = [hosts(), *pathlib.Path("/usr").glob("lib/*/spore/hosts"),
              *pathlib.Path("/usr/local").glob("lib/*/spore/hosts")]
    for place in places:
        if (place / "java/spore-function.jar").is_file():
            return str(place / "java/spore-function.jar")
    raise AssertionError(f"no spore-function.jar in {places}: build with -Djava=enabled")


def compile_into(directory, sources, class_path=()):
    """Compiles files or {name: text} into a directory."""
    if isinstance(sources, dict):
        written = pathlib.Path(tempfile.mkdtemp(prefix="spore-java-", dir=directory.parent))
        for name, text in sources.items():
            (written / name).parent.mkdir(parents=True, exist_ok=True)
            (written / name).write_text(text)
        sources = [written / name for name in sources]
    done = subprocess.run(
        ["javac", "-nowarn", "-Xlint:none", "-g", "-encoding", "UTF-8", "-d", str(directory), "-cp",
         ":".join([function_jar(), *map(str, class_path)]), *map(str, sources)],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


def jar(directory, path, main=None):
    subprocess.run(["jar", "--create", "--file", str(path), *(["--main-class", main] if main else []),
                    "-C", str(directory), "."], check=True)
    return path


class Probes:
    """Deploys the classes of tests/java under any of their handlers, and calls them."""

    count = 0

    def __init__(self, spored, archive, image="", **settings):
        self.spored, self.archive, self.image, self.settings = spored, archive, image, settings
        self.made = {}

    def deploy(self, handler, isolation="ISOLATION_INSTANCE", **limits):
        key = (handler, isolation, tuple(sorted(limits.items())))
        if key not in self.made:
            Probes.count += 1
            name = f"probe-{Probes.count}"
            self.spored.deploy(name, self.archive, f"probe.{handler}", isolation,
                               {"timeout_ms": 60000, "memory_bytes": 256 << 20, **limits}, "java",
                               self.image, **self.settings)
            self.made[key] = name
        return self.made[key]

    def invoke(self, handler, event=None, isolation="ISOLATION_INSTANCE", meta=None, **limits):
        return self.spored.invoke(self.deploy(handler, isolation, **limits), event, **(meta or {}))

    def result(self, handler, event=None, **how):
        response = self.invoke(handler, event, **how)
        assert response["error"] is None, response["error"]
        return response["result"]

    def failure(self, handler, event=None, **how):
        response = self.invoke(handler, event, **how)
        assert response["error"], f"succeeded: {response}"
        return response["error"]

    def remove(self):
        for name in self.made.values():
            self.spored.remove_function(name)
