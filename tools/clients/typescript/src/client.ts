// The client: functions, and whatever else spored is asked for.
//
// Node.js cannot pass descriptors over a socket, so what travels as one is not here: payloads, answers and
// archives above a mebibyte or three (use spore-gateway or the command), and streams of `run`.
import { Code, pack } from "./archive";
import { Connection } from "./connection";
import { FunctionError } from "./errors";
import * as m from "./messages";
import { Services } from "./services";
import { CallOptions, Caller, MessageType } from "./wire";

const DEFAULT_SOCKET = "/run/spore/spored.sock";

export interface ClientOptions {
  socket?: string; // path of spored's socket; else SPORE_SOCKET, else /run/spore/spored.sock
  timeoutMs?: number; // for each call, after which spored cancels it
}

export interface InvokeOptions extends CallOptions {
  qualifier?: string;
  clientContext?: unknown;
}

// Of a new function; what is absent is the host's default.
export interface DeployOptions {
  runtime?: string; // "python", unless given
  handler?: string;
  image?: string;
  isolation?: "instance" | "invocation";
  environment?: Record<string, string>;
  memoryBytes?: number;
  cpus?: number;
  timeoutMs?: number; // of one invocation
  pids?: number;
  tmpBytes?: number;
  minInstances?: number; // kept ready
  maxInstances?: number;
}

export class Client implements Caller {
  readonly services = new Services(this);
  private readonly path: string;
  private readonly timeoutMs?: number;
  private shared?: Promise<Connection>;

  constructor(options: ClientOptions = {}) {
    this.path = options.socket ?? process.env.SPORE_SOCKET ?? DEFAULT_SOCKET;
    this.timeoutMs = options.timeoutMs;
  }

  async call<Q, A>(service: string, method: string, request: MessageType<Q>, values: Partial<Q>,
      response: MessageType<A>, options: CallOptions = {}): Promise<A> {
    const timeoutMs = options.timeoutMs ?? this.timeoutMs;
    options.signal?.throwIfAborted();
    // Only the end of its connection cancels a call at once: one that can be aborted has its own.
    const connection = await (options.signal ? Connection.open(this.path) : this.connection());
    const abort = () => connection.close();
    options.signal?.addEventListener("abort", abort);
    try {
      return response.decode(await connection.call(service, method, request.encode(values), { timeoutMs }));
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", abort);
      if (options.signal) connection.close();
    }
  }

  async close(): Promise<void> {
    const shared = this.shared;
    this.shared = undefined;
    await shared?.then((connection) => connection.close(), () => {});
  }

  // A new function; `code` is up to 3 MiB, packed. A CallError ALREADY_EXISTS for a name that is taken.
  async deploy(name: string, code: Code, options: DeployOptions = {}): Promise<m.Function> {
    const settings = m.FunctionSettings.create({
      runtime: options.runtime ?? "python", image: options.image, handler: options.handler,
      isolation: isolationOf(options.isolation), environment: options.environment,
      minInstances: options.minInstances,
      limits: m.Limits.create({
        memoryBytes: options.memoryBytes, timeoutMs: options.timeoutMs, pids: options.pids,
        tmpBytes: options.tmpBytes, maxInstances: options.maxInstances,
        cpuMillis: options.cpus === undefined ? undefined : Math.round(options.cpus * 1000),
      }),
    });
    return this.services.functions.deploy({ name, settings, archive: await pack(code) });
  }

  // Replaces code, settings (what is absent stays; an environment is replaced as a whole), or both.
  async update(name: string, code?: Code, settings: Partial<m.FunctionSettings> = {}): Promise<m.Function> {
    return this.services.functions.update({
      name, settings: m.FunctionSettings.create(settings),
      archive: code === undefined ? undefined : await pack(code),
      keepEnvironment: Object.keys(settings.environment ?? {}).length === 0,
    });
  }

  // The handler's result. Throws FunctionError when the function has failed.
  async invoke(name: string, event: unknown = null, options: InvokeOptions = {}): Promise<any> {
    return (await this.invokeForResult(name, event, options)).value;
  }

  // As `invoke`, with everything that is known of the call beside its result.
  async invokeForResult(name: string, event: unknown = null, options: InvokeOptions & {
    logTail?: boolean; trace?: boolean } = {}): Promise<{ value: any; response: m.InvokeResponse }> {
    const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    const response = await this.services.invocations.invoke({
      name, payload: encode(event), qualifier: options.qualifier ?? "", logTail: options.logTail ?? false,
      trace: options.trace ?? false,
      clientContext: options.clientContext === undefined ? new Uint8Array(0) : encode(options.clientContext),
    }, options);
    if (response.error) {
      const { type, message, stackTrace, death } = response.error;
      throw new FunctionError(type, message, stackTrace, death);
    }
    const text = new TextDecoder().decode(response.payload);
    return { value: text === "" ? null : JSON.parse(text), response };
  }

  async functions(): Promise<m.Function[]> {
    const all: m.Function[] = [];
    for (let marker = ""; ;) {
      const page = await this.services.functions.list({ marker });
      all.push(...page.functions);
      marker = page.nextMarker;
      if (marker === "") return all;
    }
  }

  function(name: string): Promise<m.Function> {
    return this.services.functions.get({ name });
  }

  async remove(name: string): Promise<void> {
    await this.services.functions.remove({ name });
  }

  info(): Promise<m.InfoResponse> {
    return this.services.system.info();
  }

  stats(): Promise<m.StatsResponse> {
    return this.services.system.stats();
  }

  private async connection(): Promise<Connection> {
    const current = this.shared;
    if (current) {
      const connection = await current.catch(() => undefined);
      if (connection?.usable) return connection;
      if (this.shared === current) this.shared = undefined;
    }
    this.shared ??= Connection.open(this.path);
    return this.shared;
  }
}

function isolationOf(name: DeployOptions["isolation"] = "instance"): m.Isolation {
  if (name === "instance") return m.Isolation.ISOLATION_INSTANCE;
  if (name === "invocation") return m.Isolation.ISOLATION_INVOCATION;
  throw new RangeError(`isolation: "${name}"; expected "instance" or "invocation"`);
}
