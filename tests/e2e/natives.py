"""Compiles the C and C++ programs and functions of tests/natives."""
import functools
import pathlib
import subprocess
import tempfile

import daemon

SOURCES = daemon.ROOT / "tests/natives"


@functools.cache
def output_folder():
    made = tempfile.TemporaryDirectory(prefix="spore-natives-")
    path = pathlib.Path(made.name)
    path.chmod(0o755)
    return made, path


def compile_as(output, source, *options, sources=SOURCES):
    target = output_folder()[1] / output
    if not target.exists():
        compiler = "g++" if source.endswith(".cc") else "gcc"
        subprocess.run([compiler, "-O1", f"-I{daemon.ROOT}", "-o", target,
                        sources / source, *options], check=True)
    return target


def library(source, *options):
    """The bytes of a shared object."""
    name = f"lib{source.split('.')[0]}.so"
    return compile_as(name, source, "-shared", "-fPIC", *options).read_bytes()


def program(source, *options, folder=SOURCES):
    """The path of an executable file."""
    name = "-".join([source.split(".")[0], *(option.strip("-") for option in options)])
    return compile_as(name, source, *options, sources=folder)
