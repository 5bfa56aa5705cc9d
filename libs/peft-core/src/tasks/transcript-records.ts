// Records of what is said in sounds.
import { dataUrlProblem } from '../data/data-url.js';
import { checkText, missingFormat, unknownKey } from './record-checks.js';
import type { Task } from './task.js';

export const transcripts: Pick<Task, 'records' | 'check' | 'facts'> = {
  records: [
    {
      name: 'transcript',
      keys: ['audio', 'text'],
      nouns: ['sound with its text', 'sounds with their texts'],
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
      checkText('text', text)
    );
  },
  facts: ({ audio, text }) => ({
    format: 'transcript',
    ignored: [],
    identity: [audio as string, text as string],
    chats: [],
  }),
};
