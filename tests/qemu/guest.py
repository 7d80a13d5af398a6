"""The first process of the emulated machine: mounts what a host has, runs the suites, powers off.

Arguments: BUILD_DIR. Results go to the second serial port, everything else to the console.
"""

import ctypes
import os
import subprocess
import sys
import traceback
import tty

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMOKE = os.path.join(TOP, "tests/qemu/test_smoke.py")
MS_BIND, MS_MOVE = 4096, 8192  # mount(2)
LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC  # reboot(2)
libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, flags=0, options=""):
    os.makedirs(target, exist_ok=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount %s on %s" % (source, target))


def leave_initial_root():
    """pivot_root(2) refuses to work below the initial ramfs: make the root a mount of its own."""
    mount("/", "/mnt/root", "none", MS_BIND)
    os.chdir("/mnt/root")
    if libc.mount(b".", b"/", None, MS_MOVE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount --move")
    os.chroot(".")
    os.chdir("/")


def set_up():
    leave_initial_root()
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    mount("devtmpfs", "/dev", "devtmpfs", options="mode=755")
    mount("devpts", "/dev/pts", "devpts", options="ptmxmode=666")
    mount("tmpfs", "/dev/shm", "tmpfs")
    mount("tmpfs", "/run", "tmpfs", options="mode=755")
    mount("tmpfs", "/tmp", "tmpfs", options="mode=1777")
    mount("securityfs", "/sys/kernel/security", "securityfs")
    # As systemd mounts it.
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", options="nsdelegate,memory_recursiveprot")


def run_suite(port, suite, command, xml):
    print("--- %s" % suite, flush=True)
    subprocess.run(command, stdin=subprocess.DEVNULL)
    try:
        with open(xml) as file:
            text = file.read()
    except OSError:
        text = ('<testsuite><testcase classname="%s" name="runs"><failure message="no result"/>'
                '</testcase></testsuite>' % suite)
    port.write(("JUNIT %s\n%s\nEND\n" % (suite, text)).encode())
    port.flush()


def run_suites(build_dir):
    os.environ.update({
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "CI": "true",
        "SPORE_BUILD": build_dir, "PYTHONDONTWRITEBYTECODE": "1", "SPORE_TEST_TIMEOUT_SCALE": "5"})
    python = "/usr/bin/python3"
    with open("/dev/ttyS1", "wb") as port:
        tty.setraw(port.fileno())
        run_suite(port, "kernel", [python, os.path.join(TOP, "tests/lib/run_gtests.py"), build_dir, "kernel",
                                   "/tmp/kernel.xml"], "/tmp/kernel.xml")
        run_suite(port, "smoke", [python, "-m", "pytest", "-q", "-rfE", "--color=no", "-p",
                                  "no:cacheprovider", "--junitxml=/tmp/smoke.xml", SMOKE], "/tmp/smoke.xml")
        port.write(b"FINISHED\n")


def main():
    child = 0
    try:
        set_up()
        child = os.fork()
        if child == 0:
            os.setsid()
            run_suites(sys.argv[1])
            os._exit(0)
        # The duty of a first process: whoever loses its parent is waited for here.
        while os.wait()[0] != child:
            pass
    except BaseException:
        traceback.print_exc()
        if child == 0 and os.getpid() != 1:
            os._exit(1)
    sys.stdout.flush()
    libc.reboot(LINUX_REBOOT_CMD_POWER_OFF)


main()
