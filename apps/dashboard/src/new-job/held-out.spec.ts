import type { FileObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { isHeldOutByDefault, splitValue } from './held-out.js';
import { BLANK } from './job-draft.js';

const file = (records: number) => ({ graft: { records } }) as unknown as FileObject;

it.each([
  [50, {}, true],
  [49, {}, false],
  [60, { validation_file: 'file-2' }, false],
  [60, { graft: { init_adapter: 'model-1' } }, false],
])('holds out data by default for %i examples and %j: %s', (records, draft, is) => {
  expect(isHeldOutByDefault({ ...BLANK, ...draft }, file(records))).toBe(is);
});

it('is empty if the choice is the default', () => {
  expect(splitValue(true, true)).toBe('');
  expect(splitValue(false, false)).toBe('');
  expect(splitValue(true, false)).toBe('0.1');
  expect(splitValue(false, true)).toBe('none');
});
