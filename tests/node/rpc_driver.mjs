// Calls Durachart with @connectrpc/connect-web for a test: one JSON command a line in, one JSON answer a line out.
//
// {"id", "do": "start", "url", "protocol", "service", "method", "request", "timeoutMs"?, "headers"?}   begin a call
// {"id", "do": "read"}     the next message: {"id", "message"}, or {"id", "end": {code, message, details, trailers}}
// {"id", "do": "headers"}  the response headers, as soon as they are there: {"id", "headers"}
// {"id", "do": "abort"}    as a page does when it is left; answered with {"id", "aborted": true}
import { createInterface } from "node:readline";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { EffectService } from "./gen/durachart/v1/effect_service_pb.js";
import { MachineService } from "./gen/durachart/v1/machine_service_pb.js";
import { StateMachineService } from "./gen/durachart/v1/state_machine_service_pb.js";
import { TokenService } from "./gen/durachart/v1/token_service_pb.js";

const services = { EffectService, MachineService, StateMachineService, TokenService };
const transports = {
  grpc_web: (baseUrl) => createGrpcWebTransport({ baseUrl }),
  connect_json: (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: false }),
  connect_proto: (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true }),
};
const calls = new Map();

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const plain = (headers) => Object.fromEntries(headers?.entries() ?? []);

function start({ id, url, protocol, service, method, request, timeoutMs, headers }) {
  const schema = services[service].method[method];
  const client = createClient(services[service], transports[protocol](url));
  const abort = new AbortController();
  const call = { abort, schema, trailers: {} };
  const seen = new Promise((resolve) => {
    call.onHeader = resolve;
  });
  call.headers = seen;
  const options = {
    signal: abort.signal,
    timeoutMs,
    headers,
    onHeader: (received) => call.onHeader(plain(received)),
    onTrailer: (received) => {
      call.trailers = plain(received);
    },
  };
  const message = fromJson(schema.input, request);
  if (schema.methodKind === "unary") {
    call.iterator = (async function* once() {
      yield await client[method](message, options);
    })();
  } else {
    call.iterator = client[method](message, options)[Symbol.asyncIterator]();
  }
  // Begin now, not at the first read: what a call does before anyone reads is part of what is tested.
  call.next = call.iterator.next();
  call.next.catch(() => {});
  calls.set(id, call);
}

async function read({ id }) {
  const call = calls.get(id);
  try {
    const { done, value } = await (call.next ?? call.iterator.next());
    call.next = undefined;
    if (done) {
      say({ id, end: { code: "OK", message: "", details: [], trailers: call.trailers } });
    } else {
      say({ id, message: toJson(call.schema.output, value) });
    }
  } catch (thrown) {
    call.next = undefined;
    const error = ConnectError.from(thrown);
    const details = error.details.map(({ type, value }) => ({ type, value: Buffer.from(value).toString("base64") }));
    say({ id, end: { code: Code[error.code], message: error.rawMessage, details, trailers: plain(error.metadata) } });
  }
}

const commands = {
  start: async (command) => start(command),
  read,
  headers: async ({ id }) => say({ id, headers: await calls.get(id).headers }),
  abort: async ({ id }) => {
    calls.get(id).abort.abort();
    say({ id, aborted: true });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command).catch((error) => say({ id: command.id, failed: String(error?.stack ?? error) }));
}
process.exit(0);
