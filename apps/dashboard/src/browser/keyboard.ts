import { useEffect, useSyncExternalStore } from 'react';

const SLOT = 'graft.shortcuts';
const CHANGED = 'graft:shortcuts';

const areOn = (): boolean => localStorage.getItem(SLOT) !== 'off';

/** Turns single-key shortcuts on or off in this browser. */
export function setShortcuts(on: boolean): void {
  localStorage.setItem(SLOT, on ? 'on' : 'off');
  dispatchEvent(new Event(CHANGED));
}

function subscribe(notify: () => void): () => void {
  addEventListener(CHANGED, notify);
  return () => removeEventListener(CHANGED, notify);
}

export const useShortcuts = (): boolean => useSyncExternalStore(subscribe, areOn);

/** Whether the focused element handles the key itself: text in a field, Enter on a link or button. */
function takesKey(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable) return true;
  if (target instanceof HTMLInputElement)
    return !/^(checkbox|radio|button|file)$/.test(target.type) || key === 'Enter';
  return (
    /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (key === 'Enter' && /^(A|BUTTON|SUMMARY)$/.test(target.tagName))
  );
}

/**
 * Registers single-key shortcuts of a page. They are inactive while the user types in a field,
 * while a dialog is open, or when turned off.
 */
export function useKeys(keys: Readonly<Record<string, () => void>>): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || takesKey(event.target, event.key))
        return;
      if (!areOn()) return;
      const action = keys[event.key];
      const dialog = document.querySelector('.dialog, .drawer, .menu') !== null;
      if (!action || (dialog && event.key !== 'Escape' && event.key !== '?')) return;
      event.preventDefault();
      action();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  });
}
