#!/usr/bin/env node
// Entry point of `npm start`, `npm test` and `npm run test:all`. Uses only Node, because no dependency may be installed yet.
// Installs and builds what is out of date, then runs the requested program with the arguments after `--`.
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildStep, kernelsStep } from './setup/build.mjs';
import { dependenciesStep } from './setup/dependencies.mjs';
import { distributionStep } from './setup/distribution.mjs';
import { homeFor } from './setup/home.mjs';
import { runUntilItEnds } from './setup/exec.mjs';
import { startServices } from './setup/services.mjs';
import { say, SetupError, step } from './setup/step.mjs';
import { openRun } from './test-run/run.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const USAGE =
  'usage: node tools/setup.mjs [--start | --test | --test-all] [arguments of the program]';

async function setUp({ forTests }) {
  checkNode(process.versions.node);
  await step('Dependencies', dependenciesStep(ROOT));
  await step('Native kernels', kernelsStep(ROOT));
  await step('Programs and dashboard', buildStep(ROOT));
  if (forTests) await step('Programs for the tests', distributionStep());
}

function chooseHome() {
  const { home, why } = homeFor(resolve(ROOT), { asRoot: process.getuid?.() === 0 });
  if (why !== null) say(why);
  return home;
}

function checkNode(version) {
  const [major, minor] = version.split('.').map(Number);
  const fits = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  if (!fits)
    throw new SetupError(
      `Node ${version} is not supported; Graft needs Node ≥ 20.19 (20.x) or ≥ 22.12 (https://nodejs.org)`,
    );
}

/** Stops the tests when npm exits. npm forwards signals, but cannot forward `kill -9`. */
function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = process.ppid;
  setInterval(() => {
    if (process.ppid !== npm) process.kill(process.pid, 'SIGTERM');
  }, 1000).unref();
}

async function main([mode, ...rest]) {
  if (mode !== undefined && !['--start', '--test', '--test-all'].includes(mode))
    throw new SetupError(`unknown argument ${mode}; ${USAGE}`);
  const forTests = mode === '--test' || mode === '--test-all';
  await setUp({ forTests });
  if (mode === '--start') {
    const env = { ...process.env, GRAFT_HOME: process.env.GRAFT_HOME || chooseHome() };
    // Run the named example, or the default one.
    const example = rest.some((one) => /^--example(=|$)/.test(one)) ? [] : ['--example'];
    return runUntilItEnds(
      process.execPath,
      [join(ROOT, 'apps/cli/bundle/main.js'), 'up', ...example, ...rest],
      { cwd: ROOT, env },
    );
  }
  if (forTests) {
    const program = mode === '--test' ? 'tools/run-tests.mjs' : 'tools/test-all.mjs';
    endWithNpm();
    const run = openRun();
    let stopServices = async () => undefined;
    try {
      const services = await startServices(ROOT, run);
      stopServices = services.stop;
      const dashboard = { GRAFT_TEST_DASHBOARD: join(ROOT, 'apps/dashboard/dist') };
      return await runUntilItEnds(process.execPath, [join(ROOT, program), ...rest], {
        cwd: ROOT,
        env: { ...process.env, ...dashboard, ...run.env, ...services.env },
      });
    } finally {
      await stopServices();
      await run.close();
    }
  }
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof SetupError) say(`stopped: ${error.message}`);
  else say(`unexpected error: ${error.stack}`);
  process.exitCode = 1;
}
