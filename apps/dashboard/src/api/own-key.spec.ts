import type { ApiKeyObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { lacking } from './own-key.js';

const key = (...scopes: string[]) => ({ scopes }) as unknown as ApiKeyObject;

describe('what a key lacks', () => {
  it('is every scope that is needed and not there', () =>
    expect(lacking(key('jobs:read', 'files:read'), ['jobs:read', 'jobs:write', 'admin'])).toEqual([
      'jobs:write',
      'admin',
    ]));
  it('is nothing for an admin', () => expect(lacking(key('admin'), ['jobs:write'])).toEqual([]));
  it('is nothing while the key is not known: the server refuses', () =>
    expect(lacking(null, ['admin'])).toEqual([]));
});
