import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { expect, it } from 'vitest';
import { apiDocument } from './api-page.mjs';
import { openaiMethods } from './openai-methods.mjs';
import { openaiRows } from './openai-page.mjs';

const PAGE = readFileSync(new URL('../../docs/reference/openai.md', import.meta.url), 'utf8');
const shown = [...PAGE.matchAll(/^\| `([\w.]+)` \| (yes|no) \| (?:`([^`]+)`)? ?\| (.*) \|$/gm)].map(
  ([, name, works, route, note]) => ({ name, works: works === 'yes', route, note }),
);
const { paths } = await apiDocument();
const isServed = (route) => {
  const [verb, path] = route.split(' ');
  return Object.entries(paths).some(
    ([one, operations]) =>
      one.replaceAll(/\{\w+\}/g, '{}') === path && verb.toLowerCase() in operations,
  );
};

it("has exactly the methods that OpenAI's client has", () => {
  const methods = shown.map(({ name }) => name);
  expect(methods).toEqual(openaiMethods().map(({ name }) => name));
  expect(new Set(methods).size).toBe(methods.length);
  const client = new OpenAI({ apiKey: 'none' });
  for (const name of methods) {
    const found = name.split('.').reduce((object, part) => object[part], client);
    expect([name, typeof found]).toEqual([name, 'function']);
  }
});

it('finds the resources that users call, with the requests that they send', async () => {
  const sent = [];
  const headers = { 'content-type': 'application/json' };
  const client = new OpenAI({
    apiKey: 'none',
    adminAPIKey: 'none',
    baseURL: 'http://localhost/v1',
    fetch: (url, { method }) => {
      sent.push(`${method.toUpperCase()} ${new URL(url).pathname}`);
      return Promise.resolve(new globalThis.Response('{"data":[]}', { headers }));
    },
  });
  await client.embeddings.create({ model: 'one', input: 'one', encoding_format: 'float' });
  await client.files.content('one');
  await client.fineTuning.jobs.checkpoints.list('one');
  await client.fineTuning.checkpoints.permissions.create('one', { project_ids: [] });
  await client.evals.runs.outputItems.retrieve('one', { eval_id: 'one', run_id: 'one' });
  await client.admin.organization.projects.users.delete('one', { project_id: 'one' });
  const routes = openaiMethods().map(({ name, route }) => [name, route?.replaceAll('{}', 'one')]);
  const names = [
    'embeddings.create',
    'files.content',
    'fineTuning.jobs.checkpoints.list',
    'fineTuning.checkpoints.permissions.create',
    'evals.runs.outputItems.retrieve',
    'admin.organization.projects.users.delete',
  ];
  const found = new Map(routes);
  expect(names.map((name) => found.get(name))).toEqual(sent);
});

it('says yes exactly where Graft has a route, and otherwise why not', () => {
  for (const { name, works, route, note } of shown) {
    if (route) expect([name, isServed(route)]).toEqual([name, works]);
    if (!works) expect([name, note]).toEqual([name, expect.stringMatching(/\w/)]);
  }
  const local = shown.filter(({ works, route }) => works && !route).map(({ name }) => name);
  expect(local).toEqual(['webhooks.unwrap', 'webhooks.verifySignature']);
});

it('refuses a new method without a route or a reason, and reasons that no longer apply', () => {
  const methods = openaiMethods();
  const unknown = { name: 'dreams.create', route: 'POST /v1/dreams' };
  expect(() => openaiRows([...methods, unknown], paths)).toThrow('dreams.create has no route');
  const served = { ...paths, '/v1/moderations': { post: {} } };
  expect(() => openaiRows(methods, served)).toThrow('apply to no method: moderations');
  const gone = methods.filter(({ name }) => name !== 'files.waitForProcessing');
  expect(() => openaiRows(gone, paths)).toThrow('apply to no method: files.waitForProcessing');
});
