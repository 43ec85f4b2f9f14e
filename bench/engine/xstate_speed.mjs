// Answers on stdin's lines {"contender", "machine", "events", "count"} with {"seconds"}: how long so many events took.
//
//   node xstate_speed.mjs path/to/node_modules/xstate

import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , directory] = process.argv;
const { assign, createActor, createMachine, initialTransition, transition } = await import(
  pathToFileURL(join(directory, 'dist', 'xstate.esm.js')).href
);

const implementations = {
  guards: { ready: ({ context }) => context.items > 0 },
  actions: { count: assign({ n: ({ context }) => context.n + 1 }), note: () => {} },
};

const contenders = {
  'xstate actor.send'(machine, events) {
    const actor = createActor(machine).start();
    return (count) => {
      for (let index = 0; index < count; index += 1) actor.send(events[index % events.length]);
      return actor.getSnapshot();
    };
  },
  'xstate transition()'(machine, events) {
    let [snapshot] = initialTransition(machine);
    return (count) => {
      for (let index = 0; index < count; index += 1) [snapshot] = transition(machine, snapshot, events[index % events.length]);
      return snapshot;
    };
  },
};

const running = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { contender, name, machine, events, count } = JSON.parse(line);
  const key = `${contender} ${name}`;
  if (!running.has(key)) {
    const built = createMachine(machine, implementations);
    running.set(key, contenders[contender](built, events.map((type) => ({ type }))));
  }
  const started = process.hrtime.bigint();
  const snapshot = running.get(key)(count);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(`${JSON.stringify({ seconds, n: snapshot.context.n })}\n`);
}
