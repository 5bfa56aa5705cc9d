#!/usr/bin/env node
// Tests of the tests: plants one wrong line at a time and reports whether a test fails.
//   node test/mutations/run.mjs [--only TEXT]… [--group api|numbers] [--list] [--json FILE]
// Each mutation of mutations.json is written into a copy of this checkout next to it (hard links, so on the same file
// system) and compiled. Only the specs that it names run there, once without the mutation first, because a spec that
// fails anyway proves nothing. "caught": a spec failed. "survived": a test is missing. Exits with 1 if one survived or
// could not be planted. Run `npm test` first to set up this checkout. A mutation of the kernels compiles the copy's
// addon: completely the first time, then incrementally. --json writes the results.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, stripVTControlCharacters } from 'node:util';

const ROOT = resolve(fileURLToPath(new URL('../..', import.meta.url)));
const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    group: { type: 'string' },
    list: { type: 'boolean' },
    json: { type: 'string' },
  },
});
/** Folder that each group mutates. */
const GROUPS = { api: 'apps/', numbers: 'libs/' };
if (flags.group !== undefined && !Object.hasOwn(GROUPS, flags.group)) {
  console.error(`--group takes ${Object.keys(GROUPS).join(' or ')}, got "${flags.group}"`);
  process.exit(2);
}
const all = JSON.parse(readFileSync(join(ROOT, 'test/mutations/mutations.json'), 'utf8'));
const chosen = all.filter(
  ({ name, file }) =>
    file.startsWith(GROUPS[flags.group] ?? '') &&
    (flags.only === undefined || flags.only.some((text) => name.includes(text))),
);

if (flags.list) {
  for (const { name, file } of chosen) console.log(`${name}  (${file})`);
  process.exit(0);
}

/** Files that Git ignores and the tests need: dependencies, compiled programs, the native addon, downloads. */
const BUILT = [
  'node_modules',
  '.cache',
  '{apps,libs}/*/{node_modules,dist,dist-types,bundle,build}',
];

function copyCheckout() {
  const copy = mkdtempSync(`${ROOT}.mutations-`);
  rmSync(copy, { recursive: true });
  execFileSync('git', ['worktree', 'add', '--quiet', '--detach', copy, 'HEAD'], { cwd: ROOT });
  for (const path of BUILT.flatMap((pattern) => expand(pattern))) {
    // Compilers overwrite their outputs in place. Links would plant the mutation in this checkout, too.
    if (/\/(dist(-types)?|bundle|build)$/.test(path)) {
      const isUsable = (from) => basename(from) !== 'cmake'; // CMake's tree contains the path of this checkout
      const options = { recursive: true, preserveTimestamps: true, filter: isUsable };
      cpSync(join(ROOT, path), join(copy, path), options);
    } else {
      execFileSync('cp', ['-al', join(ROOT, path), join(copy, dirname(path))]);
    }
  }
  return copy;
}

function expand(pattern) {
  if (!pattern.includes('{')) return existsSync(join(ROOT, pattern)) ? [pattern] : [];
  const found = execFileSync('bash', ['-c', `shopt -s nullglob; printf '%s\\n' ${pattern}`], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return found.split('\n').filter((path) => path !== '' && existsSync(join(ROOT, path)));
}

const removeCopy = () =>
  execFileSync('git', ['worktree', 'remove', '--force', copy], { cwd: ROOT });

/** @returns the tests' result */
function plant(copy, { file, find, replace, specs, tests }) {
  const path = join(copy, file);
  const original = readFileSync(path, 'utf8');
  if (original.split(find).length !== 2) return 'not planted: its text does not occur exactly once';
  // A new inode, so that a linked original stays unchanged.
  rmSync(path);
  writeFileSync(
    path,
    original.replace(find, () => replace),
  );
  outdate(file);
  try {
    const failure = compile(copy);
    if (failure !== null) return `not planted: it does not compile\n${failure}`;
    const red = redOf(copy, specs, tests);
    return red === null ? 'survived' : `caught by ${red}`;
  } finally {
    writeFileSync(path, original);
    outdate(file);
  }
}

const isNative = (file) => file.startsWith('libs/kernels/native/');
/** Whether the copy's addon is older than its sources. */
let isAddonStale = false;
const APPS = ['api', 'worker', 'cli'];
/** Programs whose bundles are older than the copy's sources. */
const staleApps = new Set(APPS);

function outdate(file) {
  if (isNative(file)) isAddonStale = true;
  const [, app] = /^apps\/(\w+)\//.exec(file) ?? [];
  for (const one of APPS) if (app === undefined || app === one) staleApps.add(one);
}

/** Compiles what has changed. @returns the compilers' errors, or null */
function compile(copy) {
  if (isAddonStale) {
    const built = run(copy, ['libs/kernels/scripts/build.mjs'], 1_800_000);
    if (built.status !== 0) return built.stderr;
    isAddonStale = false;
  }
  const compiled = run(copy, ['node_modules/tsc7/bin/tsc', '-b']);
  if (compiled.status !== 0) return compiled.stdout;
  for (const app of staleApps) {
    const bundled = run(copy, ['tools/bundle.mjs', app]);
    if (bundled.status !== 0) return bundled.stderr;
    staleApps.delete(app);
  }
  return null;
}

/** Returns the first line that reports a failure, or null if all passed. */
function redOf(copy, specs, tests) {
  const only = tests === undefined ? [] : ['-t', tests];
  const options = ['run', '--bail=1', '--retry=0', ...specs, ...only];
  const tested = run(copy, ['node_modules/vitest/vitest.mjs', ...options]);
  if (tested.status === 0) return null;
  const [red = 'specs that did not end'] =
    /^.*(?:×|FAIL).*$/m.exec(stripVTControlCharacters(tested.stdout)) ?? [];
  return red.trim();
}

const unmutated = new Map();
/** Returns the failure of a mutation's specs without the mutation, or null. Expects the original build. */
function redWithout(copy, { specs, tests }) {
  const key = JSON.stringify([specs, tests]);
  if (!unmutated.has(key)) {
    unmutated.set(key, compile(copy) ?? redOf(copy, specs, tests));
  }
  return unmutated.get(key);
}

function run(cwd, args, timeout = 300_000) {
  return spawnSync(process.execPath, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    // A mutation may make a spec wait forever.
    timeout,
    killSignal: 'SIGKILL',
  });
}

const isCaught = ({ verdict }) => verdict.startsWith('caught');
const copy = copyCheckout();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    removeCopy();
    process.exit(1);
  });
const results = [];
try {
  for (const mutation of chosen) {
    const began = performance.now();
    const red = redWithout(copy, mutation);
    const verdict = red === null ? plant(copy, mutation) : `not planted: red without it: ${red}`;
    const seconds = Math.round((performance.now() - began) / 1000);
    const mark = isCaught({ verdict }) ? 'ok  ' : 'MISS';
    console.log(`${mark} ${mutation.name}: ${verdict} (${seconds} s)`);
    results.push({ name: mutation.name, file: mutation.file, verdict, seconds });
    if (flags.json) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
  }
} finally {
  removeCopy();
}
const caught = results.filter(isCaught).length;
console.log(`${caught} of ${chosen.length} mutations caught`);
process.exit(caught < chosen.length ? 1 : 0);
