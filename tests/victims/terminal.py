"""Types into a terminal that is not its own."""
import os

from attempts import attempt, in_child, syscall

TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS = 0x5412, 0x541C, 0x5423, 0x541D


def run(event):
    outcomes = {}
    for descriptor in (0, 1, 2):
        outcomes[f"TIOCSTI on {descriptor}"] = in_child(syscall, "ioctl", descriptor, TIOCSTI, b"x")
        outcomes[f"TIOCLINUX on {descriptor}"] = in_child(
            syscall, "ioctl", descriptor, TIOCLINUX, b"\x03")
    outcomes["TIOCSTI with high bits"] = in_child(
        syscall, "ioctl", 0, TIOCSTI | 1 << 32, b"x")
    outcomes["open /dev/tty"] = attempt(os.open, "/dev/tty", os.O_RDWR)
    outcomes["open /dev/console"] = attempt(os.open, "/dev/console", os.O_RDWR)
    outcomes["TIOCCONS"] = in_child(syscall, "ioctl", 0, TIOCCONS, 0)
    return outcomes
