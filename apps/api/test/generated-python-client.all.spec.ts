// A Python client that openapi-python-client generates from the served OpenAPI document: nothing is left out, every
// module can be imported, and it calls a real server. Skipped with a message without Python or the package registry.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWith } from '../../../test/python.js';
import { chats, importBase, startTestApi, type TestApi } from './fixture.js';

const VERSION = '0.29.1';
// The generator formats its output with ruff, and warns if it does not find it in PATH.
const python = pythonWith(`openapi-python-client-${VERSION}`, [
  `openapi-python-client==${VERSION}`,
  'ruff==0.17.6',
]);
const run = promisify(execFile);

describe.skipIf(python === null)('a client of openapi-python-client', () => {
  let api: TestApi;
  let dir: string;
  beforeAll(async () => {
    api = await startTestApi();
    await importBase(api);
    dir = mkdtempSync(join(tmpdir(), 'graft-generated-python-'));
  });
  afterAll(async () => {
    await api?.close();
    if (dir) rmSync(dir, { recursive: true });
  });

  it('has every schema and operation, and uploads, submits, lists and gets errors', async () => {
    const bin = dirname(python!);
    const env = { PATH: `${bin}:${process.env['PATH']}`, NO_COLOR: '1' };
    const made = await run(
      python!,
      [
        ...['-m', 'openapi_python_client', 'generate', '--url', `${api.url}/docs-json`],
        // Fails on a warning, such as a schema that the generator leaves out.
        ...['--fail-on-warning', '--meta', 'none', '--output-path', join(dir, 'graft_client')],
      ],
      { env },
    );
    expect(made.stdout.trim()).toMatch(/^Generating .*graft_client$/s);
    const script = join(import.meta.dirname, 'generated_client.py');
    const { stdout } = await run(python!, [script, dir, chats(12)], {
      env: { ...env, GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey },
    });
    expect(JSON.parse(stdout)).toEqual({
      modules: true,
      alive: 'ok',
      same_bytes: true,
      status: 'queued',
      same_job: true,
      listed: [true],
      models: ['tiny'],
      missing: [
        [true, 'fine_tune_not_found'],
        [true, 'model_not_found'],
        [true, 'not_found'],
      ],
    });
  });
});
