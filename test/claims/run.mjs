#!/usr/bin/env node
// What is said of PEFT, measured here on real weights and data, flattering or not:
//   node test/claims/run.mjs [--only cost,few-shot,forgetting,serving,equal-time,images,audio] [--cache DIR] [--fresh] [--quick]
//                            [--data FOLDER --licence TEXT] [--smollm2 FOLDER] [--minilm FOLDER] [--threads 2] [--out FILE]
// Writes docs/claims.md and its plots in docs/images. About twenty minutes on two idle cores. Every trial is kept in the
// cache folder (.cache/claims) as JSON, so that a run that was stopped goes on where it was; --fresh forgets the trials
// of the claims asked for. Models and data come from packages (see weights.mjs and data.mjs); --data names a folder with
// train.jsonl and held-out.jsonl, records {"text","label"} labelled spam or ham, whose licence the page then states.
// --quick is for trying the command: a few trials, and the page goes to the cache folder.
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { availableParallelism, cpus, loadavg } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { claims } from './claims.mjs';
import { claimsData, SOURCES } from './data.mjs';
import { claimsModels, MODELS } from './weights.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url));
/** Held-out mails of the claim about forgetting. */
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
if (options.data && !options.licence) throw new Error('--licence TEXT is needed with --data: the page states it'); // prettier-ignore
const cache = resolve(options.cache);
const trials = join(cache, options.quick ? 'trials-quick' : 'trials');
const page = resolve(options.out ?? (options.quick ? join(cache, 'claims.md') : join(ROOT, 'docs/claims.md'))); // prettier-ignore
mkdirSync(trials, { recursive: true });

const began = performance.now();
const seconds = () => ((performance.now() - began) / 1000).toFixed(0).padStart(5);
const say = (line) => console.log(`${seconds()} s  ${line}`);

/** A process of its own: its answers, line by line. */
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

/** Kept under what was asked, so that another question is another answer. */
function keptAt(claim, job) {
  const { key, ...asked } = job;
  const digest = createHash('sha256').update(JSON.stringify({ ...asked, threads: options.threads, quick: options.quick })).digest('hex'); // prettier-ignore
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
      // it may have been the machine's fault
      if (found.refused) continue;
      writeFileSync(`${path}.part`, JSON.stringify(found));
      renameSync(`${path}.part`, path);
    }
    results[job.key] = JSON.parse(readFileSync(path, 'utf8'));
  }
  return results;
}

/** Of a claim's part of the page, what an earlier run wrote, here or on another machine. */
function earlier(claim) {
  const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const found = text.split(/^(?=## )/m).find((part) => /^## \d+\. (.*)\n/.exec(part)?.[1] === claim.title); // prettier-ignore
  return found ? `${found.trimEnd()}\n` : '';
}

say(`load ${loadavg()[0].toFixed(2)}, ${threads} threads; trials are kept in ${trials}`);
const models = claimsModels(cache, { smollm2: options.smollm2 && resolve(options.smollm2), minilm: options.minilm && resolve(options.minilm) }); // prettier-ignore
const data = claimsData(cache, options.data && resolve(options.data));
data.heldOutSome = join(dirname(data.heldOutChats), 'held-out-some.jsonl');
writeFileSync(data.heldOutSome, `${readFileSync(data.heldOutChats, 'utf8').split('\n').slice(0, SOME).join('\n')}\n`); // prettier-ignore
const setting = { data, models, quick: options.quick };
for (const claim of claims)
  if (claim.needs && names.includes(claim.name)) Object.assign(setting, await claim.needs(cache));
const images = join(dirname(page), 'images');
mkdirSync(images, { recursive: true });

const machine = `${cpus()[0]?.model.trim() ?? 'a CPU'}, ${threads} threads`;
const sections = [];
for (const [i, claim] of claims.entries()) {
  let section = earlier(claim);
  if (names.includes(claim.name)) {
    const results = await resultsOf(claim, setting);
    const { markdown, plots } = claim.render(results);
    const shown = Object.entries(plots).map(([name, svg]) => {
      const file = join(images, `claims-${name}.svg`);
      writeFileSync(file, svg);
      return `![${claim.title}](${relative(dirname(page), file)})`;
    });
    section = `## ${i + 1}. ${claim.title}\n\n    node test/claims/run.mjs --only ${claim.name}\n\nOn ${machine}. ${claim.about(setting)}\n\n${markdown.trim()}\n\n${shown.join('\n\n')}\n`; // prettier-ignore
  }
  if (section) sections.push(section);
}
const sources = options.data ? [`Mails: a folder given by --data; licence: ${options.licence}`, SOURCES[1]] : SOURCES; // prettier-ignore
const written = `# What is claimed of PEFT, measured

Written by \`node test/claims/run.mjs\`, figures as they came. Small models and small data: what holds here need not hold for others, and the command is there to be run on yours.

${[...MODELS, ...sources].map((line) => `- ${line}`).join('\n')}

${sections.join('\n')}`;
writeFileSync(`${page}.part`, written);
renameSync(`${page}.part`, page);
say(`written: ${relative(process.cwd(), page)}`);
