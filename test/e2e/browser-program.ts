// The Chromium that browser specs use: found on PATH.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const WHOLE = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * The browser's program, or null where none is installed. The headless shell takes half of the CPU, but all of its tabs
 * count as visible; `whole` leaves it out.
 */
export function findBrowser({ whole = false } = {}): string | null {
  const names = whole ? WHOLE : ['chromium-headless-shell', ...WHOLE];
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return (
    names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram) ?? null
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

// No sandbox, because tests run as root in containers; the rest keeps the browser from calling home.
export const BROWSER_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
