"""Reads the host's files: secrets, other tenants' code, devices, and whatever `paths` names."""
import os

from attempts import attempt

SECRETS = [
    "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/sshd_config", "/etc/machine-id",
    "/root", "/home", "/boot", "/srv", "/mnt", "/media", "/opt", "/var/lib", "/var/log",
    "/run/spore/spored.sock", "/run/spore/lock", "/run/systemd", "/var/run/docker.sock", "/sys", "/sys/fs/cgroup",
    "/sys/kernel/security", "/sys/firmware", "/dev/sda", "/dev/vda", "/dev/mem", "/dev/kmem",
    "/dev/port", "/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/dev/mapper/control", "/dev/vhost-net",
    "/dev/kvm", "/dev/loop-control", "/dev/userfaultfd", "/dev/snapshot",
]


def read(path):
    if os.path.isdir(path):
        if not os.listdir(path):
            raise FileNotFoundError(2, "empty")
    else:
        with open(path, "rb") as file:
            file.read(1)


def write(path):
    with open(path, "ab"):
        pass


def climb():
    """Out of the root by .. and by a kept descriptor."""
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(64):
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = above
    names = sorted(os.listdir(descriptor))
    os.close(descriptor)
    return names


def run(event):
    paths = SECRETS + event.get("paths", [])
    writable = [
        path for path in ("/", "/usr", "/usr/bin", "/etc", "/dev", "/proc", "/var", "/var/task",
                          "/bin", "/lib", "/proc/sys/kernel")
        if attempt(write, os.path.join(path, "spore-victim")) == "DONE"
    ]
    return {
        "read": {path: attempt(read, path) for path in paths},
        "overwrite": {path: attempt(write, path) for path in
                      ("/usr/bin/python3", "/etc/passwd", "/usr/lib/os-release", __file__,
                       "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern")},
        "writable": writable,
        "root": sorted(os.listdir("/")),
        "above": climb(),
        "devices": sorted(os.listdir("/dev")),
        "etc": sorted(os.listdir("/etc")),
        "passwd": open("/etc/passwd").read() if os.path.exists("/etc/passwd") else "",
        "mounts": [line.split()[4] for line in open("/proc/self/mountinfo")],
    }
