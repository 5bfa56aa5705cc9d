// @vitest-environment happy-dom
import type { FileObject } from '@graft/contracts';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ApiError } from '../api/request.js';
import { PartUpload } from './part-upload.js';
import { signIn, signOut } from '../api/session.js';
import {
  continueUpload,
  currentUploads,
  dropUpload,
  pickColumns,
  markUploadSelected,
  upload,
} from './uploads.js';

/** Completes the current upload. */
let finish: (made?: Partial<FileObject>) => void;
let refuse: (why: Error) => void;
const cancelled = vi.fn(() => Promise.resolve());
const sentColumns = vi.fn();

beforeEach(() => {
  signIn('sk-one');
  vi.spyOn(PartUpload.prototype, 'cancel').mockImplementation(cancelled);
  vi.spyOn(PartUpload.prototype, 'send').mockImplementation(
    (columns, signal) =>
      new Promise((resolve, reject) => {
        sentColumns(columns);
        finish = (made) => resolve({ id: 'file-1', status: 'processed', ...made } as FileObject);
        refuse = reject;
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      }),
  );
});
afterEach(() => {
  for (const { id } of currentUploads()) dropUpload(id);
  vi.restoreAllMocks();
  cancelled.mockClear();
  sentColumns.mockClear();
});

const files = (...names: string[]) => names.map((name) => new File(['x'], name));
const states = () => currentUploads().map(({ name, state }) => `${name} ${state}`);
/** Waits until pending promises have settled. */
const settled = () => new Promise((resolve) => setTimeout(resolve));
const isWarning = (): boolean => {
  const leaving = new Event('beforeunload', { cancelable: true });
  window.dispatchEvent(leaving);
  return leaving.defaultPrevented;
};

it('uploads files one after the other, including later ones, and warns before the page is left', async () => {
  expect(isWarning()).toBe(false);
  upload(files('a', 'b'));
  expect(states()).toEqual(['a sending', 'b waiting']);
  upload(files('c'));
  expect(states()).toEqual(['a sending', 'b waiting', 'c waiting']);
  for (const _ of 'abc') {
    expect(isWarning()).toBe(true);
    finish();
    await settled();
  }
  expect(states()).toEqual(['a done', 'b done', 'c done']);
  expect(isWarning()).toBe(false);
  // Completed uploads that were seen are removed.
  upload(files('d'));
  expect(states()).toEqual(['d sending']);
});

it('continues with the next file after a failure, and retries on request', async () => {
  upload(files('a', 'b'));
  refuse(new ApiError(429, 'The project has no storage left.', null, 'insufficient_quota'));
  await settled();
  expect(states()).toEqual(['a failed', 'b sending']);
  expect(currentUploads()[0]?.error?.message).toBe('The project has no storage left.');
  continueUpload(currentUploads()[0]!.id);
  expect(states()).toEqual(['a waiting', 'b sending']);
  finish();
  await settled();
  expect(states()).toEqual(['a sending', 'b done']);
  finish();
  await settled();
  expect(states()).toEqual(['a done', 'b done']);
});

it('retries while the server restarts, and fails if that takes too long', async () => {
  vi.useFakeTimers();
  try {
    upload(files('a'));
    for (let times = 1; times <= 6; times++) {
      expect(sentColumns).toHaveBeenCalledTimes(times);
      refuse(new ApiError(503, 'The server is shutting down.', null, 'unavailable'));
      await vi.advanceTimersByTimeAsync(0);
      if (times < 6) expect(states()).toEqual(['a interrupted']);
      await vi.advanceTimersByTimeAsync(16_000);
    }
    expect(states()).toEqual(['a failed']);
  } finally {
    vi.useRealTimers();
  }
});

it('starts over with its retry delays after a part has arrived', async () => {
  vi.useFakeTimers();
  try {
    const arrived = vi.spyOn(PartUpload.prototype, 'arrived', 'get').mockReturnValue(0);
    const interrupted = async () => {
      refuse(new ApiError(503, 'The server is shutting down.', null, 'unavailable'));
      await vi.advanceTimersByTimeAsync(0);
    };
    upload(files('a'));
    for (let outage = 1; outage <= 2; outage++) {
      for (let pause = 1; pause <= 5; pause++) {
        await interrupted();
        expect(states()).toEqual(['a interrupted']);
        await vi.advanceTimersByTimeAsync(16_000);
      }
      arrived.mockReturnValue(outage);
    }
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(states()).toEqual(['a done']);
  } finally {
    vi.useRealTimers();
  }
});

it('asks for the columns of a table, and sends the answer', async () => {
  upload(files('a.csv'));
  const asks = {
    columns: ['question', 'said'],
    suggested: { prompt: 'question', completion: 'said' },
  };
  refuse(new ApiError(400, 'name the columns', 'columns', 'invalid_value', asks));
  await settled();
  const [table] = currentUploads();
  expect(table).toMatchObject({ state: 'asks', ...asks });
  pickColumns(table!.id, { prompt: 'question', completion: 'said' });
  expect(sentColumns).toHaveBeenLastCalledWith({ prompt: 'question', completion: 'said' });
});

it('cancels an upload on the server, and continues with the next one', async () => {
  upload(files('a', 'b'));
  dropUpload(currentUploads()[0]!.id);
  await settled();
  expect(states()).toEqual(['b sending']);
  expect(cancelled).toHaveBeenCalledTimes(1);
  finish();
  await settled();
  // An uploaded file is kept when its entry is closed.
  dropUpload(currentUploads()[0]!.id);
  expect(cancelled).toHaveBeenCalledTimes(1);
  expect(states()).toEqual([]);
});

it('ends with the session and is hidden from another key', async () => {
  upload(files('a', 'b'));
  finish();
  await settled();
  expect(states()).toEqual(['a done', 'b sending']);
  signOut();
  expect(states()).toEqual([]);
  expect(cancelled).toHaveBeenCalledTimes(1);
  signIn('sk-two');
  await settled();
  upload(files('c'));
  expect(states()).toEqual(['c sending']);
});

it('keeps an upload that a form has yet to select', async () => {
  history.pushState(null, '', '/new');
  upload(files('a'));
  history.pushState(null, '', '/files');
  finish();
  await settled();
  upload(files('b'));
  expect(states()).toEqual(['a done', 'b sending']);
  markUploadSelected(currentUploads()[0]!.id);
  upload(files('c'));
  expect(states()).toEqual(['b sending', 'c waiting']);
});
