"""Reads address zero."""
import ctypes


def run(event):
    ctypes.string_at(0)
