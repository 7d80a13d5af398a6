"""Calls that reach into the kernel: bpf, keys, io_uring, userfaultfd, perf, modules, clocks."""
import ctypes

from attempts import in_child, syscall

AT_FDCWD = -100


def run(event):
    page = ctypes.create_string_buffer(4096)
    perf = ctypes.create_string_buffer(128)
    ctypes.c_uint32.from_buffer(perf, 0).value = 1       # PERF_TYPE_SOFTWARE
    ctypes.c_uint32.from_buffer(perf, 4).value = 112     # size
    calls = {
        "bpf map": ("bpf", 0, page, 72),
        "bpf program": ("bpf", 5, page, 72),
        "add_key": ("add_key", b"user", b"spore", b"x", 1, -3),
        "request_key": ("request_key", b"user", b"spore", None, -3),
        "keyctl get session": ("keyctl", 0, -3, 1),
        "keyctl join session": ("keyctl", 1, None),
        "keyctl read": ("keyctl", 11, -3, page, 4096),
        "io_uring_setup": ("io_uring_setup", 4, page),
        "userfaultfd": ("userfaultfd", 0),
        "userfaultfd user mode": ("userfaultfd", 1),
        "perf_event_open": ("perf_event_open", perf, 0, -1, -1, 0),
        "init_module": ("init_module", page, 4096, b""),
        "finit_module": ("finit_module", 0, b"", 0),
        "delete_module": ("delete_module", b"spore", 0),
        "kexec_load": ("kexec_load", 0, 0, None, 0),
        "kexec_file_load": ("kexec_file_load", 0, 0, 0, None, 0),
        "reboot": ("reboot", 0xFEE1DEAD, 672274793, 0, None),
        "acct": ("acct", b"/tmp/acct"),
        "quotactl": ("quotactl", 0x800007 << 8, None, 0, page),
        "settimeofday": ("settimeofday", page, None),
        "clock_settime": ("clock_settime", 0, page),
        "adjtimex": ("adjtimex", (ctypes.c_char * 256)(1)),
        "clock_adjtime": ("clock_adjtime", 0, (ctypes.c_char * 256)(1)),
        "iopl": ("iopl", 3),
        "ioperm": ("ioperm", 0x70, 1, 1),
        "modify_ldt": ("modify_ldt", 1, page, 16),
        "sethostname": ("sethostname", b"victim", 6),
        "setdomainname": ("setdomainname", b"victim", 6),
        "fanotify_init": ("fanotify_init", 0, 0),
        "name_to_handle_at": ("name_to_handle_at", AT_FDCWD, b"/", page, page, 0),
        "open_by_handle_at": ("open_by_handle_at", AT_FDCWD, page, 0),
        "lookup_dcookie": ("lookup_dcookie", 1, page, 4096),
        "vhangup": ("vhangup",),
        "swapoff": ("swapoff", b"/tmp/swap"),
        "process_madvise": ("process_madvise", 0, page, 1, 8, 0),
        "memfd_secret": ("memfd_secret", 0),
        "_sysctl": ("_sysctl", page),
    }
    return {name: in_child(syscall, *call) for name, call in calls.items()}
