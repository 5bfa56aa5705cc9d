// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import { useLoaded } from './loading.js';

afterEach(cleanup);

it('heeds the newest request only: an older one that fails late changes nothing', async () => {
  const asked: { succeed: (value: string) => void; fail: (error: Error) => void }[] = [];
  const fetcher = () => new Promise<string>((succeed, fail) => void asked.push({ succeed, fail }));
  const { result } = renderHook(() => useLoaded(fetcher));
  act(() => result.current.reload());
  await act(async () => asked[1]?.succeed('new'));
  await act(async () => asked[0]?.fail(new Error('old')));
  expect(result.current.value).toBe('new');
  expect(result.current.error).toBeNull();
});
