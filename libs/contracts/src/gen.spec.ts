import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect, it } from 'vitest';

const CONTRACTS = join(import.meta.dirname, '..');
const BIN = join(CONTRACTS, '../../node_modules/.bin');
const GENERATED = ['src/gen/graft/worker/v1/worker.ts', 'src/gen/graft/gateway/v1/gateway.ts'];

it('has up-to-date generated code (npm run generate -w @graft/contracts)', () => {
  const out = mkdtempSync(join(tmpdir(), 'graft-gen-'));
  try {
    execFileSync(join(BIN, 'buf'), ['generate', '-o', out], {
      cwd: CONTRACTS,
      env: { ...process.env, PATH: `${BIN}${delimiter}${process.env['PATH'] ?? ''}` },
    });
    for (const file of GENERATED) {
      const [fresh, committed] = [out, CONTRACTS].map((root) =>
        readFileSync(join(root, file), 'utf8'),
      );
      expect(committed === fresh, file).toBe(true);
    }
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
