// Load for bench/fronts.py, the same for every server: CALLERS callers, each sending its next call when the last was answered.
//
// node echo_load.mjs PROTOCOL PORT PATH BODY_BASE64 CALLERS SECONDS     PROTOCOL: grpc (HTTP/2) or grpc_web (HTTP/1.1)
// Prints {calls, seconds, p50_us, p99_us, client_cpu}; client_cpu is the share of one core that this process used.
import { connect } from "node:http2";
import { connect as connectTcp } from "node:net";

const [protocol, port, path, body64, callers, seconds] = process.argv.slice(2);
const message = Buffer.from(body64, "base64");
const frame = Buffer.alloc(5 + message.length);
frame.writeUInt32BE(message.length, 1);
message.copy(frame, 5);

const latencies = [];
let over = false;
const now = () => process.hrtime.bigint();
const answered = (begun) => latencies.push(Number(now() - begun) / 1000);
const fail = (what) => {
  console.error(what);
  process.exit(1);
};

function grpcCaller(session) {
  const begun = now();
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let status;
  stream.on("response", (headers) => {
    status = headers["grpc-status"];
  });
  stream.on("trailers", (headers) => {
    status = headers["grpc-status"];
  });
  stream.on("error", fail);
  stream.resume();
  stream.on("close", () => {
    if (status !== "0") fail(`grpc-status ${status}`);
    answered(begun);
    if (!over) grpcCaller(session);
  });
  stream.end(frame);
}

function grpcWebCaller() {
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/grpc-web+proto\r\n`;
  const request = Buffer.concat([Buffer.from(`${head}content-length: ${frame.length}\r\n\r\n`), frame]);
  const socket = connectTcp({ host: "127.0.0.1", port, noDelay: true });
  let begun;
  let received = Buffer.alloc(0);
  const send = () => {
    begun = now();
    received = Buffer.alloc(0);
    socket.write(request);
  };
  socket.on("error", fail);
  socket.on("connect", send);
  socket.on("data", (data) => {
    received = received.length ? Buffer.concat([received, data]) : data;
    const end = received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /content-length: (\d+)/.exec(received.toString("latin1", 0, end));
    if (received.length < end + 4 + Number(length[1])) return;
    if (!received.toString("latin1", end).includes("grpc-status:0")) fail(received.toString("latin1"));
    answered(begun);
    if (over) socket.end();
    else send();
  });
}

const sessions = [];
if (protocol === "grpc") {
  for (let i = 0; i < Math.min(4, callers); i++) sessions.push(connect(`http://127.0.0.1:${port}`));
}
const start = now();
const cpu = process.cpuUsage();
for (let i = 0; i < callers; i++) {
  if (protocol === "grpc") grpcCaller(sessions[i % sessions.length]);
  else grpcWebCaller();
}
setTimeout(() => {
  const elapsed = Number(now() - start) / 1e9;
  const used = process.cpuUsage(cpu);
  over = true;
  latencies.sort((a, b) => a - b);
  const at = (share) => Math.round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))]);
  const cores = (used.user + used.system) / 1e6 / elapsed;
  const result = { calls: latencies.length, seconds: elapsed, p50_us: at(0.5), p99_us: at(0.99), client_cpu: cores };
  console.log(JSON.stringify(result));
  setTimeout(() => process.exit(0), 50);
}, Number(seconds) * 1000);
