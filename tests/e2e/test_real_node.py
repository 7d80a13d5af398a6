"""A published package's own tests, run in copies of node: threads, shared memory, streams, processes.

Node's own test files are in none of Debian's packages, and published packages seldom contain theirs;
tests/realwork/packages has one that does, whose tests use most of what a copy could get wrong.
"""
import json
import re

import pytest
import realwork

PACKAGES = realwork.SOURCES / "packages"
TESTS = sorted(path.name for path in (PACKAGES / "thread-stream/test").glob("*.test.js"))


def files():
    found = {}
    for path in sorted(PACKAGES.rglob("*")):
        if path.suffix in (".js", ".mjs", ".json"):
            name = str(path.relative_to(PACKAGES))
            found[name if name.startswith("thread-stream/") else f"node_modules/{name}"] = path.read_text()
    return json.dumps(found).encode()


def outcomes(done):
    """{name: whether it succeeded}, of TAP or of the newer reporter for people."""
    assert done.code in (0, 1), done
    told = re.findall(r"^(not ok|ok|\N{HEAVY CHECK MARK}|\N{HEAVY MULTIPLICATION X})(?: \d+ -)? (.*?)(?: \([\d.]+ms\))?$",
                      done.out, re.M)
    return {name: mark in ("ok", "\N{HEAVY CHECK MARK}") for mark, name in told}


@pytest.mark.parametrize("name", TESTS)
def test_package_tests(spored, name):
    inside = realwork.run_inside(spored, "node_tests.js", f"thread-stream/test/{name}", input=files(),
                                 runtime="node")
    found = outcomes(inside)
    assert found, inside
    if inside.code != 0 or not all(found.values()):
        outside = realwork.run_outside(["/usr/bin/node"], "node_tests.js", f"thread-stream/test/{name}",
                                       input=files())
        assert found == outcomes(outside), (inside, outside)


def test_there_are_tests():
    assert len(TESTS) >= 13
