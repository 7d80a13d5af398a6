// The wire form of protocol buffers, as much of it as the protocol uses
// (https://protobuf.dev/programming-guides/encoding/). 64-bit numbers are JavaScript numbers: none
// of the protocol's goes beyond 2^53.

// What a call may say beside its request.
export interface CallOptions {
  timeoutMs?: number; // spored cancels the call after this
  signal?: AbortSignal; // aborting cancels it, too
}

// Who carries out the calls of the generated services: Client.
export interface Caller {
  call<Q, A>(service: string, method: string, request: MessageType<Q>, values: Partial<Q>,
      response: MessageType<A>, options: CallOptions): Promise<A>;
}

export class WireError extends Error {}

type Kind = "scalar" | "enum" | "message" | "map";
type Type = string | (() => MessageType<any>);
type Field = readonly [number: number, name: string, kind: Kind, type: Type,
    flag?: "repeated" | "optional"];

export interface MessageType<T> {
  readonly name: string;
  // With every field that is not given at its default.
  create(values?: Partial<T>): T;
  encode(values: Partial<T>): Uint8Array;
  decode(data: Uint8Array): T;
}

const VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5;
const utf8 = new TextEncoder();

class Writer {
  private parts: Uint8Array[] = [];
  length = 0;

  bytes(data: Uint8Array): void {
    this.parts.push(data);
    this.length += data.length;
  }

  varint(value: number): void {
    const out: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(Math.trunc(value)));
    while (rest > 0x7fn) {
      out.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    out.push(Number(rest));
    this.bytes(Uint8Array.from(out));
  }

  delimited(number: number, data: Uint8Array): void {
    this.varint(number * 8 + DELIMITED);
    this.varint(data.length);
    this.bytes(data);
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

class Reader {
  at = 0;
  constructor(private readonly data: Uint8Array) {}

  get done(): boolean {
    return this.at >= this.data.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.done) throw new WireError("a field is cut off");
      const byte = this.data[this.at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new WireError("a number of more than ten bytes");
  }

  bytes(length: number): Uint8Array {
    if (this.at + length > this.data.length) throw new WireError("a field is cut off");
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  // The next field's number and raw value.
  field(): [number, bigint | Uint8Array] {
    const key = Number(this.varint());
    const form = key & 7;
    if (form === VARINT) return [key >>> 3, this.varint()];
    if (form === DELIMITED) return [key >>> 3, this.bytes(Number(this.varint()))];
    if (form === FIXED64) return [key >>> 3, this.bytes(8)];
    if (form === FIXED32) return [key >>> 3, this.bytes(4)];
    throw new WireError(`field ${key >>> 3} has the unknown form ${form}`);
  }
}

function isText(kind: Kind, type: Type): boolean {
  return kind === "message" || kind === "map" || type === "string" || type === "bytes";
}

function writeValue(out: Writer, number: number, type: Type, value: any): void {
  if (typeof type === "function") return out.delimited(number, type().encode(value));
  if (type === "string") return out.delimited(number, utf8.encode(value));
  if (type === "bytes") return out.delimited(number, value);
  if (type === "double") {
    out.varint(number * 8 + FIXED64);
    const data = new Uint8Array(8);
    new DataView(data.buffer).setFloat64(0, value, true);
    return out.bytes(data);
  }
  out.varint(number * 8 + VARINT);
  out.varint(Number(value));
}

function writeField(out: Writer, [number, , kind, type, flag]: Field, value: any): void {
  if (value === undefined) return;
  if (kind === "map") {
    const [key, item] = (type as string).split(":");
    for (const [name, content] of Object.entries(value)) {
      const pair = new Writer();
      writeValue(pair, 1, key, key === "string" ? name : Number(name));
      writeValue(pair, 2, item, content);
      out.delimited(number, pair.finish());
    }
  } else if (flag === "repeated") {
    for (const item of value) writeValue(out, number, type, item);
  } else if (flag === "optional" || kind === "message" || (value.length ?? Number(value)) !== 0) {
    writeValue(out, number, type, value);
  }
}

function readValue(kind: Kind, type: Type, raw: bigint | Uint8Array): any {
  if (typeof raw === "bigint") {
    if (type === "bool") return raw !== 0n;
    const signed = kind === "enum" || type === "int32" || type === "int64";
    return Number(signed ? BigInt.asIntN(64, raw) : raw);
  }
  if (typeof type === "function") return type().decode(raw);
  if (type === "string") return new TextDecoder().decode(raw);
  if (type === "double") return new DataView(raw.buffer, raw.byteOffset, 8).getFloat64(0, true);
  return raw.slice();
}

function readMapEntry(type: string, raw: Uint8Array): [string, any] {
  const [keyType, itemType] = type.split(":");
  let key: any = keyType === "string" ? "" : 0;
  let item = emptyScalar(itemType);
  for (const reader = new Reader(raw); !reader.done;) {
    const [number, value] = reader.field();
    if (number === 1) key = readValue("scalar", keyType, value);
    if (number === 2) item = readValue("scalar", itemType, value);
  }
  return [String(key), item];
}

function emptyScalar(type: Type): any {
  if (type === "string") return "";
  if (type === "bytes") return new Uint8Array(0);
  return type === "bool" ? false : 0;
}

function empty([, , kind, type, flag]: Field): any {
  if (kind === "map") return {};
  if (flag === "repeated") return [];
  return flag === "optional" || kind === "message" ? undefined : emptyScalar(type);
}

function readField(target: any, field: Field, raw: bigint | Uint8Array): void {
  const [number, name, kind, type, flag] = field;
  const packed = flag === "repeated" && raw instanceof Uint8Array && !isText(kind, type);
  if (!packed && (raw instanceof Uint8Array) !== (isText(kind, type) || type === "double")) {
    throw new WireError(`field ${number} (${name}) has a wrong form`);
  }
  if (kind === "map") {
    const [key, item] = readMapEntry(type as string, raw as Uint8Array);
    target[name][key] = item;
  } else if (packed) {
    for (const reader = new Reader(raw as Uint8Array); !reader.done;) {
      target[name].push(readValue(kind, type, type === "double" ? reader.bytes(8) : reader.varint()));
    }
  } else if (flag === "repeated") {
    target[name].push(readValue(kind, type, raw));
  } else {
    target[name] = readValue(kind, type, raw);
  }
}

export function message<T>(name: string, fields: readonly Field[]): MessageType<T> {
  const byNumber = new Map(fields.map((field) => [field[0], field]));
  const type: MessageType<T> = {
    name,
    create(values: Partial<T> = {}): T {
      const made: any = {};
      for (const field of fields) made[field[1]] = (values as any)[field[1]] ?? empty(field);
      return made;
    },
    encode(values: Partial<T>): Uint8Array {
      const out = new Writer();
      for (const field of fields) writeField(out, field, (values as any)[field[1]]);
      return out.finish();
    },
    decode(data: Uint8Array): T {
      const made: any = type.create();
      for (const reader = new Reader(data); !reader.done;) {
        const [number, raw] = reader.field();
        const field = byNumber.get(number);
        if (field !== undefined) readField(made, field, raw);
      }
      return made;
    },
  };
  return type;
}
