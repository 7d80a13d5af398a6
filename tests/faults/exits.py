"""Leaves without an answer."""
import os
import sys


def run(event):
    if event.get("politely"):
        sys.exit(event["code"])
    os._exit(event["code"])
