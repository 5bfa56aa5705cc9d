import { expect, it } from 'vitest';
import { dataUrlProblem, mediaBytes } from './data-url.js';

it('returns the bytes of a data URL of the kind', () => {
  expect(mediaBytes('image', 'data:image/png;base64,aGVsbG8=', 'image').toString()).toBe('hello');
  expect(mediaBytes('audio', 'data:audio/wav;rate=8;base64,aGk=', 'audio').toString()).toBe('hi');
});

it.each([
  [undefined, /"image" is missing/],
  [3, /must be an image as a data URL, got 3/],
  ['https://example.org/cat.png', /"data:image\/…;base64,…", got "https/],
  ['data:audio/wav;base64,aGk=', /must be an image/],
  ['data:image/png,aGk=', /must be an image/],
  ['data:image/png;base64,', /is empty/],
  ['data:image/png;base64,aGk', /not valid base64/],
  ['data:image/png;base64,a k=', /not valid base64/],
])('rejects %j with a message', (value, reason) => {
  expect(dataUrlProblem('image', value, 'image')).toMatch(reason);
  expect(() => mediaBytes('image', value, 'image')).toThrow(reason);
});

it('rejects a long prefix of any length without overflow', () => {
  const long = `data:image/png${';a=a'.repeat(4e6)};base64,aGk=`;
  expect(dataUrlProblem('image', long, 'image')).toMatch(/must be an image as a data URL/);
});
