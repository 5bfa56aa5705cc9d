// @vitest-environment happy-dom
import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

type Session = typeof import('../api/session.js');
let session: Session;

beforeEach(async () => {
  vi.resetModules();
  sessionStorage.clear();
  session = await import('../api/session.js');
  const { OfferedKey } = await import('./offered-key.js');
  vi.spyOn(location, 'reload').mockImplementation(() => undefined);
  render(<OfferedKey />);
});
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

function open(link: string): void {
  location.hash = link;
  act(() => session.takeKeyFromAddress());
}
const press = (name: string) => act(() => screen.getByRole('button', { name }).click());

it('uses the key of a link without asking if no one is signed in', () => {
  open('#key=sk-link');
  expect(session.apiKey()).toBe('sk-link');
  expect(location.hash).toBe('');
  expect(screen.queryByRole('alert')).toBeNull();
});

it('does not replace the key in use without confirmation', () => {
  session.signIn('sk-mine');
  open('#key=sk-link');
  expect(session.apiKey()).toBe('sk-mine');
  expect(location.hash).toBe('');
  press('Keep my key');
  expect(session.apiKey()).toBe('sk-mine');
  expect(screen.queryByRole('alert')).toBeNull();
  open('#key=sk-link');
  press("Switch to the link's key");
  expect(session.apiKey()).toBe('sk-link');
  expect(screen.queryByRole('alert')).toBeNull();
});

it('keeps the key of other tabs if a link is opened next to them', async () => {
  const other = new BroadcastChannel('graft.session');
  other.addEventListener('message', ({ data }: MessageEvent<object>) => {
    if ('ask' in data) other.postMessage({ key: 'sk-mine' });
  });
  open('#key=sk-link');
  session.shareBetweenTabs();
  await vi.waitFor(() => expect(session.apiKey()).toBe('sk-mine'));
  expect(await screen.findByRole('alert')).toBeTruthy();
  other.close();
});

it('uses the key of the link if the key in use is no longer valid', () => {
  session.signIn('sk-old');
  open('#key=sk-link');
  act(() => session.keyRefused('sk-old'));
  expect(session.apiKey()).toBe('sk-link');
});
