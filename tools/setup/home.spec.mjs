import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { homeFor } from './home.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-home-'));
  mkdirSync(join(folder, 'checkout'), { mode: 0o755 });
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('homeFor', () => {
  const root = () => join(folder, 'checkout');

  it('is .graft in the checkout for users other than root, and for root if others have access', () => {
    chmodSync(folder, 0o700);
    expect(homeFor(root(), { asRoot: false })).toEqual({ home: join(root(), '.graft'), why: null });
    chmodSync(folder, 0o755);
    expect(homeFor(root(), { asRoot: true })).toEqual({ home: join(root(), '.graft'), why: null });
  });

  it('is a separate folder per checkout, with a reason, for root if others have no access', () => {
    chmodSync(folder, 0o700);
    const { home, why } = homeFor(root(), { asRoot: true, fallback: '/somewhere' });
    expect(home).toMatch(/^\/somewhere\/[0-9a-f]{12}$/);
    expect(why).toContain(root());
    expect(homeFor(folder, { asRoot: true, fallback: '/somewhere' }).home).not.toBe(home);
  });
});
