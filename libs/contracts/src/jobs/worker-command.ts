import type { GatewayObject } from '../http/graft-api.js';

/** Returns a shell command that starts a worker. `tokenFile` is the path of a file with a join token. */
export function workerCommand(
  { url }: Pick<GatewayObject, 'url'>,
  options: { tokenFile: string; pool?: string | null; home?: string },
): string {
  const flags = { url, 'token-file': options.tokenFile, pool: options.pool, home: options.home };
  const given = Object.entries(flags).filter(([, value]) => value != null);
  return [
    'npx graft-worker',
    ...given.map(([name, value]) => `--${name} ${quoted(String(value))}`),
  ].join(' ');
}

const quoted = (text: string): string =>
  /^[\w.,:/@[\]-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
