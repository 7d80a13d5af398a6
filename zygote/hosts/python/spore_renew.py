"""What a child must not share with its siblings, renewed by CPython's own at-fork hooks.

The standard library's hooks (random, logging, threading, concurrent.futures) run by themselves;
here is what has none. docs/threat-model.md tells which test shows each.
"""

import os
import sys


def renew():
    loaded = sys.modules
    if "ssl" in loaded:
        # OpenSSL's generator state was copied; this mixes in fresh entropy of the kernel, and
        # its per-thread generators follow the primary one.
        loaded["ssl"].RAND_add(os.urandom(48), 48.0)
    if "numpy.random" in loaded:
        # The legacy global generator, seeded when numpy was imported. default_rng() is fresh.
        loaded["numpy.random"].seed()
    if "tempfile" in loaded:
        loaded["tempfile"]._name_sequence = None
    if "uuid" in loaded:
        # uuid1() remembers its last time stamp and a node id drawn at random.
        loaded["uuid"]._last_timestamp = None
        loaded["uuid"]._node = None


def install():
    os.register_at_fork(after_in_child=renew)


def prepare():
    """In a zygote that has imported what it will."""
    if "ssl" in sys.modules:
        # Setting OpenSSL's generator up takes a millisecond; renewing it, microseconds.
        sys.modules["ssl"].RAND_bytes(1)
