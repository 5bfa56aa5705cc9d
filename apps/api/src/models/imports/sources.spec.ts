import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { nameOrPath, normalizedSource, sourceFiles } from './sources.js';

it.each([
  ['hub:HuggingFaceTB/SmolLM2-135M', 'HuggingFaceTB/SmolLM2-135M'],
  ['dir:/models/smol.gguf', '/models/smol.gguf'],
  ['dir:examples/tiny-base/', resolve('examples/tiny-base')],
  [null, 'smol'],
])('a base from %s has the PEFT base_model_name_or_path %s', (source, name) => {
  expect(nameOrPath({ id: 'smol', source })).toBe(name);
});

it("takes a processor's files, but no code or pickles", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'graft-sources-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const names = ['config.json', 'preprocessor_config.json', 'processor_config.json'];
  for (const name of [...names, 'modeling.py', 'training_args.bin'])
    writeFileSync(join(dir, name), '{}');
  const files = await sourceFiles(`dir:${dir}`, 'http://127.0.0.1:1');
  expect(files.map(({ name }) => name)).toEqual(names);
});

const HUB = 'https://hub.example';

it.each([
  ['hub:Org/Name', 'hub:Org/Name'],
  ['  Org/Name-1.5B ', 'hub:Org/Name-1.5B'],
  ['https://huggingface.co/Org/Name', 'hub:Org/Name'],
  ['https://huggingface.co/Org/Name/tree/main?x=1', 'hub:Org/Name'],
  ['huggingface.co/Org/Name', 'hub:Org/Name'],
  ['https://hf.co/Org/Name/', 'hub:Org/Name'],
  ['https://hub.example/Org/Name', 'hub:Org/Name'],
  ['hub:https://huggingface.co/Org/Name', 'hub:Org/Name'],
  ['dir:/models/x', 'dir:/models/x'],
  ['dir:examples/tiny', 'dir:examples/tiny'],
  ['/models/x.gguf', 'dir:/models/x.gguf'],
  ['./tiny', 'dir:./tiny'],
  ['https://example.com/Org/Name', null],
  ['https://huggingface.co/Org', null],
  ['Name', null],
  ['hub:Name', null],
  ['a/b/c', null],
  ['ftp://huggingface.co/Org/Name', null],
])('reads the source %s as %s', (given, source) => {
  const read = () => normalizedSource(given, HUB);
  if (source === null) expect(read).toThrow(/^source: expected hub:Org\/Name/);
  else expect(read()).toBe(source);
});
