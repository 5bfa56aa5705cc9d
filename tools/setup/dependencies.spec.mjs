import { describe, expect, it } from 'vitest';
import { firstDifference } from './dependencies.mjs';

const lock = {
  packages: {
    '': { version: '0.1.0' },
    'apps/cli': { version: '0.1.0' },
    'node_modules/a': { version: '1.0.0' },
    'node_modules/@x/b': { version: '2.0.0' },
    'node_modules/for-another-platform': { version: '3.0.0', optional: true },
  },
};

describe('firstDifference', () => {
  it('returns null if every package is installed in its version', () => {
    const installed = {
      packages: {
        'node_modules/a': { version: '1.0.0' },
        'node_modules/@x/b': { version: '2.0.0' },
      },
    };
    expect(firstDifference(lock, installed)).toBeNull();
  });

  it('returns the missing package or the wrong version', () => {
    expect(firstDifference(lock, { packages: { 'node_modules/a': { version: '1.0.0' } } })).toBe(
      '@x/b is missing',
    );
    const old = {
      packages: {
        'node_modules/a': { version: '0.9.0' },
        'node_modules/@x/b': { version: '2.0.0' },
      },
    };
    expect(firstDifference(lock, old)).toBe('a is 0.9.0, expected 1.0.0');
  });
});
