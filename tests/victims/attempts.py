"""What the hostile programs share: raw system calls, and a record of how each attempt ended.

An attempt that got what it wanted is recorded as "DONE"; one that was refused by the name of the
errno. Numbers are x86-64's; the programs are run nowhere else.
"""
import ctypes
import errno
import os
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
HERE = os.path.dirname(os.path.abspath(__file__))

NR = {
    "ioctl": 16, "msgget": 68, "ptrace": 101, "syslog": 103, "setuid": 105, "setgid": 106,
    "setgroups": 116, "setresuid": 117, "setresgid": 119, "capset": 126, "vhangup": 153,
    "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
    "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172,
    "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
    "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
    "kcmp": 312, "finit_module": 313, "seccomp": 317, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "memfd_secret": 447, "clone": 56,
}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def syscall(name, *arguments):
    """The call's outcome: "DONE" or an errno's name. Integers are passed as 64 bits."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(NR[name]), *converted) < 0:
        return name_of(ctypes.get_errno())
    return "DONE"


def attempt(action, *arguments):
    """"DONE" when `action` returns, the error's name when it raises."""
    try:
        action(*arguments)
    except OSError as error:
        return name_of(error.errno)
    except Exception as error:  # a refusal of whatever kind is told, not hidden
        return type(error).__name__
    return "DONE"


def in_child(action, *arguments):
    """The same in a forked child, for what would change or end the caller."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, str(action(*arguments)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    _, status = os.waitpid(pid, 0)
    return text or f"killed by signal {os.WTERMSIG(status)}"


def native(program, *arguments):
    """Runs a C program of the archive; its lines "attempt outcome" become a dictionary."""
    done = subprocess.run([os.path.join(HERE, "bin", program), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    outcomes = dict(line.split(None, 1) for line in done.stdout.splitlines())
    outcomes["exit"] = str(done.returncode)
    return outcomes
