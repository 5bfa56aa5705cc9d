// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, expect, it, vi } from 'vitest';
import { api } from './api.js';
import { useUploads } from './uploads.js';

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

it('takes nothing more while it uploads, and again once it is done', async () => {
  const sent: string[] = [];
  let finish = () => {};
  vi.spyOn(api, 'upload').mockImplementation((file) => {
    sent.push(file.name);
    return new Promise((resolve) => {
      finish = () => resolve({ id: `file-${file.name}`, filename: file.name } as never);
    });
  });
  const { result } = renderHook(() => useUploads(() => undefined));
  const upload = (...names: string[]) =>
    act(async () => void result.current.upload(names.map((name) => new File(['x'], name))));
  await upload('a', 'b');
  expect(result.current.busy).toBe('a');
  await upload('c');
  await act(async () => finish());
  await act(async () => finish());
  expect(sent).toEqual(['a', 'b']);
  expect(result.current.busy).toBeNull();
  expect(result.current.fresh.map(({ filename }) => filename)).toEqual(['a', 'b']);
  await upload('c');
  expect(sent).toEqual(['a', 'b', 'c']);
});
