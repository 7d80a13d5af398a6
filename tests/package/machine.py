#!/usr/bin/python3
"""Boots the disk that scripts/check-package has made, and tells what tests/package/guest.py found in it.

usage: machine.py DISK KERNEL INITRD CONSOLE-LOG

Emulation is by TCG. The second serial port carries the results: a line of JSON for each step.
"""

import json
import os
import subprocess
import sys
import tempfile

TIMEOUT_SECONDS = int(os.environ.get("SPORE_MACHINE_TIMEOUT", "3600"))


def command(disk, kernel, initrd, console, results):
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", kernel, "-initrd", initrd,
            "-drive", "file=%s,format=raw,if=virtio,cache=unsafe" % disk,
            "-serial", "file:" + console, "-serial", "file:" + results,
            "-append", "root=/dev/vda rw console=ttyS0 panic=-1 fsck.mode=skip "
                       "rcupdate.rcu_cpu_stall_suppress=1 systemd.show_status=no"]


def lines_of(file):
    """What has come in since the last call, as far as its lines are whole."""
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(place)
            return
        try:
            yield json.loads(line)
        except ValueError:
            print("   not a result: %r" % line)


def watch(machine, results):
    """Prints each step as it comes; returns how many passed, how many failed, and whether it was the end."""
    passed = failed = waited = 0
    finished = False
    with open(results, errors="replace") as file:
        while True:
            try:
                machine.wait(2)
            except subprocess.TimeoutExpired:
                waited += 2
            for step in lines_of(file):
                if "finished" in step:
                    finished = True
                    continue
                passed, failed = passed + step["passed"], failed + (not step["passed"])
                print("   %s %s (%d s)" % ("passed" if step["passed"] else "FAILED", step["name"], step["seconds"]))
                for line in step["text"].splitlines():
                    print("      " + line)
                sys.stdout.flush()
            if machine.poll() is not None:
                return passed, failed, finished
            if waited > TIMEOUT_SECONDS:
                print("   it has not come to an end in %d s" % TIMEOUT_SECONDS)
                machine.kill()
                machine.wait()
                return passed, failed, False


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    disk, kernel, initrd, console = map(os.path.realpath, sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="spore-machine-") as scratch:
        results = os.path.join(scratch, "results")
        open(results, "w").close()
        with subprocess.Popen(command(disk, kernel, initrd, console, results), stdin=subprocess.DEVNULL) as machine:
            try:
                passed, failed, finished = watch(machine, results)
            finally:
                machine.kill()
    if not finished:
        print("   the machine ended early; see " + console)
    print("   %d passed, %d failed" % (passed, failed))
    return 0 if finished and passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
