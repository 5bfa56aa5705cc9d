// llama.cpp in a separate process, to load our files. One request per line of JSON in, one response per line out.
//   node ask.mjs FOLDER-WITH-NODE_MODULES
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const entry = join(process.argv[2], 'node_modules/node-llama-cpp/dist/index.js');
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  logLevel: 'error',
  maxThreads: 1,
});

/** Generates greedily after a prompt, with the probabilities of all tokens at each position if requested. */
async function answered(model, context, { tokens, text, count, probabilities = false }) {
  const prompt = tokens ?? model.tokenize(text, true);
  if (model.tokens.shouldPrependBosToken && text !== undefined) prompt.unshift(model.tokens.bos);
  const sequence = context.getSequence();
  const said = [];
  const tables = [];
  const asked = { probabilities: true };
  for await (const { token, probabilities: table } of sequence.evaluateWithMetadata(prompt, asked, {
    temperature: 0,
    yieldEogToken: true,
  })) {
    said.push(token);
    if (probabilities) tables.push([...table]);
    if (said.length >= count || model.isEogToken(token)) break;
  }
  sequence.dispose();
  const words = said.filter((token) => !model.isEogToken(token));
  return { prompt, said, text: model.detokenize(words), tables };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { file, lora, cases } = JSON.parse(line);
  let answer;
  try {
    const model = await llama.loadModel({ modelPath: file });
    const adapters = lora ? { lora: { adapters: [{ filePath: lora }] } } : {};
    const context = await model.createContext({ contextSize: 512, threads: 1, ...adapters });
    const answers = [];
    for (const one of cases) answers.push(await answered(model, context, one));
    await context.dispose();
    await model.dispose();
    answer = { answers };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
