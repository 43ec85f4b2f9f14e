// Runs aimock on a free loopback port and tells, one JSON line each, where it listens and how every response to a model request ended:
// `finished` is false when the other side went away before the end. aimock itself writes on into a closed connection and says nothing.
import { createRequire } from "node:module";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { createServer } = require("@copilotkit/aimock");

const keys = process.argv.slice(2);
const instance = await createServer([], {
  port: 0,
  host: "127.0.0.1",
  logLevel: "silent",
  journalMaxEntries: 1000,
  ...(keys.length ? { auth: { apiKeys: keys } } : {}),
});

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
instance.server.prependListener("request", (request, response) => {
  if (request.url.startsWith("/__aimock")) return;
  response.on("close", () => tell({ closed: request.url, finished: response.writableFinished }));
});
tell({ url: instance.url });

// The tests' process holds our standard input: when it ends, so do we, however it ended.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
