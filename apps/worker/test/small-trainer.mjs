// Fake trainer for the agent's specs. It uses the real protocol, writes checkpoints and resumes from them, but "trains" by a
// recurrence. The training file is a JSON object:
// {steps, stepMs, firstStepMs, blockMs, saveEvery, disobey, crashAt, exitCode, signal, words, joint, hangAt, nanAt, links, claims}.
// `needs` is the number of bytes for which a run requests admission, after `readMs`. Work marks are written as by the real
// trainer; with `joint`, a step counts as work of all runs. A prompt that starts with "die" crashes the trainer. A prompt that
// starts with "{" is sent as an answer fact. The transcript of an audio file is the sum of its bytes. Each base folder must
// contain base.txt. With `claims`, the trainer is hostile: it creates `links` ({name: target}) in its folder and reports these
// events. `raw` is any JSON to send unchanged.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WorkMark } from '../dist/trainer/work-mark.js';

const mark = WorkMark.inherited();
const runs = new Map();
const waiting = new Map();
const answers = new Map();
const adapters = new Map();

function send(message) {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  process.stdout.write(Buffer.concat([head, body]));
}

/** Sends an event of a run. */
function report({ jobId, attempt }, kind, payload) {
  send({ type: 'event', jobId, attempt, kind, payload: JSON.stringify(payload) });
}

function write(dir, contents) {
  mkdirSync(dir, { recursive: true });
  return Object.entries(contents).map(([name, text]) => {
    writeFileSync(join(dir, name), text);
    return {
      name,
      size: Buffer.byteLength(text),
      sha256: createHash('sha256').update(text).digest('hex'),
    };
  });
}

function save(run) {
  const dir = join(run.command.workDir, `checkpoint-${run.step}`);
  const files = write(dir, {
    'state.json': JSON.stringify({ step: run.step, x: run.x }),
    'adapter.txt': `x=${run.x}`,
  });
  const adapter = files.slice(1);
  report(run.command, 'saved', { step: run.step, files, adapter, best: false });
}

function end(run, kind, payload) {
  clearTimeout(run.timer);
  runs.delete(run.key);
  report(run.command, kind, payload);
}

const clock = new Int32Array(new SharedArrayBuffer(4));

function step(run) {
  mark.runs(run.plan.joint ? [...runs.values()].map(({ command }) => command) : [run.command]);
  // Native steps are synchronous, so no commands are received meanwhile.
  if (run.plan.blockMs) Atomics.wait(clock, 0, 0, run.plan.blockMs);
  run.step += 1;
  run.x = (run.x * 1103515245 + 12345) % 2147483648;
  if (run.plan.crashAt === run.step) {
    process.stderr.write(`${run.plan.words ?? 'boom: the small trainer crashes as planned'}\n`);
    if (run.plan.signal) process.kill(process.pid, run.plan.signal);
    process.exit(run.plan.exitCode ?? 7);
  }
  if (run.plan.hangAt === run.step) Atomics.wait(clock, 0, 0);
  report(run.command, 'step', {
    step: run.step,
    seconds: 0.001,
    waited_seconds: 0,
    tokens: 10,
    rss_bytes: process.memoryUsage.rss(),
    metrics: {
      loss: run.plan.nanAt === run.step ? NaN : run.x / 2147483648,
      accuracy: 0.5,
      supervised_tokens: 5,
      learning_rate: 0.1,
      grad_norm: 1,
      ...run.plan.metrics,
    },
  });
  if (run.plan.saveEvery && run.step % run.plan.saveEvery === 0) save(run);
  if (run.step < run.plan.steps) run.timer = setTimeout(step, run.plan.stepMs ?? 1, run);
  else {
    const dir = join(run.command.workDir, 'adapter');
    const adapter = write(dir, {
      'adapter_model.txt': `x=${run.x} after ${run.step}`,
      'pid.txt': String(process.pid),
    });
    end(run, 'finished', {
      step: run.step,
      published_step: run.step,
      adapter,
      trained_tokens: run.step * 10,
      forgetting: null,
    });
  }
  mark.idle();
}

function mislead({ command, plan }) {
  for (const [name, target] of Object.entries(plan.links ?? {}))
    symlinkSync(target, join(command.workDir, name));
  for (const { raw, kind, payload } of plan.claims)
    if (raw === undefined) report(command, kind, payload);
    else send(JSON.parse(raw));
}

function start(command) {
  const plan = JSON.parse(readFileSync(command.trainFile, 'utf8'));
  const run = {
    command,
    plan,
    key: `${command.jobId}/${command.attempt}`,
    step: 0,
    x: command.spec.seed,
    timer: null,
  };
  if (command.checkpointDir)
    Object.assign(run, JSON.parse(readFileSync(join(command.checkpointDir, 'state.json'), 'utf8')));
  if (plan.needs === undefined || !command.asks) return begin(run);
  waiting.set(run.key, run);
  const bytes = { state: plan.needs, activations: 0, data: 0, total: plan.needs };
  const ask = () => send({ type: 'needs', jobId: command.jobId, attempt: command.attempt, bytes });
  if (plan.readMs) setTimeout(ask, plan.readMs);
  else ask();
}

function begin(run) {
  const { command, plan } = run;
  runs.set(run.key, run);
  report(command, 'started', {
    from_step: run.step,
    total_steps: plan.steps ?? 0,
    trainable_parameters: 3,
    total_parameters: 9,
    training_examples: 1,
  });
  if (plan.claims) mislead(run);
  else if (plan.firstStepMs) run.timer = setTimeout(step, plan.firstStepMs, run);
  else step(run);
}

function admit({ jobId, attempt }) {
  const run = waiting.get(`${jobId}/${attempt}`);
  if (waiting.delete(`${jobId}/${attempt}`)) begin(run);
}

function stop(command) {
  const run = runs.get(`${command.jobId}/${command.attempt}`);
  const { jobId, attempt, reason } = command;
  if (waiting.delete(`${jobId}/${attempt}`)) report(command, 'stopped', { reason, step: 0 });
  if (!run || run.plan.disobey) return;
  if (command.reason !== 'cancel') save(run);
  end(run, 'stopped', { reason: command.reason, step: run.step });
}

/** Returns the text of an adapter, which is read once, as by the real trainer. */
function attached({ key, dir }) {
  const text = adapters.get(key) ?? readFileSync(join(dir, 'adapter_model.txt'), 'utf8');
  adapters.set(key, text);
  return text;
}

function answer({ kind, payload, ...command }) {
  const content = payload.messages?.at(-1).content ?? '';
  if (content.startsWith('{')) {
    const empty = { piece: null, last: false, errorCode: null, errorMessage: null };
    return send({ type: 'answer', id: command.id, ...empty, ...JSON.parse(content) });
  }
  const words =
    kind === 'transcribe'
      ? [createHash('sha256').update(readFileSync(command.file)).digest('hex')]
      : payload.messages
        ? payload.messages.at(-1).content.split(' ')
        : [payload.prompt];
  if (command.adapter) words.push(attached(command.adapter));
  const next = () => {
    mark.answers();
    const text = words.shift();
    if (text === 'die') process.kill(process.pid, 'SIGKILL');
    const over = words.length === 0;
    send({
      type: 'answer',
      id: command.id,
      piece: JSON.stringify({
        text,
        prompt_tokens: 1,
        completion_tokens: 1,
        ...(kind === 'transcribe' ? { segments: [] } : { finish_reason: over ? 'stop' : null }),
      }),
      last: over,
      errorCode: null,
      errorMessage: null,
    });
    if (!over) answers.set(command.id, setTimeout(next, 20));
    mark.idle();
  };
  next();
}

function handleCommand(command) {
  if (command.type === 'load') {
    if (!existsSync(join(command.path, 'base.txt'))) {
      return send({
        type: 'loadFailed',
        code: existsSync(join(command.path, 'code.txt'))
          ? readFileSync(join(command.path, 'code.txt'), 'utf8')
          : 'invalid_model',
        message: 'no base.txt',
        param: null,
      });
    }
    const message = `reading weights to ${command.device}`;
    send({ type: 'phase', code: 'loading_base', message, progress: 0.5 });
    send({
      type: 'loaded',
      baseId: command.baseId,
      family: 'small',
      parameters: 9,
      seconds: 0,
      rssBytes: 1,
    });
  } else if (command.type === 'start') start(command);
  else if (command.type === 'admit') admit(command);
  else if (command.type === 'stop') stop(command);
  else if (command.type === 'ask') answer(command);
  else if (command.type === 'cancelAsk') clearTimeout(answers.get(command.id));
  else if (command.type === 'ping') send({ type: 'pong', sequence: command.sequence, rssBytes: 1 });
}

let pending = Buffer.alloc(0);
process.stdin.on('data', (chunk) => {
  pending = Buffer.concat([pending, chunk]);
  while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32LE(0)) {
    const length = pending.readUInt32LE(0);
    handleCommand(JSON.parse(pending.subarray(4, 4 + length).toString()));
    pending = pending.subarray(4 + length);
  }
});
process.stdin.on('end', () => process.exit(0));
send({
  type: 'ready',
  protocol: 4,
  pid: process.pid,
  libtorch: 'none',
  trainerBuild: 'small-1',
  threads: 1,
  cudaDevices: (process.env['CUDA_VISIBLE_DEVICES'] ?? '').split(',').filter(Boolean).length,
});
