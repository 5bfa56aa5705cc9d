// @vitest-environment happy-dom
import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, it, vi } from 'vitest';
import { ContactBanner } from './contact-banner.js';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it('counts from the first request without a response, because a hidden tab sends none', async () => {
  vi.useFakeTimers();
  let up = true;
  vi.stubGlobal('fetch', () =>
    up ? Promise.resolve(new Response('{}')) : Promise.reject(new TypeError('gone')),
  );
  const see = (state: string) => {
    vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(state as never);
    document.dispatchEvent(new Event('visibilitychange'));
  };
  render(<ContactBanner />);
  see('hidden');
  await act(() => vi.advanceTimersByTimeAsync(3_600_000));
  up = false;
  see('visible');
  await act(() => vi.advanceTimersByTimeAsync(4000));
  expect(screen.getByRole('status').textContent).toContain('(for 4 s)');
  up = true;
  await act(() => vi.advanceTimersByTimeAsync(1000));
  expect(screen.getByRole('status').textContent).toBe('');
});
