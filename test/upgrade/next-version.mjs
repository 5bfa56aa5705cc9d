// Preloaded into a process (node --import), so that its build has the next schema version.
import { register } from 'node:module';

const hooks = `export async function load(url, context, next) {
  const loaded = await next(url, context);
  if (!url.endsWith('/libs/contracts/dist/messages/schema-version.js')) return loaded;
  const source = String(loaded.source).replace(/SCHEMA_VERSION = (\\d+)/, (_, n) => 'SCHEMA_VERSION = ' + (Number(n) + 1));
  if (source === String(loaded.source)) throw new Error('no version in ' + url);
  return { ...loaded, source };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
