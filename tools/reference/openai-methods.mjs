// Methods of the installed `openai` package with the requests that they send.
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';

/** Requests that a function outside the method sends. */
const SENT_ELSEWHERE = { 'embeddings.create': 'POST /v1/embeddings' };

/** The installed version. */
export const openaiVersion = () =>
  JSON.parse(readFileSync(new URL('../../node_modules/openai/package.json', import.meta.url)))
    .version;

/**
 * @returns {{ name: string, route: string | null }[]} the methods of all resources, such as `files.create` with
 * `POST /v1/files`. Parameters of routes are `{}`. Methods that call others have no route.
 */
export function openaiMethods() {
  const client = new OpenAI({ apiKey: 'none', adminAPIKey: 'none' });
  return Object.entries(client).flatMap(([name, value]) =>
    isResource(value, client) ? methodsOf(name, value, client) : [],
  );
}

const isResource = (value, client) =>
  typeof value === 'object' && value !== null && value._client === client;

function methodsOf(prefix, resource, client) {
  const prototype = Object.getPrototypeOf(resource);
  const own = Object.getOwnPropertyNames(prototype)
    .filter((key) => key !== 'constructor' && !key.startsWith('_'))
    .map((key) => {
      const name = `${prefix}.${key}`;
      return { name, route: routeOf(String(prototype[key])) ?? SENT_ELSEWHERE[name] ?? null };
    });
  const below = Object.entries(resource).flatMap(([name, value]) =>
    isResource(value, client) ? methodsOf(`${prefix}.${name}`, value, client) : [],
  );
  return [...own, ...below];
}

/** Reads the request of a method from its source. */
function routeOf(source) {
  const [, call, path] =
    /_client\s*\.(get|post|put|patch|delete|getAPIList)\(\s*(?:path\s*)?[`']([^`']+)[`']/.exec(
      source,
    ) ?? [];
  if (!path) return null;
  const isPost = call === 'getAPIList' && /method: 'post'/.test(source);
  const verb = isPost ? 'POST' : call === 'getAPIList' ? 'GET' : call.toUpperCase();
  return `${verb} /v1${path.replaceAll(/\$\{[^}]*\}/g, '{}')}`;
}
