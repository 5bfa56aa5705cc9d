import type { FileObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { isHeldOutByDefault, toldOf } from './held-out.js';
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
  expect(toldOf(true, true)).toBe('');
  expect(toldOf(false, false)).toBe('');
  expect(toldOf(true, false)).toBe('0.1');
  expect(toldOf(false, true)).toBe('none');
});
