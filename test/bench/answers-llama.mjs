// llama.cpp's side of answers.mjs: node answers-llama.mjs FOLDER-WITH-NODE_MODULES FILE THREADS. Reads requests as
// lines of JSON, {prompts, count}, and answers each with a line: the seconds to the first token of the last chat, the
// seconds from there to the end, and the tokens of that time.
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file, threads] = process.argv.slice(2);
const entry = join(resolve(folder), 'node_modules/node-llama-cpp/dist/index.js');
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  logLevel: 'error',
  maxThreads: Number(threads),
});
const model = await llama.loadModel({ modelPath: resolve(file) });
const now = () => performance.now() / 1000;

for await (const line of createInterface({ input: process.stdin })) {
  const { prompts, count } = JSON.parse(line);
  const context = await model.createContext({
    contextSize: prompts[0].length + count + 8,
    sequences: prompts.length,
    batchSize: 512,
    threads: Number(threads),
  });
  const began = now();
  const times = await Promise.all(
    prompts.map(async (prompt) => {
      const sequence = context.getSequence();
      const made = [];
      for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        made.push(now());
        if (made.length >= count) break;
      }
      sequence.dispose();
      return made;
    }),
  );
  const first = Math.max(...times.map(([at]) => at));
  const end = Math.max(...times.map((made) => made.at(-1)));
  const tokens = times.flat().filter((at) => at > first).length;
  await context.dispose();
  process.stdout.write(`${JSON.stringify({ first: first - began, rest: end - first, tokens })}\n`);
}
process.exit(0);
