// Chooses the data folder of `npm start`.
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Data folder: `.graft` in the checkout. For root, PostgreSQL runs as another user, who may have no access to a folder such
 * as /root. Then it is a folder under `fallback`, one per checkout.
 */
export function homeFor(root, { asRoot, fallback = '/var/lib/graft' }) {
  if (!asRoot || everyoneMayEnter(root)) return { home: join(root, '.graft'), why: null };
  const home = join(fallback, createHash('sha256').update(root).digest('hex').slice(0, 12));
  return {
    home,
    why: `other users cannot access ${root}, and the embedded PostgreSQL runs as another user; using ${home} for data`,
  };
}

function everyoneMayEnter(folder) {
  for (let at = folder; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
