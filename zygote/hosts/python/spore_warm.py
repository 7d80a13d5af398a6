"""A handler that the zygote itself loads and calls once, so that children find every path warm:
interpreter caches filled, code specialised, pages written before they are shared.
"""


def handler(event, context):
    return {"event": event, "id": context.aws_request_id}
