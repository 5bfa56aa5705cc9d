// Finds the Chromium for browser specs on PATH.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const WHOLE = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * Returns the browser's path, or null if none is installed. The headless shell uses half of the
 * CPU, but all of its tabs count as visible; `whole` excludes it.
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

// No sandbox, because tests run as root in containers. The other flags prevent connections to
// Google's services.
export const BROWSER_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
