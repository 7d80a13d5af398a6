// A function's code as the archive that spored takes.
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";
import * as zlib from "node:zlib";

// A folder, a zip or tar file (paths), its bytes, or { name: content }.
export type Code = string | Uint8Array | Record<string, string | Uint8Array>;

// What a message has room for: a larger one travels as a descriptor, which Node.js cannot pass.
export const MAX_ARCHIVE = 3 << 20;

interface Entry {
  name: string; // with slashes
  content: Uint8Array;
  mode: number;
}

const deflate = promisify<Uint8Array, Buffer>(zlib.deflateRaw);

export async function pack(code: Code): Promise<Uint8Array> {
  const archive = await archiveOf(code);
  if (archive.length > MAX_ARCHIVE) {
    throw new RangeError(`archive: ${archive.length} bytes; expected at most ${MAX_ARCHIVE} from this ` +
        "client (use spore function deploy or update for a larger one)");
  }
  return archive;
}

async function archiveOf(code: Code): Promise<Uint8Array> {
  if (code instanceof Uint8Array) return code;
  if (typeof code === "string") {
    return (await fs.stat(code)).isDirectory() ? zip(await filesOf(code, "")) : fs.readFile(code);
  }
  return zip(Object.entries(code).map(([name, content]) => ({
    name, content: typeof content === "string" ? Buffer.from(content) : content, mode: 0o644,
  })));
}

// Links to files are followed, links to folders are not.
async function filesOf(folder: string, prefix: string): Promise<Entry[]> {
  const found: Entry[] = [];
  const inside = await fs.readdir(folder, { withFileTypes: true });
  for (const each of inside.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const place = path.join(folder, each.name);
    if (each.name === "__pycache__") continue;
    if (each.isDirectory()) {
      found.push(...await filesOf(place, `${prefix}${each.name}/`));
      continue;
    }
    const info = await fs.stat(place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT" && error.code !== "ELOOP") throw error;
      return undefined; // a link to nothing
    });
    if (info?.isFile()) {
      found.push({ name: prefix + each.name, content: await fs.readFile(place), mode: info.mode & 0o777 });
    }
  }
  return found;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; ++bit) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of data) value = CRC_TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

// One of PKWARE's APPNOTE.TXT, made by a Unix, deflated, names in UTF-8, of the first day of 1980: the
// same files are the same archive.
async function zip(entries: Entry[]): Promise<Uint8Array> {
  const files: Uint8Array[] = [], directory: Uint8Array[] = [];
  let offset = 0, directoryBytes = 0;
  for (const { name, content, mode } of entries) {
    const packed = await deflate(content);
    const text = Buffer.from(name);
    const common = Buffer.alloc(26); // of both headers: from the version needed on
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x0800, 2); // UTF-8
    common.writeUInt16LE(8, 4); // deflated
    common.writeUInt16LE((1 << 5) | 1, 8);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(text.length, 22);
    const behind = Buffer.alloc(14); // of the directory's
    behind.writeUInt32LE(((0o100000 | mode) << 16) >>> 0, 6);
    behind.writeUInt32LE(offset, 10);
    files.push(Buffer.from("PK\x03\x04", "latin1"), common, text, packed);
    directory.push(Buffer.from("PK\x01\x02\x14\x03", "latin1"), common, behind, text);
    offset += 30 + text.length + packed.length;
    directoryBytes += 46 + text.length;
  }
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  // More than 65535 files are more than MAX_ARCHIVE.
  end.writeUInt16LE(entries.length & 0xffff, 8);
  end.writeUInt16LE(entries.length & 0xffff, 10);
  end.writeUInt32LE(directoryBytes, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...files, ...directory, end]);
}
