// A client generated from the served OpenAPI document: it compiles in strict mode, and calls a real server.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from './fixture.js';

const ROOT = join(import.meta.dirname, '../../..');
const TSC = join(ROOT, 'node_modules/tsc7/bin/tsc');
const CACHE = join(ROOT, '.cache');

/** Program with the document's types. Each annotated line compiles only with that type. */
const PROGRAM = `
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

export async function train(baseUrl: string, key: string, lines: string) {
  const api = createClient<paths>({ baseUrl, headers: { authorization: \`Bearer \${key}\` } });
  const file = await api.POST('/v1/files', {
    body: { purpose: 'fine-tune', file: lines },
    bodySerializer: ({ purpose, file }) => {
      const form = new FormData();
      form.set('purpose', purpose);
      form.set('file', new File([file], 'chats.jsonl'));
      return form;
    },
  });
  const training_file: string = file.data!.id;
  const made = await api.POST('/v1/fine_tuning/jobs', {
    body: {
      model: 'tiny',
      training_file,
      hyperparameters: { n_epochs: 1, batch_size: 'auto' },
      peft: { peft_type: 'LORA', r: 4 },
    },
  });
  const job = made.data!;
  const status: components['schemas']['JobObject']['status'] = job.status;
  const got = await api.GET('/v1/fine_tuning/jobs/{id}', { params: { path: { id: job.id } } });
  const page = await api.GET('/v1/fine_tuning/jobs', { params: { query: { limit: 1 } } });
  const ids: string[] = page.data!.data.map(({ id }) => id);
  const refused = await api.GET('/v1/fine_tuning/jobs/{id}', { params: { path: { id: 'none' } } });
  const code: string | null = refused.error!.error.code;
  // @ts-expect-error a page has a limit, not a size
  await api.GET('/v1/fine_tuning/jobs', { params: { query: { size: 1 } } });
  return { id: job.id, isSame: got.data!.id === job.id, status, ids, code };
}
`;

let api: TestApi;
let dir: string;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  mkdirSync(CACHE, { recursive: true });
  // Inside the checkout, so that the program finds openapi-fetch.
  dir = mkdtempSync(join(CACHE, 'generated-client-'));
});
afterAll(async () => {
  await api?.close();
  if (dir) rmSync(dir, { recursive: true });
});

it('compiles in strict mode, and uploads, submits, lists and gets errors', async () => {
  const document = await (await fetch(`${api.url}/docs-json`)).text();
  writeFileSync(join(dir, 'schema.ts'), astToString(await openapiTS(document)));
  writeFileSync(join(dir, 'program.ts'), PROGRAM);
  const config = {
    compilerOptions: {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      target: 'es2022',
      module: 'nodenext',
      lib: ['es2023', 'dom', 'dom.iterable'],
      types: [],
    },
    files: ['program.ts'],
  };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  const compiled = spawnSync(process.execPath, [TSC, '-p', dir], { encoding: 'utf8' });
  expect(compiled.stdout).toBe('');
  const { train } = (await import(pathToFileURL(join(dir, 'program.js')).href)) as {
    train: (url: string, key: string, lines: string) => Promise<object>;
  };
  const chat = {
    messages: [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'ho' },
    ],
  };
  const done = await train(api.url, api.apiKey, `${JSON.stringify(chat)}\n`);
  const id = expect.stringMatching(/^ftjob-/) as string;
  expect(done).toEqual({
    id,
    isSame: true,
    status: 'queued',
    ids: [id],
    code: 'fine_tune_not_found',
  });
});
