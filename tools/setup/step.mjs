// One step of the set-up: a name, a reason to skip it, and what it does; timed, and said in one line.

/** A set-up that cannot go on: `message` says why and what would help. Shown without a stack. */
export class SetupError extends Error {}

/**
 * Runs a step unless it is up to date.
 * @param {string} name what it does, as a person would say it
 * @param {{ upToDate?: () => boolean | Promise<boolean>, run: (say: (text: string) => void) => unknown }} how
 */
export async function step(name, { upToDate, run }) {
  if (await upToDate?.()) return say(`${name}: up to date`);
  say(`${name} …`);
  const started = performance.now();
  await run((text) => say(`  ${text}`));
  say(`${name}: done in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

export function say(text) {
  process.stdout.write(`[setup] ${text}\n`);
}
