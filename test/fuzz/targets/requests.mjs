// Headers and queries: where a stream resumes, repeated calls, list cursors.
import { Readable } from 'node:stream';
import { readRecords } from '../../../apps/api/dist/files/read-records.js';
import { pageInMemory, pageQuery } from '../../../apps/api/dist/http/parse.js';
import { parseRetryMarks } from '../../../apps/api/dist/jobs/create-headers.js';
import { lastEventId } from '../../../apps/api/dist/stream/sse.js';
import { bytes } from '../mutate.mjs';

const number = bytes(
  ['0', '1', '20', '999999999999999', '2147483648', ''],
  ['-', '+', '.', 'e', '0x', ' ', '1e999', 'Infinity', 'NaN'],
);
const id = bytes(['file-1', 'audit_log-7', 'ftjob-0', ''], ['__proto__', '%', '\0', '../']);
/** Query values as Express returns them: absent, text, repeated, or an object. */
const value = (of) => (r) => {
  const text = of(r).toString('latin1');
  return r.pick([text, text, text, text, undefined, [text, text], { a: text }, { toString: text }]);
};
const numbers = value(number);
const ids = value(id);

const rows = ['file-1', 'file-2', 'audit_log-7'].map((each) => ({ id: each }));
const lines = '{"text":"a"}\n\n{"text":"b"}\nnonsense\n{"text":"c"}\n';

export const targets = [
  {
    name: 'Last-Event-ID',
    make: (r) => [numbers(r), numbers(r)],
    refused: (at) => at === null,
    run: ([header, query]) => {
      const at = lastEventId({
        headers: { 'last-event-id': header },
        query: { last_event_id: query },
      });
      if (at !== null && !(Number.isSafeInteger(at) && at >= 0))
        throw new TypeError(`no number: ${at}`);
      return at;
    },
  },
  {
    name: 'limit and after of a list',
    make: (r) => ({ limit: numbers(r), after: ids(r) }),
    run: (query) => pageInMemory(rows, pageQuery(query, 20, 100), (row) => row),
  },
  {
    name: 'cursor of a file’s records',
    make: (r) => ({ limit: numbers(r), after: numbers(r) }),
    run: (query) => readRecords(Readable.from([Buffer.from(lines)]), query),
  },
  {
    name: 'Idempotency-Key and retry count',
    make: (r) => [
      bytes(['key-1', 'k'.repeat(255), '', '0', '1'])(r).toString('latin1'),
      number(r).toString('latin1'),
    ],
    run: ([key, retries]) => {
      const marks = parseRetryMarks(key, retries);
      if (marks.idempotencyKey !== null && marks.idempotencyKey !== key)
        throw new TypeError('another key');
      return marks;
    },
  },
];
