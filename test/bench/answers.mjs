#!/usr/bin/env node
// Generation speed: tokens per second of one chat and of several concurrent chats on a base, by the engine without a
// server, and optionally by llama.cpp (npm's node-llama-cpp in FOLDER) with the same weights, threads and token ids:
//   node test/bench/answers.mjs --base FOLDER [--gguf FILE --llama-cpp FOLDER] [--chats 1,16] [--tokens 64]
//                               [--prompt 64] [--threads 2] [--rounds 3] [--quantization nf4] [--cpu]
//                               [--adapters 8 --peft '{"peft_type":"LORA","r":16,"target_modules":"all-linear"}']
// FOLDER: a Hugging Face folder; FILE: the same base as GGUF. Sampling is greedy, and each chat has a prompt of its own
// of --prompt tokens. A rate counts the tokens of all chats after the first token of the last chat, over the time from
// that token to the end. Both sides alternate; the median of the rounds is printed. --adapters: number of adapters on
// the base, assigned to the chats in turn; the base without adapters is measured in the same run; as in a worker, they
// are not trained any more. --cpu: CPU time of our process, for a busy machine; not with FILE, which is measured in
// wall time. The last figure is the rate as a percentage of the rate of the base's matrix products alone, with one row
// per chat: 100 % would mean that a token costs nothing but these products.
import { spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { counterNormal, noGrad, tidy, to } from '@graft/kernels';
import { KEPT, record } from './record.mjs';
import { attachMethod, Generation, loadBase, setThreads, stepTogether } from '@graft/peft-core';

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    gguf: { type: 'string' },
    'llama-cpp': { type: 'string' },
    chats: { type: 'string', default: '1,16' },
    tokens: { type: 'string', default: '64' },
    prompt: { type: 'string', default: '64' },
    threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    rounds: { type: 'string', default: '3' },
    quantization: { type: 'string' },
    cpu: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    adapters: { type: 'string', default: '0' },
    peft: { type: 'string', default: '{"peft_type":"LORA","r":16,"target_modules":"all-linear"}' },
  },
});
const count = Number(options.tokens);
if (options.cpu && options.gguf)
  throw new Error('--cpu cannot be compared with llama.cpp: omit --gguf');
if (options.gguf && !options['llama-cpp']) throw new Error('--gguf requires --llama-cpp FOLDER');
setThreads(Number(options.threads));
const now = () => {
  if (!options.cpu) return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const base = loadBase(resolve(options.base), {
  dtype: 'bf16',
  quantization: options.quantization ?? null,
});
const adapters = Array.from({ length: Number(options.adapters) }, (_, i) => i + 1);
for (const run of adapters)
  attachMethod(base.model, JSON.parse(options.peft), { run, seed: run }).freeze?.();
const prompts = (chats) =>
  Array.from({ length: chats }, (_, chat) =>
    Array.from(
      { length: Number(options.prompt) },
      (_, i) => 100 + ((chat * 7919 + i * 104729) % 40000),
    ),
  );

function ours(chats, runs = [null]) {
  const cache = base.model.cache();
  const answers = prompts(chats).map(
    (promptTokens, i) =>
      new Generation(base, cache, {
        messages: null,
        prompt: null,
        promptTokens,
        run: runs[i % runs.length],
        max_tokens: count,
        stop: [],
        temperature: 0,
        top_p: 1,
        seed: 1,
      }),
  );
  const began = now();
  while (answers.some((answer) => answer.ids.length === 0)) stepTogether(base, cache, answers);
  const first = now();
  const before = answers.reduce((sum, { ids }) => sum + ids.length, 0);
  while (answers.some((answer) => !answer.done)) stepTogether(base, cache, answers);
  const end = now();
  const made = answers.reduce((sum, { ids }) => sum + ids.length, 0) - before;
  for (const answer of answers) if (!answer.done) answer.close();
  cache.dispose();
  return {
    prefill: (chats * Number(options.prompt)) / (first - began),
    decode: made / (end - first),
    ids: answers[0].ids,
  };
}

/**
 * Tokens per second of this number of chats if the base's matrix products were the only cost; the best of
 * five.
 */
function productsAlone(chats) {
  const { modules } = base.model;
  const linears = new Set([...modules.linears(), ...modules.tied().map(([head]) => head)]);
  const rows = new Map(
    [...new Set([...linears].map(({ inFeatures }) => inFeatures))].map((width) => [
      width,
      to(counterNormal([chats, width], { seed: 1, step: 0, site: width }), 'bf16'),
    ]),
  );
  const times = Array.from({ length: 5 }, () => {
    const began = now();
    noGrad(() => {
      for (const { weight, inFeatures } of linears)
        tidy(() => void weight.multiply(rows.get(inFeatures), null));
    });
    return now() - began;
  });
  for (const one of rows.values()) one.dispose();
  return chats / Math.min(...times);
}

/** The llama.cpp process, which answers each request line with one line. */
function theirs() {
  const script = fileURLToPath(new URL('answers-llama.mjs', import.meta.url));
  const args = [script, options['llama-cpp'], options.gguf, options.threads];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(chats) {
      child.stdin.write(`${JSON.stringify({ prompts: prompts(chats), count })}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('the llama.cpp process has exited');
      const { first, rest, tokens } = JSON.parse(value);
      return { prefill: (chats * Number(options.prompt)) / first, decode: tokens / rest };
    },
    end: () => child.stdin.end(),
  };
}

const llama = options.gguf ? theirs() : null;
const ratesOf = (rounds) => {
  const of = (key) => median(rounds.map((round) => round[key]));
  return `prompts ${of('prefill').toFixed(0)}, answers ${of('decode').toFixed(1)} tokens/s`;
};
const rows = [];
/** Row of docs/results/inference.json: our side, the other side and their ratio. */
const row = (name, mine, other) => {
  const of = (rounds, key) => median(rounds.map((round) => round[key]));
  const figures = (rounds) => [of(rounds, 'prefill').toFixed(0), of(rounds, 'decode').toFixed(1)];
  const ratio = `${(of(mine, 'decode') / of(other, 'decode')).toFixed(2)} ×`;
  rows.push([name, ...figures(mine), ...figures(other), ratio, KEPT]);
};
console.log(`load ${loadavg()[0]}, ${options.threads} threads`);
for (const chats of options.chats.split(',').map(Number)) {
  const [mine, other, adapted] = [[], [], []];
  ours(chats);
  if (adapters.length > 0) ours(chats, adapters);
  for (let i = 0; i < Number(options.rounds); i++) {
    mine.push(ours(chats));
    if (adapters.length > 0) adapted.push(ours(chats, adapters));
    if (llama) other.push(await llama.ask(chats));
  }
  const compared = llama ? `; llama.cpp ${ratesOf(other)}` : '';
  const ratio = llama
    ? `; ${(median(mine.map((r) => r.decode)) / median(other.map((r) => r.decode))).toFixed(2)} x`
    : '';
  const most = productsAlone(chats);
  const ofProducts = (rounds) =>
    `${((100 * median(rounds.map((r) => r.decode))) / most).toFixed(0)} % of products (${most.toFixed(1)} tokens/s)`;
  console.log(`${chats} chats: Graft ${ratesOf(mine)}${compared}${ratio}; ${ofProducts(mine)}`);
  const base = options.quantization ?? 'bf16';
  if (llama) row(`${base}, ${chats === 1 ? '1 chat' : `${chats} chats`}`, mine, other);
  if (adapters.length === 0) continue;
  const share = median(adapted.map((r) => r.decode)) / median(mine.map((r) => r.decode));
  const over = Math.min(chats, adapters.length);
  row(`${base}, ${chats} chats over ${over} adapters; other side: the base model`, adapted, mine);
  console.log(
    `${chats} chats over ${over} adapters: ${ratesOf(adapted)}; ${share.toFixed(2)} x; ${ofProducts(adapted)}`,
  );
}
llama?.end();
if (options.record) record('inference', rows);
