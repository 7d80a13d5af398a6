// The TypeScript client of Spore, for Node.js: functions and sandboxes on this host.
//
//   import { Client, Sandbox } from "spore-client";
//   await new Client().invoke("hello", { name: "ada" });
//   const box = await Sandbox.create({ image: "python-numpy" });
//   (await box.runCode("sum(range(4))")).data;  // 6
export type { Code } from "./archive";
export * from "./client";
export * from "./errors";
export * as messages from "./messages";
export * from "./sandbox";
