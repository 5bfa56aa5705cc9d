// No code branches on the name of a method or model (ADR 0005): a plug-in's name occurs only in its own file, its
// registry and specs.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, it } from 'vitest';
import { methods } from './methods/registry.js';
import { models } from './models/registry.js';
import { quantizers } from './quant/registry.js';

const names = [...methods, ...models, ...quantizers].map(({ name }) => name);
/** GGUF files use the same names for architectures and tokenizers. */
const OTHERS = /^(data|io)\/gguf/;

const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts') && !OTHERS.test(name))
  .map((name) => [name, readFileSync(join(import.meta.dirname, name), 'utf8')] as const);

it.each(names.map((name) => [name]))('%s is named in one file', (name) => {
  const quoted = new RegExp(`['"\`]${name}['"\`]`);
  const code = (text: string): string => text.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '');
  const found = files.filter(([, text]) => quoted.test(code(text))).map(([file]) => file);
  expect(found.map((file) => relative('.', file))).toHaveLength(1);
});
