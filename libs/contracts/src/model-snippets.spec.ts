import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { modelSnippets } from './model-snippets.js';

const adapter = {
  id: "ft:tiny:default:it's $HOME:abcd1234",
  kind: 'adapter',
  uses: ['chat'],
  base: 'tiny',
  files: ['adapter_model.safetensors'],
};
const titles = (model: typeof adapter): string[] =>
  modelSnippets(model, 'http://h:1').map(({ title }) => title);

it('says how each kind is used', () => {
  expect(titles(adapter)).toEqual([
    'curl',
    'Python',
    'TypeScript',
    'PEFT',
    'vLLM',
    'llama.cpp',
    'Ollama',
  ]);
  expect(titles({ ...adapter, kind: 'full' })).toEqual(['curl', 'Python', 'TypeScript']);
  expect(titles({ ...adapter, uses: ['embed'] })).toEqual([]);
  const mixed = { ...adapter, files: ['adapter_config.json', '0/adapter_config.json'] };
  expect(titles(mixed)).toEqual(['curl', 'Python', 'TypeScript', 'PEFT']);
  expect(modelSnippets(mixed, '').at(-1)?.code).toContain('config.adapters = {name: ');
  const [llama] = modelSnippets({ ...adapter, uses: [], files: ['Modelfile', 'adapter.gguf'] }, '');
  expect(llama?.code).toContain('--lora adapter.gguf');
});

it('a shell reads the name as it is', () => {
  const [curl] = modelSnippets(adapter, 'http://h:1');
  const sent = execFileSync('sh', ['-c', (curl?.code ?? '').replace(/^curl/, "printf '%s\\n'")], {
    encoding: 'utf8',
  });
  const body = JSON.parse(sent.trim().split('\n').at(-1) ?? '') as { model: string };
  expect(body.model).toBe(adapter.id);
});
