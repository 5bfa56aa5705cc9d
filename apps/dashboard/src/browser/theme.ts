// The color scheme that the user chose in this browser.
import { useSyncExternalStore } from 'react';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const SLOT = 'graft.theme';
const CHANGED = 'graft:theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

/** Returns the user's choice; "system" if there is none. */
export function theme(): Theme {
  const saved = localStorage.getItem(SLOT);
  return THEMES.find((one) => one === saved) ?? 'system';
}

/** Applies the saved choice to the document. Tokens follow the `data-theme` attribute. */
export function applyTheme(): void {
  const chosen = theme();
  if (chosen === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = chosen;
}

/** Saves and applies a choice. Other tabs follow. */
export function setTheme(chosen: Theme): void {
  localStorage.setItem(SLOT, chosen);
  applyTheme();
  dispatchEvent(new Event(CHANGED));
}

function subscribe(notify: () => void): () => void {
  const stored = ({ key }: StorageEvent) => {
    if (key !== SLOT) return;
    applyTheme();
    notify();
  };
  addEventListener(CHANGED, notify);
  addEventListener('storage', stored);
  dark.addEventListener('change', notify);
  return () => {
    removeEventListener(CHANGED, notify);
    removeEventListener('storage', stored);
    dark.removeEventListener('change', notify);
  };
}

export const useTheme = (): Theme => useSyncExternalStore(subscribe, theme);

const isDark = (): boolean => (theme() === 'system' ? dark.matches : theme() === 'dark');

/** Whether the page is dark now, by choice or by the system. */
export const useDark = (): boolean => useSyncExternalStore(subscribe, isDark);
