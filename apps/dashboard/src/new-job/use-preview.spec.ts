// @vitest-environment happy-dom
import { cleanup, renderHook, waitFor } from '@testing-library/react';
import { afterEach, expect, it, vi } from 'vitest';
import { answered, probe } from '../api/contact.js';
import { usePreview } from './use-preview.js';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it('leaves an outage to the banner, and retries when the API is back', async () => {
  let up = false;
  const plan = { object: 'graft.job_preview' };
  const asked = vi.fn((_path: string) =>
    up ? Promise.resolve(Response.json(plan)) : Promise.reject(new TypeError('gone')),
  );
  vi.stubGlobal('fetch', asked);
  const body = { model: 'tiny' };
  const { result } = renderHook(() => usePreview(body));
  const previews = () => asked.mock.calls.filter(([path]) => path.endsWith('/preview')).length;
  await waitFor(() => expect(previews()).toBe(1));
  await probe(); // The failed request caused one, too.
  expect(result.current).toEqual({ plan: null, refused: null, asking: true });
  up = true;
  answered();
  await waitFor(() => expect(result.current).toEqual({ plan, refused: null, asking: false }));
  expect(previews()).toBe(2);
});
