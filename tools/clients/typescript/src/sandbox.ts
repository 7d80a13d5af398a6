// Sandboxes that live: programs, code that keeps its state, and files in one place.
import { Client } from "./client";
import { CodeFailed, ExecFailed } from "./errors";
import * as m from "./messages";

const CHUNK = 1 << 20;
const LONGEST_WAIT_MS = 60000;

export interface CreateOptions {
  image?: string;
  ttlMs?: number;
  idleTimeoutMs?: number;
  memoryBytes?: number;
  cpus?: number;
  pids?: number;
  tmpBytes?: number;
  environment?: Record<string, string>;
  label?: string;
  network?: string; // "none", or "egress:pypi.org:443,.."; spore-sandbox(1)
  client?: Client;
}

export interface ExecOptions {
  input?: Uint8Array | string;
  cwd?: string;
  environment?: Record<string, string>;
  timeoutMs?: number;
}

export interface ExecResult {
  exitCode: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
  text: string; // stdout
  response: m.ExecResponse;
}

// What came of a piece of code, as it says itself.
export interface CodeResult {
  value?: string; // how the language writes the last expression's value
  data?: any; // it, where it can be JSON
  stdout: string;
  stderr: string;
  error?: m.CodeError;
  response: m.RunCodeResponse;
}

const text = (data: Uint8Array) => new TextDecoder().decode(data);
const bytes = (data: Uint8Array | string) => typeof data === "string" ? new TextEncoder().encode(data) : data;

// A program that runs in a sandbox by itself (Sandbox.start).
export class Process {
  constructor(private readonly sandbox: Sandbox, readonly execId: number, readonly pid: number) {}

  // Its exit code, when it has ended.
  async wait(): Promise<number> {
    for (;;) {
      const state = await this.sandbox.calls.waitExec(
          { id: this.sandbox.id, execId: this.execId, waitMs: LONGEST_WAIT_MS });
      if (state.state === m.ExecutionState.ENDED) return state.exitCode;
    }
  }

  // To its process group.
  async signal(number: number): Promise<void> {
    await this.sandbox.calls.signalExec({ id: this.sandbox.id, execId: this.execId, signal: number });
  }

  kill(): Promise<void> {
    return this.signal(9);
  }

  // What it writes, as it comes, to its end.
  async *output(stderr = false): AsyncGenerator<Uint8Array> {
    for (let position = 0; ;) {
      const part = await this.sandbox.calls.readExecOutput(
          { id: this.sandbox.id, execId: this.execId, stderr, position, waitMs: LONGEST_WAIT_MS });
      if (part.data.length > 0) yield part.data;
      if (part.end) return;
      position = part.position + part.data.length;
    }
  }
}

// A sandbox of its own, until it is killed or its time is over. Paths are absolute; only /tmp and
// /dev/shm can be written to.
export class Sandbox {
  private constructor(private readonly client: Client, public session: m.Session,
      private readonly ownsClient: boolean) {}

  static async create(options: CreateOptions = {}): Promise<Sandbox> {
    const client = options.client ?? new Client();
    const session = await client.services.sandboxes.create({
      image: options.image ?? "python", ttlMs: options.ttlMs, idleTimeoutMs: options.idleTimeoutMs,
      environment: options.environment, label: options.label, network: options.network,
      limits: m.Limits.create({
        memoryBytes: options.memoryBytes, pids: options.pids, tmpBytes: options.tmpBytes,
        cpuMillis: options.cpus === undefined ? undefined : Math.round(options.cpus * 1000),
      }),
    });
    return new Sandbox(client, session, options.client === undefined);
  }

  // One that is there already, by its id or a unique prefix of it.
  static async connect(id: string, client?: Client): Promise<Sandbox> {
    const used = client ?? new Client();
    return new Sandbox(used, await used.services.sandboxes.inspect({ id }), client === undefined);
  }

  // One that goes on where the one that `checkpoint` has put on disk was. That stays; it is listed and
  // removed by `client.services.sessionCheckpoints`. Without `ttlMs` it has the time that was left then.
  static async restore(name: string, options: { label?: string; ttlMs?: number; client?: Client } = {}):
      Promise<Sandbox> {
    const used = options.client ?? new Client();
    const session = await used.services.sessionCheckpoints.restore(
        { name, label: options.label, ttlMs: options.ttlMs });
    return new Sandbox(used, session, options.client === undefined);
  }

  get id(): string {
    return this.session.id;
  }

  // The calls of the protocol that this is made of.
  get calls() {
    return this.client.services.sandboxes;
  }

  // Ends it with all that runs in it. One that has ended already is fine.
  async kill(): Promise<void> {
    try {
      if ((await this.refresh()).state !== m.SessionState.DEAD) this.session = await this.calls.kill({ id: this.id });
    } finally {
      if (this.ownsClient) await this.client.close();
    }
  }

  async refresh(): Promise<m.Session> {
    return this.session = await this.calls.inspect({ id: this.id });
  }

  async extend(ttlMs: number): Promise<m.Session> {
    return this.session = await this.calls.extend({ id: this.id, ttlMs });
  }

  async pause(): Promise<void> {
    this.session = await this.calls.pause({ id: this.id });
  }

  // Copies of it as it is now, each a sandbox of its own: what its interpreter has in memory, and files. They
  // end when this one would, or after `ttlMs`. Other programs that run in it refuse that, or are left out.
  async branch(copies = 1, options: { label?: string; ttlMs?: number; onlyInterpreter?: boolean } = {}):
      Promise<Sandbox[]> {
    const made = await this.calls.branch({ id: this.id, copies, ...options });
    return made.sessions.map((session) => new Sandbox(this.client, session, false));
  }

  // Puts all that runs in it on disk, and its files, under a name; without one, under its id. It ends then, or
  // goes on with `leaveRunning`. `restore` makes sandboxes of it.
  async checkpoint(options: { name?: string; leaveRunning?: boolean } = {}): Promise<m.SessionCheckpoint> {
    const made = await this.client.services.sessionCheckpoints.create({ id: this.id, ...options });
    return made.checkpoint!;
  }

  async resume(): Promise<void> {
    this.session = await this.calls.resume({ id: this.id });
  }

  // Runs a program to its end. With `check` an exit code that is not 0 throws ExecFailed.
  async exec(args: string[], options: ExecOptions & { check?: boolean } = {}): Promise<ExecResult> {
    const response = await this.calls.exec(this.request(args, options));
    const exitCode = response.exec?.exitCode ?? 0;
    if (options.check && exitCode !== 0) throw new ExecFailed(exitCode, response.stderr);
    const { stdout, stderr } = response;
    return { exitCode, stdout, stderr, text: text(stdout), response };
  }

  // Starts a program that goes on by itself.
  async start(args: string[], options: ExecOptions = {}): Promise<Process> {
    const { exec } = await this.calls.exec({ ...this.request(args, options), detach: true });
    return new Process(this, exec?.execId ?? 0, exec?.pid ?? 0);
  }

  private request(args: string[], options: ExecOptions): Partial<m.ExecRequest> {
    return { id: this.id, args, streams: m.ExecRequestStreams.KEPT, input: bytes(options.input ?? ""),
      workingDirectory: options.cwd, environment: options.environment, timeoutMs: options.timeoutMs };
  }

  // Runs a piece of code; what it defines is there for the next. Unless `check` is false its error
  // throws CodeFailed.
  async runCode(code: string, options: { timeoutMs?: number; check?: boolean } = {}): Promise<CodeResult> {
    const response = await this.calls.runCode({ id: this.id, code, timeoutMs: options.timeoutMs });
    if (response.error && options.check !== false) throw new CodeFailed(response.error);
    return {
      value: response.hasValue ? response.value : undefined,
      data: response.json.length > 0 ? JSON.parse(text(response.json)) : undefined,
      stdout: text(response.stdout), stderr: text(response.stderr), error: response.error, response,
    };
  }

  async interrupt(): Promise<boolean> {
    return (await this.calls.interruptCode({ id: this.id })).wasRunning;
  }

  async restartCode(): Promise<void> {
    await this.calls.restartCode({ id: this.id });
  }

  async readFile(path: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let offset = 0; ;) {
      const part = await this.calls.readFile({ id: this.id, path: bytes(path), offset });
      parts.push(part.data);
      offset += part.data.length;
      if (part.end || part.data.length === 0) return Buffer.concat(parts);
    }
  }

  async writeFile(path: string, content: Uint8Array | string, mode = 0): Promise<void> {
    const data = bytes(content);
    for (let offset = 0; offset === 0 || offset < data.length; offset += CHUNK) {
      await this.calls.writeFile({
        id: this.id, path: bytes(path), offset, data: data.subarray(offset, offset + CHUNK),
        create: offset === 0, truncate: offset === 0, mode });
    }
  }

  async listFiles(path = "/tmp"): Promise<m.FileInfo[]> {
    const files: m.FileInfo[] = [];
    for (let cursor = 0; ;) {
      const part = await this.calls.listFiles({ id: this.id, path: bytes(path), cursor });
      files.push(...part.files);
      if ((cursor = part.cursor) === 0) return files;
    }
  }

  statFile(path: string, follow = false): Promise<m.FileInfo> {
    return this.calls.statFile({ id: this.id, path: bytes(path), follow });
  }

  async makeDirectory(path: string, parents = false): Promise<void> {
    await this.calls.makeDirectory({ id: this.id, path: bytes(path), parents });
  }

  async removeFile(path: string, options: { recursive?: boolean; missingOk?: boolean } = {}): Promise<void> {
    await this.calls.removeFile({ id: this.id, path: bytes(path), ...options });
  }

  async renameFile(from: string, to: string, replace = false): Promise<void> {
    await this.calls.renameFile({ id: this.id, from: bytes(from), to: bytes(to), replace });
  }
}
