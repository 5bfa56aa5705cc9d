// @vitest-environment happy-dom
import type { FileObject, JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { lossOf } from './file.js';

it('reports that there may be more jobs than on the first page', () => {
  const file = { filename: 'a.jsonl' } as FileObject;
  const data = Array.from({ length: 50 }, () => ({}) as JobObject);
  expect(lossOf(file, [], { data, has_more: false })).toContain(
    'of the 50 jobs that used it are kept',
  );
  expect(lossOf(file, [], { data, has_more: true })).toContain(
    'of the 50 or more jobs that used it',
  );
});
