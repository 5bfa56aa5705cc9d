import { describe, expect, it } from 'vitest';
import { workerCommand } from './worker-command.js';

describe('workerCommand', () => {
  it('includes the gateway, the token file and other options', () => {
    const gateway = { url: 'grpcs://graft.example.org:8081' };
    expect(workerCommand(gateway, { tokenFile: 'token.txt' })).toBe(
      'npx graft-worker --url grpcs://graft.example.org:8081 --token-file token.txt',
    );
    expect(workerCommand(gateway, { tokenFile: 't', pool: 'gpu', home: '/srv/two' })).toBe(
      'npx graft-worker --url grpcs://graft.example.org:8081 --token-file t --pool gpu --home /srv/two',
    );
  });

  it('quotes paths with shell characters', () => {
    const command = workerCommand(
      { url: 'grpc://[::1]:8081' },
      { tokenFile: "/tmp/a b/it's", pool: null },
    );
    expect(command).toBe(
      "npx graft-worker --url grpc://[::1]:8081 --token-file '/tmp/a b/it'\\''s'",
    );
  });
});
