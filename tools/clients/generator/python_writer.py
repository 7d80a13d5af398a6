"""The protocol in Python: dataclasses with their wire form, and a method for each call."""
import keyword
import re
import textwrap

HEADER = '"""Written by tools/clients/generate from the .proto files. Do not edit."""\n'
TYPES = {"double": "float", "bool": "bool", "string": "str", "bytes": "bytes"}
DEFAULTS = {"float": "0.0", "bool": "False", "str": '""', "bytes": 'b""', "int": "0"}


def scalar(name):
    return TYPES.get(name, "int")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def identifier(name):
    """With an underscore behind it where Python keeps the word for itself."""
    return name + "_" * keyword.iskeyword(name)


def attribute(field):
    return identifier(field["name"])


def comment(lines, indent):
    return "".join(f"{indent}# {part}\n" for line in lines
                   for part in textwrap.wrap(line, 96 - len(indent)))


def docstring(lines, indent):
    if not lines:
        return ""
    text = " ".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    wrapped = textwrap.wrap(text, 94 - len(indent))
    if len(wrapped) == 1:
        return f'{indent}"""{wrapped[0]}"""\n'
    return f'{indent}"""' + f"\n{indent}".join(wrapped) + f'\n{indent}"""\n'


def annotation(field):
    if field["map"]:
        key, value = field["map"]
        return f"dict[{scalar(key[1])}, {scalar(value[1])}]"
    name = scalar(field["type"]) if field["kind"] == "scalar" else field["type"]
    if field["repeated"]:
        return f"list[{name}]"
    return f"{name} | None" if field["optional"] or field["kind"] == "message" else name


def default(field):
    if field["map"]:
        return "field(default_factory=dict)"
    if field["repeated"]:
        return "field(default_factory=list)"
    if field["optional"] or field["kind"] == "message":
        return "None"
    if field["kind"] == "enum":
        return f"{field['type']}(0)"
    return DEFAULTS[scalar(field["type"])]


def wire(field):
    """The arguments of Wire for one field."""
    if field["map"]:
        (_, key), (_, value) = field["map"]
        return f'{field["number"]}, "{attribute(field)}", "map", "{key}:{value}"'
    parts = [str(field["number"]), f'"{attribute(field)}"', f'"{field["kind"]}"', f'"{field["type"]}"']
    if field["repeated"]:
        parts.append("repeated=True")
    if field["optional"]:
        parts.append("optional=True")
    return ", ".join(parts)


def write_enum(enum):
    out = f"class {enum['name']}(Enum):\n{docstring(enum['comment'], '    ')}"
    for name, number, lines in enum["values"]:
        out += comment(lines, "    ") + f"    {name} = {number}\n"
    return out


def write_message(message):
    out = f"@dataclass\nclass {message['name']}(Message):\n{docstring(message['comment'], '    ')}"
    for field in message["fields"]:
        out += comment(field["comment"], "    ")
        out += f"    {attribute(field)}: {annotation(field)} = {default(field)}\n"
    out += "    WIRE: ClassVar = (" + "".join(f"\n        Wire({wire(f)})," for f in message["fields"])
    return out + ("\n    )\n" if message["fields"] else ")\n")


def write_messages(models):
    out = HEADER + "from __future__ import annotations\n\nfrom dataclasses import dataclass, field\n"
    out += "from typing import ClassVar\n\nfrom ._wire import Enum, Message, Wire\n"
    parts = [write_enum(e) for m in models for e in m.enums]
    parts += [write_message(x) for m in models for x in m.messages]
    return out + "".join("\n\n" + part for part in parts)


def write_service(service):
    out = f"class {service['name']}(Service):\n{docstring(service['comment'], '    ')}"
    for method in service["methods"]:
        name, request, response = identifier(snake(method["name"])), method["request"], method["response"]
        out += f"\n    async def {name}(\n"
        out += f"        self, request: m.{request} | None = None, descriptors: Sequence[int] = ()\n"
        out += f"    ) -> m.{response}:\n" + docstring(method["comment"], "        ")
        out += f'        return await self._call("{service["name"]}", "{method["name"]}",\n'
        out += f"                                request or m.{request}(), m.{response}, descriptors)\n"
    return out


def write_services(models):
    out = HEADER + "from __future__ import annotations\n\nfrom typing import Sequence\n\n"
    out += "from .. import messages as m\nfrom ._service import Service\n"
    services = [s for model in models for s in model.services]
    out += "".join("\n\n" + write_service(service) for service in services)
    out += "\n\nclass Services(Service):\n"
    out += '    """Every service of the protocol, by its name in lower case."""\n\n'
    out += "    def __init__(self, caller: Service) -> None:\n        super().__init__(caller.call)\n"
    out += "".join(f"        self.{identifier(snake(s['name']))} = {s['name']}(caller.call)\n" for s in services)
    return out


def write(models):
    yield "messages.py", write_messages(models)
    yield "_async/services.py", write_services(models)
