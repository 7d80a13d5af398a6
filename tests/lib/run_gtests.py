#!/usr/bin/python3
"""Runs the test programs of one suite of a Meson build and writes one JUnit file for all of them.

usage: run_gtests.py BUILD_DIR SUITE[,SUITE] OUTPUT.xml
       run_gtests.py --programs BUILD_DIR SUITE[,SUITE]    names the ninja targets, runs nothing

The programs and their suites come from `meson introspect`; GoogleTest's own XML says what passed.
A program that ends without XML (a crash, a time-out, no GoogleTest) counts as one test.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET


def tests_of(build_dir, suites):
    """What `meson introspect --tests` wrote at configuration time, one dict a program."""
    with open(os.path.join(build_dir, "meson-info", "intro-tests.json")) as file:
        tests = json.load(file)
    wanted = set(suites.split(","))
    return [t for t in tests if wanted & {s.split(":")[-1] for s in t["suite"]}]


def run(test, build_dir, xml_path):
    """Returns (exit status or None on time-out, output, seconds). The program leads a process group."""
    env = dict(os.environ)
    env.update(test["env"])
    env["GTEST_OUTPUT"] = "xml:" + xml_path
    scale = float(env.get("SPORE_TEST_TIMEOUT_SCALE", "1"))
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            test["cmd"], cwd=test["workdir"] or build_dir, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, errors="replace")
    except OSError as error:
        return 127, str(error), 0.0
    try:
        output, _ = process.communicate(timeout=max(900, test["timeout"]) * scale)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    return status, output, time.monotonic() - start


def gtest_cases(xml_path):
    """Yields (class, name, seconds, verdict, message) from GoogleTest's XML."""
    for case in ET.parse(xml_path).getroot().iter("testcase"):
        failures = [f.get("message") or f.text or "" for f in case.findall("failure")]
        skipped = case.find("skipped") is not None or case.get("status") == "notrun"
        verdict = "failed" if failures else "skipped" if skipped else "passed"
        message = "\n".join(failures)
        if skipped and case.find("skipped") is not None:
            message = case.find("skipped").get("message") or ""
        yield case.get("classname"), case.get("name"), float(case.get("time") or 0), verdict, message


def describe(status):
    if status is None:
        return "timed out"
    if status < 0:
        return "killed by " + signal.Signals(-status).name
    return "exit status %d" % status


def run_all(build_dir, suites, scratch):
    for test in tests_of(build_dir, suites):
        xml_path = os.path.join(scratch, test["name"].replace("/", "_").replace(" ", "_") + ".xml")
        status, output, seconds = run(test, build_dir, xml_path)
        cases = []
        try:
            cases = list(gtest_cases(xml_path))
        except (OSError, ET.ParseError):
            pass
        if not cases:
            verdict = {0: "passed", 77: "skipped"}.get(status, "failed")
            cases = [(suites, test["name"], seconds, verdict, describe(status) + "\n" + output[-4000:])]
        elif status != 0 and not any(verdict == "failed" for *_, verdict, _ in cases):
            cases.append((suites, test["name"], seconds, "failed", describe(status) + "\n" + output[-4000:]))
        bad = [c for c in cases if c[3] != "passed"]
        print("   %-28s %3d of %d passed, %.1f s" % (
            test["name"], len(cases) - len(bad), len(cases), seconds), flush=True)
        for group, name, _, verdict, message in bad:
            print("   %s %s.%s\n%s" % (verdict.upper(), group, name, message), flush=True)
        if bad and output:
            print("   --- the last lines of its output:\n" + "\n".join(output.splitlines()[-40:]), flush=True)
        for group, name, took, verdict, message in cases:
            yield test["name"] + "." + group, name, took, verdict, message


def printable(text):
    """XML 1.0 has no way to say most control characters."""
    return "".join(c if c >= " " or c in "\n\t" else "?" for c in text)


def write_junit(path, suite, cases):
    root = ET.Element("testsuite", name=suite, tests=str(len(cases)))
    for group, name, took, verdict, message in cases:
        case = ET.SubElement(root, "testcase", classname=group, name=name, time="%.3f" % took)
        if verdict != "passed":
            tag = ET.SubElement(case, "failure" if verdict == "failed" else "skipped")
            tag.set("message", printable(message.split("\n")[0]))
            tag.text = printable(message)
    ET.ElementTree(root).write(path, encoding="unicode")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if sys.argv[1] == "--programs":
        for test in tests_of(sys.argv[2], sys.argv[3]):
            print(os.path.relpath(test["cmd"][0], os.path.realpath(sys.argv[2])))
        return 0
    build_dir, suite, output = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="spore-gtest-") as scratch:
        cases = list(run_all(os.path.abspath(build_dir), suite, scratch))
    write_junit(output, suite, cases)
    return 1 if any(case[3] != "passed" for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
