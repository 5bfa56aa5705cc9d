import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { modelSnippets, type UsedModel, type UsedTask } from './model-snippets.js';

const adapter: UsedModel = {
  id: "ft:tiny:default:it's $HOME:abcd1234",
  kind: 'adapter',
  uses: ['chat'],
  base: 'tiny',
  operations: ['merge', 'combine', 'convert', 'gguf', 'gguf_adapter', 'vllm'],
  loraRank: 16,
  files: ['adapter_model.safetensors'],
};
const writer: UsedTask = {
  inputs: 'tokens',
  record_formats: [],
  auto_model: 'AutoModelForCausalLM',
  auto_peft_model: 'AutoPeftModelForCausalLM',
};
const OVER_API = ['curl', 'Python', 'TypeScript'];
const titles = (model: UsedModel, task: UsedTask | null = writer): string[] =>
  modelSnippets(model, task, 'http://h:1').map(({ title }) => title);
const codeOf = (title: string, model: UsedModel, task: UsedTask | null = writer): string =>
  modelSnippets(model, task, 'http://h:1').find((one) => one.title === title)?.code ?? '';

it('shows only the exports that a model supports', () => {
  expect(titles(adapter)).toEqual([
    ...OVER_API,
    'PEFT',
    'transformers',
    'vLLM',
    'llama.cpp',
    'Ollama',
    'llama.cpp, with its base',
  ]);
  expect(titles({ ...adapter, operations: [] })).toEqual([...OVER_API, 'PEFT']);
  expect(titles({ ...adapter, operations: ['merge', 'convert', 'gguf'] })).toEqual([
    ...OVER_API,
    'PEFT',
    'transformers',
    'llama.cpp',
    'Ollama',
  ]);
  const merged: UsedModel = { ...adapter, kind: 'full', operations: ['gguf'], loraRank: null };
  expect(titles(merged)).toEqual([...OVER_API, 'transformers', 'llama.cpp', 'Ollama']);
  expect(codeOf('transformers', merged)).toContain('# graft download ');
  expect(codeOf('transformers', adapter)).toContain(' --format merged ');
  expect(titles({ ...merged, kind: 'base', operations: [] }, null)).toEqual(OVER_API);
});

it('shows only llama.cpp and Ollama for a GGUF file', () => {
  const made: UsedModel = { ...adapter, kind: 'export', uses: [], operations: [] };
  expect(titles({ ...made, files: ['model-Q8_0.gguf'] })).toEqual(['llama.cpp', 'Ollama']);
  const [llama] = modelSnippets({ ...made, files: ['Modelfile', 'adapter.gguf'] }, null, '');
  expect(llama?.code).toContain('--lora adapter.gguf');
});

it('rounds the rank up to one that vLLM supports, if any', () => {
  const shown = (loraRank: number): string => codeOf('vLLM', { ...adapter, loraRank });
  expect(shown(4)).toContain('--max-lora-rank 8 ');
  expect(shown(64)).toContain('--max-lora-rank 64 ');
  expect(shown(65)).toContain('--max-lora-rank 128 ');
  expect(shown(1024)).toBe('');
  const translator = { ...writer, auto_model: 'AutoModelForSeq2SeqLM' };
  expect(titles(adapter, translator)).not.toContain('vLLM');
});

it('loads an adapter with the classes of its task and its labels', () => {
  const translator: UsedTask = {
    ...writer,
    auto_model: 'AutoModelForSeq2SeqLM',
    auto_peft_model: 'AutoPeftModelForSeq2SeqLM',
  };
  expect(codeOf('PEFT', adapter, translator)).toContain(
    'AutoPeftModelForSeq2SeqLM.from_pretrained("./adapter")',
  );
  const speller = { ...writer, auto_model: 'AutoModelForCTC', auto_peft_model: 'AutoPeftModel' };
  const files = ['adapter_config.json', 'config.json', 'vocab.json'];
  const code = codeOf('PEFT', { ...adapter, uses: ['transcribe'], files }, speller);
  expect(code).toContain('import AutoConfig, AutoModelForCTC, AutoTokenizer');
  expect(code).toContain('ignore_mismatched_sizes=True');
  const mixed = codeOf('PEFT', { ...adapter, files: ['0/adapter_config.json'] });
  expect(mixed).toContain('peft.adapters = {name: ');
});

it('shows the endpoint and the input of each use', () => {
  const classifier: UsedModel = { ...adapter, uses: ['classify'], operations: [] };
  expect(titles(classifier)).toEqual([...OVER_API, 'PEFT']);
  expect(codeOf('curl', classifier)).toContain(`"input":"Hello"`);
  const questions: UsedTask = {
    ...writer,
    record_formats: [
      {
        name: 'question_answering',
        nouns: ['question', 'questions'],
        line: '{"question":"…","context":"…","answers":{}}',
        learnt: ['answers'],
        keys: ['question', 'context', 'answers'],
        optional_keys: [],
      },
    ],
  };
  expect(codeOf('curl', classifier, questions)).toContain('"input":{"question":"…","context":"…"}');
  const imageTask: UsedTask = { ...writer, inputs: 'image' };
  expect(codeOf('curl', classifier, imageTask)).toContain("/v1/classify' -H");
  expect(codeOf('curl', classifier, imageTask)).toContain('-F file=@image.jpg');
  expect(codeOf('Python', classifier, imageTask)).toContain('data:image/jpeg;base64,{data}');
  const embedder: UsedModel = { ...adapter, uses: ['embed'] };
  expect(codeOf('curl', embedder)).toContain("/v1/embeddings'");
  expect(codeOf('TypeScript', embedder)).toContain('client.embeddings.create');
  const writesDown: UsedModel = { ...adapter, uses: ['transcribe'] };
  expect(codeOf('curl', writesDown)).toContain("/v1/audio/transcriptions'");
});

it('quotes the model name for a shell', () => {
  const run = codeOf('curl', adapter).replace(/^curl/, "printf '%s\\n'");
  const sent = execFileSync('sh', ['-c', run], { encoding: 'utf8' });
  const body = JSON.parse(sent.trim().split('\n').at(-1) ?? '') as { model: string };
  expect(body.model).toBe(adapter.id);
});
