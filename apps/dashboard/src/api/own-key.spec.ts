import type { ApiKeyObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { missingScopes } from './own-key.js';

const key = (...scopes: string[]) => ({ scopes }) as unknown as ApiKeyObject;

describe('missing scopes of a key', () => {
  it('are all required scopes that the key does not have', () =>
    expect(
      missingScopes(key('jobs:read', 'files:read'), ['jobs:read', 'jobs:write', 'admin']),
    ).toEqual(['jobs:write', 'admin']));
  it('are empty for an admin', () =>
    expect(missingScopes(key('admin'), ['jobs:write'])).toEqual([]));
  it('are empty while the key is unknown, so that the server decides', () =>
    expect(missingScopes(null, ['admin'])).toEqual([]));
});
