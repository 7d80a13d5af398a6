// One connection to spored's socket, for many calls at once: ttrpc's frames are 4 bytes of length, 4
// of stream id, 1 of type and 1 of flags, big endian, then the message (ttrpc PROTOCOL.md).
import * as net from "node:net";

import { CallError, ConnectionFailed } from "./errors";
import { TtrpcRequest, TtrpcResponse } from "./messages";
import { CallOptions } from "./wire";

const HEADER = 10, REQUEST = 1, RESPONSE = 2;
const MAX_MESSAGE = 4 << 20;

interface Waiting {
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

export class Connection {
  private readonly waiting = new Map<number, Waiting>();
  private stream = 1;
  private data = Buffer.alloc(0);
  private failure?: Error;

  private constructor(private readonly socket: net.Socket) {
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("close", () => this.fail(new ConnectionFailed("spored closed the connection before it answered")));
    socket.unref();
  }

  static open(path: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ path });
      const failed = (error: NodeJS.ErrnoException) => {
        const hint = error.code === "ENOENT" ? ": is spored running? (SPORE_SOCKET names another socket)" :
            error.code === "EACCES" ? ": only root and members of the socket's group may use it" : "";
        reject(new ConnectionFailed(`connect to ${path}: ${error.code ?? error.message}${hint}`));
      };
      socket.once("error", failed);
      socket.once("connect", () => {
        socket.off("error", failed);
        socket.on("error", () => {}); // "close" follows, and tells
        resolve(new Connection(socket));
      });
    });
  }

  get usable(): boolean {
    return this.failure === undefined;
  }

  close(): void {
    this.socket.destroy();
  }

  call(service: string, method: string, payload: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    const body = TtrpcRequest.encode({
      service: "spore.v1." + service, method, payload,
      timeoutNano: options.timeoutMs === undefined ? 0 : Math.max(1, options.timeoutMs * 1e6),
    });
    if (body.length > MAX_MESSAGE) {
      return Promise.reject(new RangeError(`the request of ${method} has ${body.length} bytes; a message holds at most ${MAX_MESSAGE}`));
    }
    if (this.failure) return Promise.reject(this.failure);
    const stream = this.stream;
    this.stream += 2;
    const header = Buffer.alloc(HEADER);
    header.writeUInt32BE(body.length, 0);
    header.writeUInt32BE(stream, 4);
    header.writeUInt8(REQUEST, 8);
    return new Promise((resolve, reject) => {
      this.waiting.set(stream, { resolve, reject });
      this.socket.ref();
      this.socket.write(Buffer.concat([header, body]));
    });
  }

  private onData(chunk: Buffer): void {
    this.data = this.data.length === 0 ? chunk : Buffer.concat([this.data, chunk]);
    while (this.data.length >= HEADER) {
      const length = this.data.readUInt32BE(0);
      if (this.data.readUInt8(8) !== RESPONSE || length > MAX_MESSAGE + 4096) {
        this.fail(new ConnectionFailed("what came from the socket is no answer of spored"));
        return this.close();
      }
      if (this.data.length < HEADER + length) return;
      const stream = this.data.readUInt32BE(4);
      const body = this.data.subarray(HEADER, HEADER + length);
      this.data = this.data.subarray(HEADER + length);
      this.answer(stream, body);
    }
  }

  private answer(stream: number, body: Uint8Array): void {
    const waiting = this.waiting.get(stream);
    this.waiting.delete(stream);
    if (this.waiting.size === 0) this.socket.unref();
    if (waiting === undefined) return; // of a call that was aborted
    try {
      const response = TtrpcResponse.decode(body);
      if (response.status && response.status.code !== 0) {
        waiting.reject(new CallError(response.status.code, response.status.message));
      } else {
        waiting.resolve(response.payload);
      }
    } catch (error) {
      waiting.reject(new ConnectionFailed(`spored's answer cannot be read: ${error}`));
    }
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const waiting of this.waiting.values()) waiting.reject(this.failure);
    this.waiting.clear();
  }
}
