"""The `context` of an invocation, by AWS Lambda's names."""

import time


class ClientContext:
    def __init__(self, value):
        self.custom = value.get("custom")
        self.env = value.get("env")
        self.client = value.get("client")


class Context:
    """What Lambda's Python runtime gives a handler."""

    def __init__(self, load, meta):
        self.function_name = load["function_name"]
        self.function_version = load["function_version"]
        self.memory_limit_in_mb = load["memory_limit_in_mb"]
        self.aws_request_id = meta["request_id"]
        self.invoked_function_arn = meta.get("arn", "")
        self.log_group_name = "/spore/" + self.function_name
        self.log_stream_name = load.get("environment", {}).get("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self.identity = None
        given = meta.get("client_context")
        self.client_context = ClientContext(given) if isinstance(given, dict) else given
        self._deadline_ms = meta["deadline_ms"]

    def get_remaining_time_in_millis(self):
        return max(0, int(self._deadline_ms - time.time() * 1000))

    def log(self, message):
        print(message, end="")

    def __repr__(self):
        return f"Context(aws_request_id={self.aws_request_id!r}, function_name={self.function_name!r})"
