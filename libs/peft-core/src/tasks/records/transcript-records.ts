// Records of audio clips with transcripts.
import { dataUrlProblem } from '../../data/data-url.js';
import { checkText, missingFormat, unknownKey } from './record-checks.js';
import type { Task } from '../task.js';

/**
 * Maximum UTF-16 units of a transcript: about ten times the speech of ten minutes, the maximum length of a
 * clip.
 */
const MOST_LETTERS = 100_000;

function tooLong(text: unknown): string | null {
  const { length } = text as string;
  if (length <= MOST_LETTERS) return null;
  const [has, most] = [length, MOST_LETTERS].map((n) => n.toLocaleString('en-US'));
  return `"text" has ${has} characters, but a transcript may have at most ${most}; shorten it and its audio`;
}

export const transcripts: Pick<Task, 'records' | 'check' | 'facts'> = {
  records: [
    {
      name: 'transcript',
      keys: ['audio', 'text'],
      nouns: ['audio clip with its transcript', 'audio clips with transcripts'],
      line: '{"audio":"data:audio/wav;base64,…","text":"…"}',
      learnt: ['text'],
    },
  ],
  check(record) {
    const { audio, text } = record;
    if (audio === undefined || text === undefined) return missingFormat(record, '{"audio","text"}');
    return (
      unknownKey(record, ['audio', 'text']) ??
      dataUrlProblem('audio', audio, 'audio') ??
      checkText('text', text) ??
      tooLong(text)
    );
  },
  facts: ({ audio, text }) => ({
    format: 'transcript',
    ignored: [],
    identity: [audio as string, text as string],
    chats: [],
  }),
};
