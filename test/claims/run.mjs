#!/usr/bin/env node
// Compares methods on real models and data, and writes what it measures, flattering or not:
//   node test/claims/run.mjs [--only cost,few-shot,forgetting,serving,equal-time,images,audio] [--cache DIR] [--fresh] [--quick]
//                            [--data FOLDER --licence TEXT] [--smollm2 FOLDER] [--minilm FOLDER] [--threads 2] [--out FOLDER]
// Writes docs/results/method-*.json and plots in docs/images; `node tools/results.mjs` then writes the page
// docs/method-comparison.md. Takes about twenty minutes on two idle cores. Each trial is stored in the cache folder
// (.cache/claims), so that a stopped run resumes; --fresh deletes the stored trials of the selected comparisons. Models
// and data come from packages (weights.mjs, data.mjs). --data names a folder with train.jsonl and held-out.jsonl:
// records {"text","label"} with the labels spam and ham, whose licence the results then state. --quick tries the command
// with a few trials and writes into the cache folder. --out writes into another folder.
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { availableParallelism, cpus, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeResult } from '../bench/record.mjs';
import { claims } from './claims.mjs';
import { claimsData } from './data.mjs';
import { claimsModels } from './weights.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url));
/** Number of held-out mails in the comparison of forgetting. */
const SOME = 40;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: claims.map(({ name }) => name).join(',') },
    cache: { type: 'string', default: join(ROOT, '.cache/claims') },
    fresh: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    data: { type: 'string' },
    licence: { type: 'string' },
    smollm2: { type: 'string' },
    minilm: { type: 'string' },
    threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    out: { type: 'string' },
  },
});
const names = options.only.split(',');
const unknown = names.filter((name) => !claims.some((claim) => claim.name === name));
if (unknown.length > 0) throw new Error(`--only: no claim ${unknown}; there are ${claims.map(({ name }) => name)}`); // prettier-ignore
if (options.data && !options.licence) throw new Error('--data needs --licence TEXT: the results state it'); // prettier-ignore
const cache = resolve(options.cache);
const trials = join(cache, options.quick ? 'trials-quick' : 'trials');
const docs = resolve(options.out ?? (options.quick ? join(cache, 'quick') : join(ROOT, 'docs')));
mkdirSync(trials, { recursive: true });

const began = performance.now();
const seconds = () => ((performance.now() - began) / 1000).toFixed(0).padStart(5);
const say = (line) => console.log(`${seconds()} s  ${line}`);

/** Runs a script in a separate process; resolves with the JSON lines that it prints. */
function run(script, request) {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [join(HERE, script)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (part) => (out += part));
    child.on('error', fail);
    child.on('close', (code) => (code === 0 ? done(out.trim().split('\n').map((line) => JSON.parse(line))) : fail(new Error(`${script} ended with ${code}`)))); // prettier-ignore
    child.stdin.end(JSON.stringify(request));
  });
}

/** File of a trial's result; its name contains a hash of the request. */
function keptAt(claim, job) {
  const { key, ...spec } = job;
  const digest = createHash('sha256').update(JSON.stringify({ ...spec, threads: options.threads, quick: options.quick })).digest('hex'); // prettier-ignore
  return join(
    trials,
    `${claim.name}-${key.replaceAll(/[^\w.-]+/g, '_')}-${digest.slice(0, 12)}.json`,
  );
}

const threads = Number(options.threads);
async function answer(job) {
  if (!job.serve) {
    const [found] = await run('trial.mjs', { base: job.base, dtype: job.dtype, threads, trials: [job.trial] }); // prettier-ignore
    return found;
  }
  const copies = Array.from({ length: job.serve.count }, (_, i) => join(cache, `copy-${i}`));
  const isCopying = job.serve.kind === 'copies';
  if (isCopying) for (const folder of copies) cpSync(job.serve.base, folder, { recursive: true });
  try {
    const [found] = await run('serve.mjs', { ...job.serve, copies, threads });
    return found;
  } finally {
    if (isCopying) for (const folder of copies) rmSync(folder, { recursive: true, force: true });
  }
}

async function resultsOf(claim, setting) {
  const jobs = claim.jobs(setting);
  const results = {};
  for (const [i, job] of jobs.entries()) {
    const path = keptAt(claim, job);
    if (options.fresh) rmSync(path, { force: true });
    if (!existsSync(path)) {
      const found = await answer(job);
      results[job.key] = found;
      say(`${claim.name} ${i + 1}/${jobs.length} ${job.key}${found.refused ? `: ${found.refused}` : ''}`); // prettier-ignore
      // not stored: the machine may have caused it
      if (found.refused) continue;
      writeFileSync(`${path}.part`, JSON.stringify(found));
      renameSync(`${path}.part`, path);
    }
    results[job.key] = JSON.parse(readFileSync(path, 'utf8'));
  }
  return results;
}

say(`load ${loadavg()[0].toFixed(2)}, ${threads} threads; trials are stored in ${trials}`);
const models = claimsModels(cache, { smollm2: options.smollm2 && resolve(options.smollm2), minilm: options.minilm && resolve(options.minilm) }); // prettier-ignore
const data = claimsData(cache, options.data && resolve(options.data));
data.heldOutSome = join(dirname(data.heldOutChats), 'held-out-some.jsonl');
writeFileSync(data.heldOutSome, `${readFileSync(data.heldOutChats, 'utf8').split('\n').slice(0, SOME).join('\n')}\n`); // prettier-ignore
const setting = { data, models, quick: options.quick };
for (const claim of claims)
  if (claim.needs && names.includes(claim.name)) Object.assign(setting, await claim.needs(cache));
for (const folder of ['images', 'results']) mkdirSync(join(docs, folder), { recursive: true });
const licence = options.data ? ` The mails come from a folder given with --data; licence: ${options.licence}.` : ''; // prettier-ignore
for (const claim of claims.filter(({ name }) => names.includes(name))) {
  const { columns, rows, notes, plots } = claim.render(await resultsOf(claim, setting));
  for (const [name, svg] of Object.entries(plots))
    writeFileSync(join(docs, 'images', `method-${name}.svg`), svg);
  const path = join(docs, 'results', `method-${claim.name}.json`);
  writeResult(path, {
    title: claim.title,
    about: claim.about(setting) + licence,
    commands: [`node test/claims/run.mjs --only ${claim.name}`],
    machine: `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${threads} threads`,
    columns,
    rows,
    ...(notes && { notes }),
    ...(Object.keys(plots).length > 0 && { plots: Object.keys(plots).map((name) => `images/method-${name}.svg`) }), // prettier-ignore
  });
  say(`written: ${path}`);
}
if (docs === join(ROOT, 'docs')) say('now run node tools/results.mjs');
