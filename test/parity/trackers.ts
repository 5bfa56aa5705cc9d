// Python interpreter with the real experiment trackers.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;
const VENV = process.env['GRAFT_TRACKERS_VENV'] ?? join(ROOT, '.venv-trackers');

export const python = join(VENV, 'bin/python');
export const ready = existsSync(join(VENV, 'pins.sha256'));
export const missing = `${VENV} is missing (python3 test/parity/trackers.py makes it)`;
