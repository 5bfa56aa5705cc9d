// Runs and times a step of the setup.

/** Setup error with a message that says how to fix it. Printed without a stack trace. */
export class SetupError extends Error {}

/**
 * Runs a step unless it is up to date.
 * @param {string} name title of the step
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
