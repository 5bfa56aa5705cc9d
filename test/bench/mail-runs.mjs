// An installation with data, for tools that open the dashboard (lighthouse.mjs, ../docs/screenshots.mjs): a
// real API with an embedded PostgreSQL and the built dashboard, a worker, the emails of the example, and jobs
// trained on them.
/* global Blob, FormData -- Node's */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spamData } from '../../libs/examples/dist/mail/spam-data.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DASHBOARD = join(ROOT, 'apps/dashboard/dist');
const CACHE = join(ROOT, '.cache/mails');
const QUIET = { GRAFT_LOG_LEVEL: 'error' };
const OVER = ['succeeded', 'failed', 'cancelled'];

/** Jobs with different training options; the first one logs the most. */
const RUNS = [
  {
    suffix: 'spam-all-linear',
    peft: { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
    graft: { learning_rate: 5e-4, loss_ledger: true },
  },
  {
    suffix: 'spam-q-and-v',
    peft: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj'] },
    graft: { learning_rate: 5e-4 },
  },
  { suffix: 'spam-ia3', peft: { peft_type: 'IA3' } },
];
const SWEEP = {
  suffix: 'spam-which-method',
  graft: { max_steps: 16, eval_steps: 4 },
  search: { algorithm: 'asha', preset: 'methods', rungs: [4, 8] },
};
/** Number of emails that losses are measured on. */
const HELD_OUT = 16;

function start(args, env = {}) {
  const stdio = ['ignore', 'pipe', 'inherit'];
  const child = spawn(process.execPath, args, { stdio, env: { ...process.env, ...env } });
  child.over = new Promise((resolve) => child.once('exit', resolve));
  return child;
}

async function stop(child) {
  child.kill('SIGTERM');
  await child.over;
}

/** Address and keys that the API prints when it is ready. */
async function ready(child) {
  let output = '';
  for await (const part of child.stdout) {
    output += part;
    const found = /^ready (.*)$/m.exec(output);
    if (found) return JSON.parse(found[1]);
  }
  throw new Error(`the API exited: ${output}`);
}

/** @param {string} home a folder for all data, new or of an earlier call, whose data are then kept */
export async function startInstallation(home) {
  if (!existsSync(join(DASHBOARD, 'index.html'))) throw new Error('build the dashboard first');
  mkdirSync(join(home, 'api'), { recursive: true });
  chmodSync(home, 0o755); // as root, PostgreSQL runs as another user, which needs access to this folder
  const config = { home: join(home, 'api'), dashboardDir: DASHBOARD, requestsPerMinute: 0 };
  const api = start([join(ROOT, 'apps/api/test/process.mjs'), JSON.stringify(config)], QUIET);
  const { url, grpcUrl, apiKey, joinToken } = await ready(api);
  api.stdout.resume();
  const flags = ['--url', `grpc://${grpcUrl}`, '--home', join(home, 'worker'), '--name', 'tower'];
  const token = { GRAFT_WORKER_TOKEN: joinToken };
  const worker = start([join(ROOT, 'apps/worker/bundle/main.js'), ...flags], {
    ...QUIET,
    ...token,
  });
  worker.stdout.resume();
  const call = async (method, path, body) => {
    const isForm = body instanceof FormData;
    const response = await fetch(`${url}/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body && !isForm && { 'content-type': 'application/json' }),
      },
      body: isForm ? body : body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return response.json();
  };
  return { url, apiKey, call, stop: async () => void (await stop(worker), await stop(api)) };
}

/** Polls until the condition is met. */
async function until(ask, isSo) {
  for (;;) {
    const found = await ask();
    if (isSo(found)) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** The models, files, jobs and sweeps of an earlier call. */
async function left(call) {
  const lists = ['/models', '/files?purpose=fine-tune', '/fine_tuning/jobs?limit=100', '/sweeps'];
  const [models, files, jobs, sweeps] = await Promise.all(lists.map((path) => call('GET', path)));
  return { models: models.data, files: files.data, jobs: jobs.data, sweeps: sweeps.data };
}

async function imported(call, base, folder) {
  await call('POST', '/models', { id: base, source: `dir:${folder}` });
  await until(
    () => call('GET', `/models/${base}`),
    ({ graft: { status, status_details: why } }) => {
      if (status === 'error') throw new Error(why);
      return status === 'ready';
    },
  );
}

async function uploaded(call, path, lines) {
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set('file', new Blob([`${lines.join('\n')}\n`]), basename(path));
  return call('POST', '/files', form);
}

async function succeeded(call, path) {
  const { status, error } = await until(
    () => call('GET', path),
    (found) => OVER.includes(found.status),
  );
  if (status !== 'succeeded') throw new Error(`${path} ${status}: ${error?.message}`);
}

/**
 * Imports the base and trains on some of the emails, unless an earlier call has done so.
 * @param what id and folder of the base; number of emails to train on; steps of a job, a multiple of 4
 * @returns ids of the base, the training file, the jobs and the sweep; and held-out emails as chats
 */
export async function trainOnMails({ call }, { base, folder, mails, steps }) {
  const { models, files, jobs, sweeps } = await left(call);
  const data = await spamData(CACHE, { note: console.error, draw: () => undefined });
  const lines = (path, count) => readFileSync(path, 'utf8').split('\n').slice(0, count);
  const asked = lines(data.heldOutFile, 3).map((line) => JSON.parse(line).messages.slice(0, -1));
  const fileOf = async (path, count) =>
    files.find(({ filename }) => filename === basename(path)) ??
    (await uploaded(call, path, lines(path, count)));

  if (!models.some(({ id }) => id === base)) await imported(call, base, folder);
  const train = await fileOf(data.trainFile, mails);
  const heldOut = await fileOf(data.heldOutFile, HELD_OUT);
  const body = {
    model: base,
    training_file: train.id,
    validation_file: heldOut.id,
    seed: 1,
    hyperparameters: { batch_size: 4 },
  };
  const pace = { max_steps: steps, eval_steps: steps / 4, save_steps: steps / 4 };
  const ids = [];
  for (const { graft, ...run } of RUNS) {
    const samples = graft?.loss_ledger && { sample_prompts: asked, sample_max_tokens: 12 };
    const made =
      jobs.find((one) => one.user_provided_suffix === run.suffix) ??
      (await call('POST', '/fine_tuning/jobs', {
        ...body,
        ...run,
        graft: { ...pace, ...graft, ...samples },
      }));
    ids.push(made.id);
  }
  const sweep = sweeps[0] ?? (await call('POST', '/sweeps', { ...body, ...SWEEP }));
  for (const id of ids) await succeeded(call, `/fine_tuning/jobs/${id}`);
  await succeeded(call, `/sweeps/${sweep.id}`);
  return { base, train: train.id, jobs: ids, sweep: sweep.id, asked };
}
