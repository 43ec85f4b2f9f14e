// Reads cases from stdin, one JSON object a line, runs each with the real npm package and writes what happened, one line
// a case: {"expect": […], "ordered": […], "flags": […]} in the corpus's format, or {"refused": message}.
//
//   node xstate_runner.mjs path/to/node_modules/xstate
//
// "expect" is XState as it is. "ordered" comes from a copy of it whose active nodes are kept in document order, which is
// what Durachart does; where the two differ, XState's answer depends on the order in which states were activated.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const MAX_MICROSTEPS = 60;
const MAX_FIRINGS = 1000;

async function load(directory) {
  return import(pathToFileURL(join(directory, 'dist', 'xstate.esm.js')).href);
}

async function loadOrdered(directory) {
  const copy = mkdtempSync(join(tmpdir(), 'xstate-ordered-'));
  process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
  cpSync(join(directory, 'dist'), join(copy, 'dist'), { recursive: true });
  writeFileSync(join(copy, 'package.json'), '{"type": "module"}');
  const statement = 'const nextStateNodes = [...mutStateNodeSet];';
  let changed = 0;
  for (const name of readdirSync(join(copy, 'dist'))) {
    if (name.startsWith('raise-') && name.endsWith('.esm.js')) {
      const path = join(copy, 'dist', name);
      const text = readFileSync(path, 'utf8');
      if (text.includes(statement)) {
        changed += 1;
        writeFileSync(
          path,
          text.replace(statement, 'const nextStateNodes = [...mutStateNodeSet].sort((a, b) => a.order - b.order);'),
        );
      }
    }
  }
  if (!changed) throw new Error('this version of xstate keeps its active nodes elsewhere');
  return load(copy);
}

function compile(source) {
  return new Function('context', 'event', 'params', 'input', `return (${source});`);
}

function list(value) {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

/** The machine, with what JSON cannot carry put back into functions. */
function build(xstate, testCase) {
  const sources = testCase.javascript;
  const action = (given) => {
    if (given.type === 'xstate.raise') {
      const { event, ...options } = given.params;
      return xstate.raise(event, options);
    }
    if (given.type === 'xstate.cancel') return xstate.cancel(given.params.sendId);
    if (given.type === 'xstate.emit') return xstate.emit(given.params.event);
    return given;
  };
  const actions = (given) => (given === undefined ? undefined : list(given).map(action));
  const transition = (given) => {
    if (Array.isArray(given)) return given.map(transition);
    return given && typeof given === 'object' ? { ...given, actions: actions(given.actions) } : given;
  };
  const mapped = (object, convert) =>
    object && Object.fromEntries(Object.entries(object).map(([key, value]) => [key, convert(value)]));
  const state = (given, id, path) => {
    const own = given.id || [id, ...path].join('.');
    const built = { ...given };
    for (const key of ['entry', 'exit']) if (key in given) built[key] = actions(given[key]);
    for (const key of ['on', 'after']) if (key in given) built[key] = mapped(given[key], transition);
    for (const key of ['always', 'onDone']) if (key in given) built[key] = transition(given[key]);
    if (given.initial && typeof given.initial === 'object') {
      built.initial = { ...given.initial, actions: actions(given.initial.actions) };
    }
    if (given.invoke) {
      built.invoke = list(given.invoke).map((invoke) => ({
        ...invoke,
        ...mapped(Object.fromEntries(Object.entries(invoke).filter(([key]) => key.startsWith('on'))), transition),
      }));
    }
    if (own in (sources.outputs ?? {})) {
      const output = compile(sources.outputs[own]);
      built.output = ({ context, event }) => output(context, event);
    }
    if (given.states) {
      built.states = Object.fromEntries(
        Object.entries(given.states).map(([key, child]) => [key, state(child, id, [...path, key])]),
      );
    }
    return built;
  };
  const config = state(testCase.machine, testCase.machine.id || '(machine)', []);
  if (sources.context) {
    const entries = Object.entries(sources.context).map(([key, source]) => [key, compile(source)]);
    const fixed = testCase.machine.context ?? {};
    config.context = ({ input }) => ({
      ...fixed,
      ...Object.fromEntries(entries.map(([key, evaluate]) => [key, evaluate(fixed, undefined, undefined, input)])),
    });
  }
  config.options = { maxIterations: MAX_MICROSTEPS };
  const guard = (source) => {
    if (typeof source === 'string') {
      const evaluate = compile(source);
      return ({ context, event }, params) => evaluate(context, event, params ?? {});
    }
    if (source.and) return xstate.and(source.and);
    if (source.or) return xstate.or(source.or);
    if (source.not) return xstate.not(source.not);
    return xstate.stateIn(source.stateIn);
  };
  const effects = {};
  const implementation = ([name, body]) => {
    const entries = Object.entries(body.assign ?? body.params).map(([key, source]) => [key, compile(source)]);
    if (body.assign) {
      const updates = entries.map(([key, evaluate]) => [
        key,
        ({ context, event }, params) => evaluate(context, event, params ?? {}),
      ]);
      return [[name, xstate.assign(Object.fromEntries(updates))]];
    }
    effects[name] = ({ context, event }, params) =>
      Object.fromEntries(entries.map(([key, evaluate]) => [key, evaluate(context, event, params ?? {})]));
    return [];
  };
  const delay = (source) => {
    if (typeof source === 'number') return source;
    const evaluate = compile(source);
    return ({ context, event }) => evaluate(context, event);
  };
  const machine = xstate.createMachine(config, {
    guards: mapped(sources.guards, guard),
    actions: Object.fromEntries(Object.entries(sources.actions ?? {}).flatMap(implementation)),
    delays: mapped(sources.delays, delay),
    actors: mapped(sources.actors, () => xstate.fromPromise(() => new Promise(() => {}))),
  });
  return { machine, effects };
}

class Run {
  constructor(xstate, testCase, flags) {
    this.xstate = xstate;
    this.case = testCase;
    this.flags = flags;
    Object.assign(this, build(xstate, testCase));
    this.now = 0;
    this.sequence = 0;
    this.timers = [];
    this.actions = [];
    this.status = undefined;
  }

  /** Run one macrostep; a failure keeps the last snapshot and discards what the item did so far. */
  take(step) {
    let snapshot;
    let executed;
    try {
      [snapshot, executed] = step();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (snapshot.status === 'error' && this.snapshot === undefined) {
      this.fail(snapshot.error);
      return;
    }
    this.snapshot = snapshot;
    this.status = snapshot.status;
    for (const action of executed) this.record(action);
    if (this.status !== 'active') this.timers = [];
  }

  fail(error) {
    if (/Infinite loop|Maximum call stack/.test(String(error?.message))) this.flags.add('endless');
    this.status = 'error';
    this.actions = [];
    this.timers = [];
  }

  record(action) {
    const { type, params } = action;
    if (type === 'xstate.raise') {
      if (typeof params.delay === 'number') this.schedule(params);
    } else if (type === 'xstate.cancel') {
      this.timers = this.timers.filter((timer) => timer.id !== params.sendId);
    } else if (type === 'xstate.spawnChild') {
      const { id, src, input } = params;
      this.actions.push({ type, params: { id, src, ...(input === undefined ? {} : { input }) } });
    } else if (type === 'xstate.stopChild') {
      this.actions.push({ type, params: { id: params.id } });
    } else if (type in this.effects) {
      this.actions.push({ type, params: { ...params, ...this.effects[type](action.info, params) } });
    } else {
      this.actions.push(params === undefined ? { type } : { type, params });
    }
  }

  schedule({ id, event, delay }) {
    // An id in use goes to the new timer; the old one still fires.
    for (const timer of this.timers) {
      if (id !== undefined && timer.id === id) Object.assign(timer, { id: null, orphan: id });
    }
    this.timers.push({ id: id ?? null, event, delay, due: this.now + delay, sequence: this.sequence++ });
  }

  byDue() {
    return [...this.timers].sort((one, other) => one.due - other.due || one.sequence - other.sequence);
  }

  send(event) {
    this.take(() => this.xstate.transition(this.machine, this.snapshot, event));
  }

  play(item) {
    this.actions = [];
    if (this.status !== 'active') return;
    if (!('$advance_ms' in item)) {
      this.send(item);
      return;
    }
    const target = this.now + item.$advance_ms;
    for (let firings = 0; ; firings += 1) {
      if (firings > MAX_FIRINGS) {
        this.fail(new Error('Infinite loop of timers'));
        return;
      }
      const timer = this.byDue()[0];
      if (this.status !== 'active' || !timer || timer.due > target) break;
      this.now = Math.max(this.now, timer.due);
      this.timers = this.timers.filter((other) => other !== timer);
      // In XState the new timer with that id can then no longer be cancelled; in Durachart it can.
      if (this.timers.some((other) => other.id === timer.orphan)) this.flags.add('orphaned timer fired');
      this.send(timer.event);
    }
    this.now = target;
  }

  can() {
    const types = new Set();
    const collect = (state) => {
      for (const type of Object.keys(state.on ?? {})) if (!type.includes('*')) types.add(type);
      for (const child of Object.values(state.states ?? {})) collect(child);
    };
    collect(this.case.machine);
    return [...types].sort().filter((type) => {
      try {
        return this.snapshot.can({ type });
      } catch {
        return false;
      }
    });
  }

  describe() {
    const { snapshot } = this;
    const described = {
      value: snapshot?.value ?? {},
      context: snapshot?.context ?? {},
      actions: this.actions,
      status: this.status,
      tags: snapshot ? [...snapshot.tags].sort() : [],
      can: this.status === 'active' ? this.can() : [],
      scheduled: this.byDue().map(({ id, event, delay, due }) => ({ id, event, delay, due_in: due - this.now })),
    };
    if (snapshot?.output !== undefined) described.output = snapshot.output;
    const meta = snapshot?.getMeta() ?? {};
    if (Object.keys(meta).length) described.meta = meta;
    return structuredClone(described);
  }
}

function expectations(xstate, testCase, flags) {
  const run = new Run(xstate, testCase, flags);
  run.take(() => xstate.initialTransition(run.machine, testCase.input));
  const described = [run.describe()];
  if (run.snapshot === undefined) return described;
  for (const item of testCase.events) {
    run.play(item);
    described.push(run.describe());
  }
  return described;
}

const [, , directory] = process.argv;
console.warn = () => {};
const memory = await load(directory);
const ordered = await loadOrdered(directory);
for await (const line of createInterface({ input: process.stdin })) {
  const testCase = JSON.parse(line);
  const flags = new Set();
  let answer;
  try {
    answer = {
      expect: expectations(memory, testCase, flags),
      ordered: expectations(ordered, testCase, flags),
      flags: [...flags],
    };
  } catch (error) {
    answer = { refused: String(error?.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
