import { expect, it } from 'vitest';
import { BlockingThread } from './asked-thread.js';

it('throws an error of loading its package on every call, immediately', () => {
  const thread = new BlockingThread<string>({
    name: 'the thread under test',
    package: 'sharp',
    source: `() => { throw new Error('libvips cannot be loaded'); }`,
  });
  expect(() => thread.ask('one')).toThrow('libvips cannot be loaded');
  expect(() => thread.ask('another')).toThrow('libvips cannot be loaded');
});
