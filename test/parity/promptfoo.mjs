// Installs Promptfoo once in .cache/promptfoo, for the parity test that evaluates a Graft model with it: node
// test/parity/promptfoo.mjs
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = process.env.GRAFT_PROMPTFOO ?? join(import.meta.dirname, '../../.cache/promptfoo');

/**
 * SQLite's binary is an optional package. The other optional packages, such as a browser, are not installed.
 */
const libc = process.platform === 'linux' ? '-gnu' : '';
const PINS = ['promptfoo@0.121.20', `@libsql/${process.platform}-${process.arch}${libc}@0.5.29`];

/** Installs about 260 MB from the npm registry. */
function make() {
  const marker = join(FOLDER, 'pins.txt');
  const stamp = PINS.join('\n');
  if (existsSync(marker) && readFileSync(marker, 'utf8') === stamp) return;
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'package.json'), '{"private":true}');
  const omit = ['--omit=optional', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', ['install', ...PINS, ...omit], { cwd: FOLDER, stdio: 'inherit' });
  writeFileSync(marker, stamp);
}

make();
console.log(join(FOLDER, 'node_modules/.bin/promptfoo'));
