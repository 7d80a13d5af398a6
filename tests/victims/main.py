"""Runs one hostile program as a program of its own: the event on stdin, the answer on stdout."""
import json
import sys

import app

print(json.dumps(app.handler(json.load(sys.stdin), None)))
