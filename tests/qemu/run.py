#!/usr/bin/python3
"""Runs tests on a Debian kernel with cgroup v2 alone, in an emulated machine.

usage: run.py BUILD_DIR OUTPUT.xml

The machine's root is an initramfs made from this host's files, so what runs inside is the build that
is tested outside too; only the kernel is another one. It is taken from the Debian package (downloaded
with apt-get, unpacked below BUILD_DIR/qemu, never installed). Emulation is by TCG: no KVM is needed.
The second serial port carries the results out, as JUnit XML between marker lines.
"""

import glob
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import initramfs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUEST = os.path.join(TOP, "tests/qemu/guest.py")
TIMEOUT_SECONDS = 1500
MEMORY_MIB = 2048

sys.path.insert(0, os.path.join(TOP, "tests/lib"))
from run_gtests import write_junit  # noqa: E402

PROGRAMS = ["/usr/bin/python3", "/bin/sh", "/usr/bin/setpriv", "/bin/cat", "/bin/ls", "/bin/sleep",
            "/bin/true", "/bin/mount", "/bin/umount", "/usr/bin/env", "/bin/dmesg"]
# pytest and what it imports, as Debian 12 and 13 name them.
PYTEST = ["pytest", "_pytest", "pluggy", "iniconfig", "attr", "attrs", "packaging", "py.py", "pygments"]


def fetch_kernel(directory):
    """Downloads and unpacks the newest cloud kernel that apt knows; returns the path of its image."""
    os.makedirs(directory, exist_ok=True)
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                             check=True, capture_output=True, text=True).stdout
    package = re.search(r"Depends: (linux-image-\S+)", depends).group(1)
    version = package.removeprefix("linux-image-")
    image = os.path.join(directory, package, "boot", "vmlinuz-" + version)
    if not os.path.exists(image):
        subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
                       cwd=directory, check=True, stdout=subprocess.DEVNULL)
        archive = glob.glob(os.path.join(directory, package + "_*.deb"))[0]
        subprocess.run(["dpkg-deb", "-x", archive, os.path.join(directory, package)], check=True)
        os.unlink(archive)
    return image


def build_file_wanted(path):
    """Of the build directory: programs, Python extensions and what names the tests."""
    return path.endswith((".json", ".xml", ".toml", ".py")) or (
        initramfs.is_elf(path) and not path.endswith((".o", ".a")))


def assemble(build_dir, path):
    archive = initramfs.Archive()
    for link in ("/bin", "/sbin", "/lib", "/lib64"):
        archive.add_link(link, "usr" + link)
        archive.add_directory("/usr" + link)
    for directory in ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/lib", "/var/tmp", "/root", "/etc"):
        archive.add_directory(directory, 0o1777 if directory.endswith("tmp") else 0o755)
    archive.add_text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    archive.add_text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
    archive.add_text("/etc/shadow", "root:*:1::::::\n", 0o600)
    for program in PROGRAMS:
        archive.add(program)
    archive.add_tree("/usr/lib/locale/C.utf8")
    python = os.path.dirname(os.__file__)
    unused = re.compile(r"/(test|tests|idlelib|tkinter|lib2to3|ensurepip|turtledemo|config-[^/]*)$")
    archive.add_tree(python, unused.search)
    packages = "/usr/lib/python3/dist-packages"
    for name in PYTEST:
        found = os.path.join(packages, name)
        if os.path.isdir(found):
            archive.add_tree(found)
        elif os.path.exists(found):
            archive.add(found)
    for part in glob.glob(packages + "/pytest-*") + glob.glob(packages + "/pluggy-*"):
        archive.add_tree(part)
    for directory in ("tests", "zygote/hosts", "images", "config", "examples", "proto"):
        archive.add_tree(os.path.join(TOP, directory), lambda p: p.endswith("__pycache__"))
    archive.add_tree(build_dir, lambda p: (p.endswith(".p") or os.path.basename(p) in ("qemu", "results", "unit"))
                     if os.path.isdir(p) else not build_file_wanted(p))
    archive.add_libraries()
    archive.write(path)


def boot(kernel, archive, build_dir, scratch):
    """Returns (what the console showed, what came out of the second port, timed out)."""
    results = os.path.join(scratch, "results.txt")
    console = os.path.join(scratch, "console.txt")
    command = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
        "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", kernel, "-initrd", archive,
        "-serial", "file:" + console, "-serial", "file:" + results,
        # What follows -- are the arguments of the first process.
        "-append", "console=ttyS0 quiet panic=-1 rootfstype=tmpfs rdinit=/usr/bin/python3 "
                   "-- %s %s" % (GUEST, build_dir)]
    timed_out = False
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as machine:
        try:
            machine.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            timed_out = True
            machine.kill()
    texts = []
    for path in (console, results):
        with open(path, errors="replace") as file:
            texts.append(file.read())
    return texts[0], texts[1], timed_out


def cases_of(results):
    """The test cases of every `JUNIT suite` ... `END` block."""
    for suite, text in re.findall(r"^JUNIT (\S+)\r?\n(.*?)^END\r?$", results, re.M | re.S):
        ran = list(ET.fromstring(text).iter("testcase"))
        if not ran:
            yield "v2." + suite, "has_tests", 0, "failed", "nothing ran"
        for case in ran:
            problem = case.find("failure")
            if problem is None:
                problem = case.find("error")
            verdict = "passed" if problem is None else "failed"
            if problem is None:
                problem = case.find("skipped")
                verdict = "passed" if problem is None else "skipped"
            message = "" if problem is None else "%s\n%s" % (problem.get("message"), problem.text or "")
            yield ("v2.%s.%s" % (suite, case.get("classname")), case.get("name"),
                   float(case.get("time") or 0), verdict, message)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build_dir, output = os.path.realpath(sys.argv[1]), sys.argv[2]
    scratch = os.path.join(build_dir, "qemu")
    kernel = fetch_kernel(scratch)
    archive = os.path.join(scratch, "initramfs.cpio")
    assemble(build_dir, archive)
    print("   kernel %s, initramfs of %d MB" % (
        os.path.basename(kernel), os.path.getsize(archive) // 1000000), flush=True)
    console, results, timed_out = boot(kernel, archive, build_dir, scratch)
    cases = list(cases_of(results))
    finished = re.search(r"^FINISHED\r?$", results, re.M) is not None
    cases.append(("v2", "machine_ran_to_its_end", 0, "passed" if finished else "failed",
                  "" if finished else "timed out" if timed_out else "it stopped early"))
    os.unlink(archive)
    bad = [case for case in cases if case[3] != "passed"]
    for group, name, _, verdict, message in bad:
        print("   %s %s.%s\n%s" % (verdict.upper(), group, name, message))
    if bad:
        print("   --- the end of the machine's console:\n" + "\n".join(console.splitlines()[-60:]))
    print("   %d of %d passed" % (len(cases) - len(bad), len(cases)))
    write_junit(output, "qemu", cases)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
