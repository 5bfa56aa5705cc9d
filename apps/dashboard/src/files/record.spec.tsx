// @vitest-environment happy-dom
import type { RecordFormatDescription } from '@graft/contracts';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import { TrainingRecord } from './record.js';

afterEach(cleanup);

const learning = (...learnt: string[]): RecordFormatDescription => ({
  name: learnt.join(),
  nouns: ['example', 'examples'],
  line: '{}',
  keys: [],
  optional_keys: [],
  learnt,
});
const FORMATS = [
  learning('messages'),
  learning('completion'),
  learning('text'),
  learning('preferred_output'),
  learning('chosen'),
];

function tinted(record: Record<string, unknown>): (string | null)[] {
  const client = new QueryClient();
  client.setQueryData(['tasks'], [{ record_formats: FORMATS }]);
  const { container } = render(
    <QueryClientProvider client={client}>
      <TrainingRecord item={{ line: 1, record, problem: null, text: null }} />
    </QueryClientProvider>,
  );
  return [...container.querySelectorAll('.target')].map((one) => one.textContent);
}

const user = { role: 'user', content: 'question' };
const says = (content: string, more: object = {}) => ({ role: 'assistant', content, ...more });

it.each([
  ['a chat', { messages: [user, says('a'), user, says('b', { weight: 0 })] }, ['a']],
  ['a pair', { prompt: 'p', completion: 'c' }, ['c']],
  ['a text', { text: 't' }, ['t']],
  [
    'a preference',
    {
      input: { messages: [user, says('before'), user] },
      preferred_output: [says('good')],
      non_preferred_output: [says('bad')],
    },
    ['good'],
  ],
  ['texts to choose from', { prompt: 'p', chosen: 'good', rejected: 'bad' }, ['good']],
  [
    'chats to choose from after a prompt',
    { prompt: [user, says('before'), user], chosen: [says('good')], rejected: [says('bad')] },
    ['good'],
  ],
  [
    'chats to choose from that begin with their prompt',
    {
      chosen: [user, says('before'), user, says('good')],
      rejected: [user, says('before'), user, says('bad')],
    },
    ['good'],
  ],
])('highlights only the trained parts of %s', (_, record, targets) =>
  expect(tinted(record)).toEqual(targets),
);
