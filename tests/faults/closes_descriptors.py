"""Closes every descriptor, its request channel among them."""
import os


def run(event):
    os.closerange(0, 4096)
    return "closed"
