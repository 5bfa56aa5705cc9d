import { expect, it } from 'vitest';
import { AskedThread } from './asked-thread.js';

it('what its package says while it is loaded is thrown by every call, at once', () => {
  const thread = new AskedThread<string>({
    name: 'the thread under test',
    package: 'sharp',
    source: `() => { throw new Error('libvips cannot be loaded'); }`,
  });
  expect(() => thread.ask('one')).toThrow('libvips cannot be loaded');
  expect(() => thread.ask('another')).toThrow('libvips cannot be loaded');
});
