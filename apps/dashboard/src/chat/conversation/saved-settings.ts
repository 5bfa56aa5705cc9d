// The settings of chats, kept in this browser.
import { DEFAULTS, type ChatSettings } from './chat-settings.js';

const SLOT = 'graft.chat_settings';

/** Returns the saved settings. Fields that are missing or have another type are the defaults. */
export function savedSettings(): ChatSettings {
  try {
    const saved = JSON.parse(localStorage.getItem(SLOT) ?? '{}') as Record<string, unknown>;
    const known = Object.entries(DEFAULTS).map(([name, value]) => [
      name,
      typeof saved[name] === typeof value ? saved[name] : value,
    ]);
    return Object.fromEntries(known) as unknown as ChatSettings;
  } catch {
    return DEFAULTS;
  }
}

export const saveSettings = (settings: ChatSettings): void =>
  localStorage.setItem(SLOT, JSON.stringify(settings));
