import { expect, it } from 'vitest';
import { calledIn } from './called.js';

it('names the command as the user started it', () => {
  expect(calledIn({})).toBe('graft');
  expect(calledIn({ npm_lifecycle_event: 'npx', npm_lifecycle_script: "'graft'" })).toBe(
    'npx graft',
  );
  expect(calledIn({ npm_lifecycle_event: 'npx', npm_lifecycle_script: '"graft" "jobs"' })).toBe(
    'npx graft',
  );
  expect(calledIn({ npm_lifecycle_event: 'start', npm_lifecycle_script: 'node x' })).toBe(
    'npx graft',
  );
  expect(calledIn({ npm_lifecycle_event: 'npx', npm_lifecycle_script: 'vitest' })).toBe('graft');
  expect(calledIn({ npm_lifecycle_event: 'test', npm_lifecycle_script: 'node' })).toBe('graft');
});
