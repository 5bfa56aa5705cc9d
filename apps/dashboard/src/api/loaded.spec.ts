// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import { NoAnswer } from './request.js';
import { Answers, useLoaded } from './loaded.js';
import { signIn } from './session.js';

afterEach(cleanup);
afterEach(() => sessionStorage.clear());

/** Responses that arrive when the test releases them, in the order of the requests. */
function answers() {
  const requests: { succeed: (value: string) => void; fail: (error: Error) => void }[] = [];
  const fetcher = () =>
    new Promise<string>((succeed, fail) => void requests.push({ succeed, fail }));
  return { requests, fetcher };
}
const settled = () => new Promise((resolve) => setTimeout(resolve));

it('uses the newest request only, although an older one fails later', async () => {
  const { requests, fetcher } = answers();
  const { result } = renderHook(() => useLoaded(['one'], fetcher), { wrapper: Answers });
  await act(async () => requests[0]?.succeed('first'));
  await act(settled);
  act(() => result.current.reload());
  act(() => result.current.reload());
  await act(async () => requests[2]?.succeed('new'));
  await act(async () => requests[1]?.fail(new Error('old')));
  await act(settled);
  expect(result.current.value).toBe('new');
  expect(result.current.error).toBeNull();
});

it('keeps an error until the next successful response, and leaves outages to the banner', async () => {
  const { requests, fetcher } = answers();
  const { result } = renderHook(() => useLoaded(['one'], fetcher), { wrapper: Answers });
  await act(async () => requests[0]?.fail(new Error('refused')));
  await act(settled);
  expect(result.current.error?.message).toBe('refused');
  act(() => result.current.reload());
  expect(result.current.error?.message).toBe('refused');
  await act(async () => requests[1]?.fail(new NoAnswer({})));
  await act(settled);
  expect(result.current.error?.message).toBe('refused');
  act(() => result.current.reload());
  await act(async () => requests[2]?.succeed('now'));
  await act(settled);
  expect(result.current).toMatchObject({ value: 'now', error: null });
});

it('shares no cached value between keys', async () => {
  act(() => signIn('sk-one'));
  const { requests, fetcher } = answers();
  const { result } = renderHook(() => useLoaded(['one'], fetcher), { wrapper: Answers });
  await act(async () => requests[0]?.succeed('of the first key'));
  await act(settled);
  expect(result.current.value).toBe('of the first key');
  act(() => signIn('sk-two'));
  expect(result.current.value).toBeNull();
  await act(async () => requests[1]?.succeed('of the second'));
  await act(settled);
  expect(result.current.value).toBe('of the second');
});
