#!/usr/bin/env node
// Tokens per second of a batch next to the same requests sent one by one, on a running Graft:
//   node test/bench/batches.mjs --model MODEL [--url http://127.0.0.1:8080] [--lines 64] [--tokens 64] [--rounds 3]
//                               [--endpoint /v1/chat/completions] [--record NAME] [--batch-only]
// GRAFT_API_KEY is the key. Both sides alternate, and the median of the rounds is printed with their ratio. Each request has
// its own question. The time of a batch includes its upload, its validation and its output file.
import OpenAI, { toFile } from 'openai';
import { parseArgs } from 'node:util';
import { setTimeout } from 'node:timers/promises';
import { record } from './record.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    url: { type: 'string', default: 'http://127.0.0.1:8080' },
    lines: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
    endpoint: { type: 'string', default: '/v1/chat/completions' },
    record: { type: 'string' },
    'batch-only': { type: 'boolean', default: false },
  },
});
const client = new OpenAI({ baseURL: `${options.url}/v1`, apiKey: process.env.GRAFT_API_KEY });
const { endpoint, model } = options;
const bodies = Array.from({ length: Number(options.lines) }, (_, i) =>
  endpoint === '/v1/embeddings'
    ? { model, input: `Where is parcel ${i}?` }
    : {
        model,
        messages: [{ role: 'user', content: `Write a story about the number ${i}.` }],
        max_tokens: Number(options.tokens),
        temperature: 0,
      },
);
const tokensOf = ({ completion_tokens: made, prompt_tokens: read }) => made ?? read;

async function oneByOne() {
  let tokens = 0;
  const began = performance.now();
  for (const body of bodies)
    tokens += tokensOf((await client.post(endpoint.slice(3), { body })).usage);
  return (1000 * tokens) / (performance.now() - began);
}

async function batch() {
  const lines = bodies.map((body, i) =>
    JSON.stringify({ custom_id: String(i), method: 'POST', url: endpoint, body }),
  );
  const began = performance.now();
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines.join('\n')), 'requests.jsonl'),
    purpose: 'batch',
  });
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint,
    completion_window: '24h',
  });
  while (['validating', 'in_progress', 'finalizing'].includes(batch.status)) {
    await setTimeout(100);
    batch = await client.batches.retrieve(batch.id);
  }
  const seconds = (performance.now() - began) / 1000;
  const { completed } = batch.request_counts;
  if (completed !== bodies.length)
    throw new Error(`${batch.status}: ${JSON.stringify(batch.request_counts)}`);
  const { output_tokens: made, input_tokens: read } = batch.usage;
  return { rate: (made || read) / seconds, seconds };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const rounds = [];
for (let round = 0; round < Number(options.rounds); round++) {
  const one = options['batch-only'] ? NaN : await oneByOne();
  const together = await batch();
  rounds.push({ one, ...together });
  console.log(
    `round ${round + 1}: one by one ${one.toFixed(1)} tokens/s, batch ${together.rate.toFixed(1)} (${together.seconds.toFixed(1)} s)`,
  );
}
const one = median(rounds.map((round) => round.one));
const rate = median(rounds.map((round) => round.rate));
console.log(
  `${bodies.length} requests, median: one by one ${one.toFixed(1)} tokens/s, batch ${rate.toFixed(1)}, ${(rate / one).toFixed(2)} ×`,
);
if (options.record)
  record('batches', [
    [
      options.record,
      bodies.length,
      Math.round(one),
      Math.round(rate),
      `${(rate / one).toFixed(2)} ×`,
    ],
  ]);
