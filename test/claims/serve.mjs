// Eight tasks in one process, with adapters on one base or with a full copy of the model for each. Request on stdin:
//   { kind: "adapters" | "copies", base: FOLDER, copies: [FOLDER], peft, rounds, tokens, threads }
// Prints the memory after every task has answered, and the latency of requests that alternate between tasks.
import { readFileSync } from 'node:fs';
import { attachMethod, Generation, loadBase, setThreads, stepTogether } from '@graft/peft-core';

const request = JSON.parse(readFileSync(0, 'utf8'));
setThreads(request.threads);
const { peft, rounds, tokens } = request;
const PROMPT =
  'Sort this mail, spam or ham: the minutes of our meeting are attached, see you on Monday.';
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Resident memory, including the used pages of mapped files. */
const resident = () => process.memoryUsage().rss;

const load = (folder) => loadBase(folder, { dtype: 'bf16', quantization: null });
const began = performance.now();
const before = resident();
const bases = request.kind === 'adapters' ? [load(request.base)] : request.copies.map(load);
const tasks =
  request.kind === 'adapters'
    ? request.copies.map((_, i) => {
        attachMethod(bases[0].model, peft, { run: i + 1, seed: i + 1 });
        return { base: bases[0], run: i + 1 };
      })
    : bases.map((base) => ({ base, run: null }));
const caches = new Map(bases.map((base) => [base, base.model.cache()]));

const open = ({ base, run }) =>
  new Generation(base, caches.get(base), {
    messages: [{ role: 'user', content: PROMPT }],
    prompt: null,
    run,
    max_tokens: tokens,
    stop: [],
    temperature: 0,
    top_p: 1,
    seed: 1,
  });

function answer(task) {
  const started = performance.now();
  const generation = open(task);
  generation.step();
  const first = performance.now() - started;
  while (!generation.done) generation.step();
  const made = generation.ids.length;
  generation.close();
  return { first, token: (performance.now() - started - first) / Math.max(1, made - 1) };
}

/** Runs all tasks concurrently; the generations on one base are batched. Returns tokens per second. */
function together() {
  const started = performance.now();
  const open_ = tasks.map((task) => ({ base: task.base, generation: open(task) }));
  for (const base of bases) {
    const own = open_.filter((each) => each.base === base).map(({ generation }) => generation);
    while (own.some(({ done }) => !done)) stepTogether(base, caches.get(base), own.filter(({ done }) => !done)); // prettier-ignore
  }
  const made = open_.reduce((sum, { generation }) => sum + generation.ids.length, 0);
  for (const { generation } of open_) generation.close();
  return (1000 * made) / (performance.now() - started);
}

const starts = [];
for (const task of tasks) starts.push(answer(task).first);
const ready = performance.now() - began;
const firsts = [];
const perToken = [];
const rates = [];
for (let round = 0; round < rounds; round++) {
  for (const task of tasks) {
    const { first, token } = answer(task);
    firsts.push(first);
    perToken.push(token);
  }
  rates.push(together());
}
process.stdout.write(
  `${JSON.stringify({
    bytes: resident() - before,
    readyMs: ready,
    firstMs: median(firsts),
    tokenMs: median(perToken),
    tokensPerSecond: median(rates),
  })}\n`,
);
