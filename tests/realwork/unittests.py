"""Runs CPython's own test modules and tells how each test ended, as one line of JSON.

    unittests.py MODULE... [--without PATTERN | --only PREFIX...]

PATTERN is a regular expression for the names of tests. What the tests themselves print goes to stderr.
"""
import faulthandler
import json
import os
import re
import sys
import unittest

from test import support


class Outcomes(unittest.TestResult):
    """Each test's outcome: "ok", or its kind and the last line of what it says."""

    def __init__(self):
        super().__init__()
        self.outcomes = {}

    def note(self, test, kind, why=""):
        name = test.id() if isinstance(test, unittest.TestCase) else str(test)
        if self.outcomes.get(name, "ok") == "ok":
            lines = why.strip().splitlines() or [""]
            self.outcomes[name] = kind if kind == "ok" else f"{kind}: {lines[-1][:300]}"
            if kind in ("failure", "error"):
                print(f"{kind} of {name}\n{why}", file=sys.stderr, flush=True)

    def startTest(self, test):
        super().startTest(test)
        print(test.id(), file=sys.stderr, flush=True)

    def addSuccess(self, test):
        self.note(test, "ok")

    def addFailure(self, test, err):
        self.note(test, "failure", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        self.note(test, "error", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failure", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.note(test, "ok")

    def addUnexpectedSuccess(self, test):
        self.note(test, "failure", "succeeded, though it should fail here")


def tests_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def chosen(arguments):
    """The modules, and what says of a test's name whether it is to be run."""
    for number, word in enumerate(arguments):
        if word == "--without":
            pattern = re.compile(arguments[number + 1])
            return arguments[:number], lambda name: not pattern.search(name)
        if word == "--only":
            prefixes = tuple(arguments[number + 1:])
            return arguments[:number], lambda name: name.startswith(prefixes)
    return arguments, lambda name: True


def main():
    modules, wanted = chosen(sys.argv[1:])
    results = os.dup(1)
    os.dup2(2, 1)
    faulthandler.enable()
    # No test that asks for a network, much memory, or minutes.
    support.use_resources = ["subprocess"]
    os.chdir(os.environ.get("TMPDIR", "/tmp"))
    suite = unittest.TestSuite()
    outcomes = Outcomes()
    for module in modules:
        try:
            found = tests_of(unittest.defaultTestLoader.loadTestsFromName(f"test.{module}"))
            suite.addTests(test for test in found if wanted(test.id()))
        except unittest.SkipTest as why:
            outcomes.outcomes[f"test.{module}"] = f"skipped: {why}"
    suite.run(outcomes)
    with open(results, "w") as out:
        json.dump(outcomes.outcomes, out)


if __name__ == "__main__":
    main()
