#!/usr/bin/env python3
"""Compiles the Java side: compile_jars.py JAVAC JAR GSON SOURCE-DIR OUTPUT-DIR

Makes spore-function.jar (what handlers are compiled against), spore-host.jar, and the classes of
SporeWarmHandler as files. Classes are for Java 17, the oldest that the host runs on.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Fixed, so that the same sources make the same jars.
_DATE = "2026-01-01T00:00:00Z"


def compile_all(javac, sources, output, class_path, options=()):
    files = sorted(str(path) for path in sources.rglob("*.java"))
    subprocess.run([javac, "--release", "17", "-Xlint:all", "-Werror", "-g", "-proc:none", *options,
                    "-encoding", "UTF-8", "-cp", class_path, "-d", str(output), *files], check=True)


def main(javac, jar, gson, sources, output):
    sources, output = pathlib.Path(sources), pathlib.Path(output)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        compile_all(javac, sources / "api", work / "api", "")
        compile_all(javac, sources / "warm", work / "warm", str(work / "api"))
        # Concatenation by invokedynamic would be linked at its first use, in each child again.
        compile_all(javac, sources / "host", work / "host", f"{work / 'api'}:{gson}",
                    ["-XDstringConcat=inline"])
        for name, folders in (("spore-function.jar", ["api"]), ("spore-host.jar", ["api", "host"])):
            content = [part for folder in folders for part in ("-C", str(work / folder), ".")]
            subprocess.run([jar, "--create", "--file", str(output / name), "--date", _DATE,
                            "--no-compress", *content], check=True)
        for compiled in (work / "warm").glob("*.class"):
            shutil.copyfile(compiled, output / compiled.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
