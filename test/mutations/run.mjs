#!/usr/bin/env node
// Tests of the tests: plants one wrong line at a time and says whether a test turns red.
//   node test/mutations/run.mjs [--only TEXT]… [--group api|numbers] [--list] [--json FILE]
// Each mutation of mutations.json is written into a copy of this checkout beside it (hard links, so on the same file
// system), compiled, and only the specs that it names are run there, once without it before: what is red then says
// nothing. "caught": one of them failed. "survived": a test is missing. Ends with 1 where one survived or could not be
// planted. Needs `npm test` to have set this checkout up. A mutation of the kernels compiles the addon of the copy: all
// of it the first time, then what changed. --json writes the results.
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
/** The folder whose files a group mutates. */
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

/** What git does not keep and the tests need: dependencies, compiled programs, the native addon, downloads. */
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
    // Compilers write over their outputs in place: by links they would plant the mutation in this checkout, too.
    if (/\/(dist(-types)?|bundle|build)$/.test(path)) {
      const isUsable = (from) => basename(from) !== 'cmake'; // CMake's tree names this checkout
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

/** @returns what the tests said of it */
function plant(copy, { file, find, replace, specs, tests }) {
  const path = join(copy, file);
  const original = readFileSync(path, 'utf8');
  if (original.split(find).length !== 2) return 'not planted: its text is not there exactly once';
  // A new inode: the copy's own files are checked out, but nobody should have to know.
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
/** Whether the copy's addon is of other sources than it has. */
let isAddonStale = false;
const APPS = ['api', 'worker', 'cli'];
/** Programs whose bundles are of other sources than the copy has. */
const staleApps = new Set(APPS);

function outdate(file) {
  if (isNative(file)) isAddonStale = true;
  const [, app] = /^apps\/(\w+)\//.exec(file) ?? [];
  for (const one of APPS) if (app === undefined || app === one) staleApps.add(one);
}

/** Compiles what has changed. @returns what the compilers say, or null */
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

/** The first line that says what failed; null when all passed. */
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
/** What fails of a mutation's specs without it, or null. The checkout is compiled as it was. */
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
    // A spec may wait for ever for what the mutation keeps from it.
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
