"""Changes the mount tree, by the old calls and the new ones."""
import ctypes

from attempts import in_child, syscall

MS_BIND, MS_REMOUNT, MS_MOVE, MNT_DETACH = 4096, 32, 8192, 2
OPEN_TREE_CLONE, AT_FDCWD = 1, -100


def run(event):
    attributes = (ctypes.c_uint64 * 4)(0, 1, 0, 0)  # clear read-only
    return {
        "mount tmpfs": in_child(syscall, "mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "mount proc": in_child(syscall, "mount", b"proc", b"/tmp", b"proc", 0, None),
        "bind mount": in_child(syscall, "mount", b"/usr", b"/tmp", None, MS_BIND, None),
        "remount writable": in_child(syscall, "mount", None, b"/", None, MS_REMOUNT | MS_BIND, None),
        "move mount": in_child(syscall, "mount", b"/tmp", b"/var", None, MS_MOVE, None),
        "umount": in_child(syscall, "umount2", b"/proc", MNT_DETACH),
        "umount tmp": in_child(syscall, "umount2", b"/tmp", MNT_DETACH),
        "pivot_root": in_child(syscall, "pivot_root", b"/tmp", b"/tmp"),
        "chroot": in_child(syscall, "chroot", b"/tmp"),
        "open_tree": in_child(syscall, "open_tree", AT_FDCWD, b"/usr", OPEN_TREE_CLONE),
        "open_tree without clone": in_child(syscall, "open_tree", AT_FDCWD, b"/usr", 0),
        "move_mount": in_child(syscall, "move_mount", AT_FDCWD, b"/tmp", AT_FDCWD, b"/var", 0),
        "fsopen": in_child(syscall, "fsopen", b"tmpfs", 0),
        "fspick": in_child(syscall, "fspick", AT_FDCWD, b"/", 0),
        "fsmount": in_child(syscall, "fsmount", 0, 0, 0),
        "mount_setattr": in_child(syscall, "mount_setattr", AT_FDCWD, b"/", 0, attributes, 32),
        "swapon": in_child(syscall, "swapon", b"/tmp/swap", 0),
    }
