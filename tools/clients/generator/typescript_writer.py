"""The protocol in TypeScript: an interface and its wire form for each message, a method for each call."""
import re
import textwrap

HEADER = "// Written by tools/clients/generate from the .proto files. Do not edit.\n"
TYPES = {"bool": "boolean", "string": "string", "bytes": "Uint8Array"}


def scalar(name):
    return TYPES.get(name, "number")


def camel(name):
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def lower_first(name):
    return name[0].lower() + name[1:]


def comment(lines, indent):
    return "".join(f"{indent}// {part}\n" for line in lines
                   for part in textwrap.wrap(line, 96 - len(indent)))


def annotation(field):
    if field["map"]:
        return f"Record<string, {scalar(field['map'][1][1])}>"
    name = scalar(field["type"]) if field["kind"] == "scalar" else field["type"]
    if field["repeated"]:
        return name + "[]"
    return f"{name} | undefined" if field["optional"] or field["kind"] == "message" else name


def wire(field):
    if field["map"]:
        (_, key), (_, value) = field["map"]
        kind, type_ = '"map"', f'"{key}:{value}"'
    elif field["kind"] == "message":
        kind, type_ = '"message"', f"() => {field['type']}"
    else:
        kind, type_ = f'"{field["kind"]}"', f'"{field["type"]}"'
    flags = [name for name in ("repeated", "optional") if field[name]]
    extra = f', "{flags[0]}"' if flags else ""
    return f'[{field["number"]}, "{camel(field["name"])}", {kind}, {type_}{extra}]'


def write_enum(enum):
    out = comment(enum["comment"], "") + f"export enum {enum['name']} {{\n"
    for name, number, lines in enum["values"]:
        out += comment(lines, "  ") + f"  {name} = {number},\n"
    return out + "}\n"


def write_message(message):
    name = message["name"]
    out = comment(message["comment"], "") + f"export interface {name} {{\n"
    for field in message["fields"]:
        out += comment(field["comment"], "  ") + f"  {camel(field['name'])}: {annotation(field)};\n"
    out += f"}}\nexport const {name}: MessageType<{name}> = message(\"{name}\", ["
    return out + "".join(f"\n  {wire(f)}," for f in message["fields"]) + "\n]);\n"


def write_messages(models):
    out = HEADER + 'import { message, MessageType } from "./wire";\n'
    parts = [write_enum(e) for m in models for e in m.enums]
    parts += [write_message(x) for m in models for x in m.messages]
    return out + "".join("\n" + part for part in parts)


def write_service(service):
    out = comment(service["comment"], "") + f"export class {service['name']} {{\n"
    out += "  constructor(private readonly caller: Caller) {}\n"
    for method in service["methods"]:
        request, response = method["request"], method["response"]
        out += "\n" + comment(method["comment"], "  ")
        out += f"  {lower_first(method['name'])}(request: Partial<m.{request}> = {{}},\n"
        out += f"      options: CallOptions = {{}}): Promise<m.{response}> {{\n"
        out += f'    return this.caller.call("{service["name"]}", "{method["name"]}", m.{request}, request,\n'
        out += f"        m.{response}, options);\n  }}\n"
    return out + "}\n"


def write_services(models):
    services = [s for model in models for s in model.services]
    out = HEADER + 'import * as m from "./messages";\nimport { CallOptions, Caller } from "./wire";\n'
    out += "".join("\n" + write_service(service) for service in services)
    out += "\n// Every service of the protocol.\nexport class Services {\n"
    out += "".join(f"  readonly {lower_first(s['name'])}: {s['name']};\n" for s in services)
    out += "\n  constructor(caller: Caller) {\n"
    out += "".join(f"    this.{lower_first(s['name'])} = new {s['name']}(caller);\n" for s in services)
    return out + "  }\n}\n"


def write(models):
    yield "messages.ts", write_messages(models)
    yield "services.ts", write_services(models)
