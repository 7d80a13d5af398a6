// What can go wrong. Every error of this package is a SporeError.
import { CodeError, Death } from "./messages";

export class SporeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

// spored could not be reached, or went away before it answered.
export class ConnectionFailed extends SporeError {}

// As google.rpc.Code has them.
export type CallCode = "INVALID_ARGUMENT" | "DEADLINE_EXCEEDED" | "NOT_FOUND" | "ALREADY_EXISTS" |
    "PERMISSION_DENIED" | "RESOURCE_EXHAUSTED" | "FAILED_PRECONDITION" | "UNIMPLEMENTED" |
    "INTERNAL" | "UNAVAILABLE" | "UNKNOWN";

const CODES: Record<number, CallCode> = {
  3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 6: "ALREADY_EXISTS",
  7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 12: "UNIMPLEMENTED",
  13: "INTERNAL", 14: "UNAVAILABLE",
};

// spored has refused a call; the message says why.
export class CallError extends SporeError {
  readonly code: CallCode;
  constructor(code: number, message: string) {
    super(message);
    this.code = CODES[code] ?? "UNKNOWN";
  }
}

// A function's own failure.
export class FunctionError extends SporeError {
  constructor(readonly type: string, message: string, readonly stackTrace: string[],
      readonly death?: Death) {
    super(message);
  }
}

// A piece of code has raised.
export class CodeFailed extends SporeError {
  constructor(readonly error: CodeError) {
    super(`${error.type}: ${error.message}`);
  }
}

// A program has ended with a code that is not 0.
export class ExecFailed extends SporeError {
  constructor(readonly exitCode: number, readonly stderr: Uint8Array) {
    super(`exit code ${exitCode}: ${new TextDecoder().decode(stderr).trim().split("\n").pop()}`);
  }
}
