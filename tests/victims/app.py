"""Runs one hostile program, named by the event, inside the sandbox."""
import importlib


def handler(event, context):
    module = importlib.import_module(event["victim"])
    return module.run(event)
