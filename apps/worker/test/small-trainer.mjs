// A trainer of its own kind for the agent's specs: speaks the real protocol, really writes checkpoints
// and resumes from them, but "trains" by a recurrence. The training file is one JSON object:
// {steps, stepMs, firstStepMs, blockMs, saveEvery, disobey, crashAt, exitCode, nanAt, links, claims}. Each base folder
// must hold base.txt. With `claims` it is hostile: it makes `links` in its folder, {name: target}, and says those facts; and `raw`
// is said as it is, JSON of any kind.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const runs = new Map();
const answers = new Map();
const adapters = new Map();

function say(message) {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  process.stdout.write(Buffer.concat([head, body]));
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
  const { jobId, epoch } = run.command;
  const dir = join(run.command.workDir, `checkpoint-${run.step}`);
  const files = write(dir, {
    'state.json': JSON.stringify({ step: run.step, x: run.x }),
    'adapter.txt': `x=${run.x}`,
  });
  say({ type: 'saved', jobId, epoch, step: run.step, files, adapter: files.slice(1) });
}

function end(run, fact) {
  clearTimeout(run.timer);
  runs.delete(run.key);
  const { jobId, epoch } = run.command;
  say({ jobId, epoch, ...fact });
}

const clock = new Int32Array(new SharedArrayBuffer(4));

function step(run) {
  const { jobId, epoch } = run.command;
  // Native steps are synchronous: meanwhile it hears nothing.
  if (run.plan.blockMs) Atomics.wait(clock, 0, 0, run.plan.blockMs);
  run.step += 1;
  run.x = (run.x * 1103515245 + 12345) % 2147483648;
  if (run.plan.crashAt === run.step) {
    process.stderr.write('boom: the small trainer was told to crash\n');
    process.exit(run.plan.exitCode ?? 7);
  }
  say({
    type: 'step',
    jobId,
    epoch,
    step: run.step,
    loss: run.plan.nanAt === run.step ? NaN : run.x / 2147483648,
    learningRate: 0.1,
    gradNorm: 1,
    tokens: 10,
    supervisedTokens: 5,
    accuracy: 0.5,
    seconds: 0.001,
    rssBytes: process.memoryUsage.rss(),
  });
  if (run.plan.saveEvery && run.step % run.plan.saveEvery === 0) save(run);
  if (run.step < run.plan.steps) run.timer = setTimeout(step, run.plan.stepMs ?? 1, run);
  else {
    const dir = join(run.command.workDir, 'adapter');
    const adapter = write(dir, {
      'adapter_model.txt': `x=${run.x} after ${run.step}`,
      'pid.txt': String(process.pid),
    });
    end(run, {
      type: 'finished',
      step: run.step,
      adapter,
      trainedTokens: run.step * 10,
      peakRssBytes: 1000,
    });
  }
}

function mislead({ command: { jobId, epoch, workDir }, plan }) {
  for (const [name, target] of Object.entries(plan.links ?? {}))
    symlinkSync(target, join(workDir, name));
  for (const fact of plan.claims)
    say(fact.raw === undefined ? { jobId, epoch, ...fact } : JSON.parse(fact.raw));
}

function start(command) {
  const plan = JSON.parse(readFileSync(command.trainFile, 'utf8'));
  const run = {
    command,
    plan,
    key: `${command.jobId}/${command.epoch}`,
    step: 0,
    x: command.spec.seed,
    timer: null,
  };
  if (command.checkpointDir)
    Object.assign(run, JSON.parse(readFileSync(join(command.checkpointDir, 'state.json'), 'utf8')));
  runs.set(run.key, run);
  const { jobId, epoch } = command;
  say({
    type: 'started',
    jobId,
    epoch,
    fromStep: run.step,
    totalSteps: plan.steps ?? 0,
    trainableParameters: 3,
    totalParameters: 9,
    trainingExamples: 1,
  });
  if (plan.claims) mislead(run);
  else if (plan.firstStepMs) run.timer = setTimeout(step, plan.firstStepMs, run);
  else step(run);
}

function stop(command) {
  const run = runs.get(`${command.jobId}/${command.epoch}`);
  if (!run || run.plan.disobey) return;
  if (command.reason !== 'cancel') save(run);
  end(run, { type: 'stopped', reason: command.reason, step: run.step });
}

/** Read once, as the real one does. */
function attached({ key, dir }) {
  const text = adapters.get(key) ?? readFileSync(join(dir, 'adapter_model.txt'), 'utf8');
  adapters.set(key, text);
  return text;
}

function generate(command) {
  const words = command.messages ? command.messages.at(-1).content.split(' ') : [command.prompt];
  if (command.adapter) words.push(attached(command.adapter));
  const next = () => {
    const text = words.shift();
    const over = words.length === 0;
    say({
      type: 'generated',
      id: command.id,
      text,
      finishReason: over ? 'stop' : null,
      promptTokens: 1,
      completionTokens: 1,
      errorCode: null,
      errorMessage: null,
    });
    if (!over) answers.set(command.id, setTimeout(next, 20));
  };
  next();
}

function obey(command) {
  if (command.type === 'load') {
    if (!existsSync(join(command.path, 'base.txt'))) {
      return say({
        type: 'loadFailed',
        code: 'invalid_model',
        message: 'no base.txt',
        param: null,
      });
    }
    say({ type: 'phase', code: 'loading_base', message: 'reading weights', progress: 0.5 });
    say({
      type: 'loaded',
      baseId: command.baseId,
      family: 'small',
      parameters: 9,
      seconds: 0,
      rssBytes: 1,
    });
  } else if (command.type === 'start') start(command);
  else if (command.type === 'stop') stop(command);
  else if (command.type === 'generate') generate(command);
  else if (command.type === 'cancelGenerate') clearTimeout(answers.get(command.id));
  else if (command.type === 'ping') say({ type: 'pong', sequence: command.sequence, rssBytes: 1 });
}

let pending = Buffer.alloc(0);
process.stdin.on('data', (chunk) => {
  pending = Buffer.concat([pending, chunk]);
  while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32LE(0)) {
    const length = pending.readUInt32LE(0);
    obey(JSON.parse(pending.subarray(4, 4 + length).toString()));
    pending = pending.subarray(4 + length);
  }
});
process.stdin.on('end', () => process.exit(0));
say({
  type: 'ready',
  protocol: 1,
  pid: process.pid,
  libtorch: 'none',
  trainerBuild: 'small-1',
  threads: 1,
});
