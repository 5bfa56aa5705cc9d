import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { startTestApi, until, type TestApi } from './fixture.js';

interface ModelView {
  readonly graft: {
    readonly status: string;
    readonly status_details: string | null;
    readonly family: string | null;
    readonly parameters: number;
    readonly bytes: number;
    readonly files: readonly { name: string; size: number; sha256: string }[];
  };
}

let api: TestApi;
let base: string;
let hub: Server;
let asked: string[] = [];
/** Promise that the hub awaits before it sends weights. */
let gate: Promise<void> = Promise.resolve();

/** Serves the hub's HTTP paths for one repository, as @huggingface/hub requests them. */
function serveHub(folder: string): Server {
  return createServer(async (req, res) => {
    const path = decodeURIComponent((req.url ?? '').split('?')[0] ?? '');
    asked.push(`${req.method} ${path}`);
    if (path === '/api/models/Org/Tiny/tree/main' || path === '/api/models/Org/Tiny/tree/main/') {
      const list = readdirSync(folder).map((name) => ({
        type: 'file',
        path: name,
        size: statSync(join(folder, name)).size,
        oid: name,
      }));
      res.setHeader('content-type', 'application/json').end(JSON.stringify(list));
      return;
    }
    const file = /^\/Org\/Tiny\/resolve\/main\/([\w.-]+)$/.exec(path)?.[1];
    if (!file) {
      res.statusCode = 404;
      res.end('{"error":"Repository not found"}');
      return;
    }
    if (file === 'model.safetensors') await gate;
    const content = readFileSync(join(folder, file));
    const range = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? '');
    res.setHeader('etag', `"${createHash('sha1').update(content).digest('hex')}"`);
    res.setHeader('accept-ranges', 'bytes');
    if (!range) {
      res
        .setHeader('content-length', content.length)
        .end(req.method === 'HEAD' ? undefined : content);
      return;
    }
    const from = Number(range[1]);
    const to = range[2] ? Math.min(Number(range[2]), content.length - 1) : content.length - 1;
    res.statusCode = 206;
    res.setHeader('content-range', `bytes ${from}-${to}/${content.length}`);
    res.end(content.subarray(from, to + 1));
  });
}

beforeAll(async () => {
  const scratch = join(process.env['TMPDIR'] ?? '/tmp', `graft-models-${process.pid}`);
  base = writeTinyBase(join(scratch, 'base'));
  writeFileSync(join(base, 'pytorch_model.bin'), 'a pickle that must not be downloaded');
  writeFileSync(join(base, 'modeling.py'), 'print("code")');
  hub = serveHub(base).listen(0, '127.0.0.1');
  await until(() => hub.listening);
  api = await startTestApi({ hubUrl: `http://127.0.0.1:${(hub.address() as AddressInfo).port}` });
});
afterAll(async () => {
  hub?.close();
  await api?.close();
});

async function imported(source: string, id?: string): Promise<ModelView> {
  const { id: made } = await api.post<{ id: string }>('/models', { source, ...(id ? { id } : {}) });
  let view: ModelView | undefined;
  await until(async () => {
    view = await api.get<ModelView>(`/models/${made}`);
    return view.graft.status !== 'importing';
  });
  return view as ModelView;
}

const content = (sha256: string): Buffer =>
  readFileSync(join(api.home, 'blobs', sha256.slice(0, 2), sha256));

describe('importing bases', () => {
  it("imports a folder: copies the model's files byte for byte, and no others", async () => {
    const { graft } = await imported(`dir:${base}`, 'from-dir');
    expect(graft).toMatchObject({ status: 'ready', family: 'llama', parameters: 24736 });
    const names = graft.files.map((file) => file.name).sort();
    expect(names).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    for (const file of graft.files)
      expect(content(file.sha256)).toEqual(readFileSync(join(base, file.name)));
  });

  it('imports a repository of the hub, and downloads no pickle and no code', async () => {
    asked = [];
    const { graft } = await imported('hub:Org/Tiny');
    expect(graft).toMatchObject({ status: 'ready', family: 'llama' });
    expect(graft.files.map((file) => file.sha256).sort()).toEqual(
      (await api.get<ModelView>('/models/from-dir')).graft.files.map((file) => file.sha256).sort(),
    );
    expect(asked.filter((path) => /\.(bin|py)$/.test(path))).toEqual([]);
    expect((await api.get<{ id: string }>('/models/Org/Tiny')).id).toBe('Org/Tiny');
  });

  it('reports why a model cannot be imported, and can be retried', async () => {
    expect((await imported('hub:Org/None')).graft).toMatchObject({
      status: 'error',
      status_details: expect.stringMatching(/^http:.* has no public repository Org\/None$/),
    });
    expect((await imported('dir:/nowhere/at/all')).graft.status_details).toContain(
      '/nowhere/at/all does not exist',
    );
    const bad = join(base, '..', 'bad');
    mkdirSync(bad, { recursive: true });
    copyFileSync(join(base, 'config.json'), join(bad, 'config.json'));
    writeFileSync(join(bad, 'model.safetensors'), Buffer.from([0x80, 0x02, 0x7d]));
    const first = await imported(`dir:${bad}`);
    expect(first.graft.status).toBe('error');
    copyFileSync(join(base, 'model.safetensors'), join(bad, 'model.safetensors'));
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      copyFileSync(join(base, name), join(bad, name));
    expect((await imported(`dir:${bad}`)).graft.status).toBe('ready');
  });

  it('rejects files without all tensors of the model, with a name', async () => {
    const deeper = join(base, '..', 'deeper');
    mkdirSync(deeper, { recursive: true });
    for (const name of readdirSync(base)) copyFileSync(join(base, name), join(deeper, name));
    const config = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as object;
    writeFileSync(join(deeper, 'config.json'), JSON.stringify({ ...config, num_hidden_layers: 3 }));
    expect((await imported(`dir:${deeper}`)).graft).toMatchObject({
      status: 'error',
      status_details:
        "the model's files have no model.layers.2.input_layernorm.weight; 8 more tensors are missing or of another shape",
    });
  });

  it('does not change a model that another process has imported first', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => (open = resolve));
    asked = [];
    await api.post('/models', { id: 'twice', source: 'hub:Org/Tiny' });
    await until(() => asked.some((path) => path.endsWith('/model.safetensors')));
    await api.query(`UPDATE model SET status = 'ready' WHERE id = 'twice'`);
    open();
    await until(() => readdirSync(join(api.home, 'blobs', 'incoming')).length === 0);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await api.get<ModelView>('/models/twice')).graft.status).toBe('ready');
  });

  it('reads the new source if the model was deleted and imported again', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => (open = resolve));
    asked = [];
    await api.post('/models', { id: 'anew', source: 'hub:Org/Tiny' });
    await until(() => asked.some((path) => path.endsWith('/model.safetensors')));
    await request(api.url).delete('/v1/models/anew').set(api.headers).expect(200);
    await api.post('/models', { id: 'anew', source: 'dir:/nowhere/at/all' });
    open();
    await until(
      async () => (await api.get<ModelView>('/models/anew')).graft.status !== 'importing',
    );
    expect((await api.get<ModelView>('/models/anew')).graft).toMatchObject({
      status: 'error',
      status_details: expect.stringContaining('/nowhere/at/all does not exist'),
    });
  });

  it("follows links to files, as in the hub's cache, and stores each blob once", async () => {
    const linked = join(base, '..', 'linked');
    mkdirSync(linked, { recursive: true });
    for (const name of [
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
      symlinkSync(join(base, name), join(linked, name));
    const before = (await api.query('SELECT 1 FROM blob')).length;
    expect((await imported(`dir:${linked}`)).graft.status).toBe('ready');
    expect((await api.query('SELECT 1 FROM blob')).length).toBe(before);
  });

  it('rejects invalid sources and names that are taken', async () => {
    for (const body of [
      { source: 'http://169.254.169.254/x' },
      { source: 'hub:../../etc' },
      { source: 'dir:' },
      { source: 'hub:a/b', id: '../x' },
      {},
    ]) {
      const answer = await request(api.url).post('/v1/models').set(api.headers).send(body);
      const failed =
        answer.status === 200
          ? (await imported((body as { source: string }).source)).graft.status
          : answer.body.error.type;
      expect(['invalid_request_error', 'error']).toContain(failed);
    }
    const taken = await request(api.url)
      .post('/v1/models')
      .set(api.headers)
      .send({ id: 'from-dir', source: 'hub:Org/Tiny' });
    expect(taken.body.error).toMatchObject({ code: 'conflict', param: 'id' });
    expect(taken.headers['x-should-retry']).toBe('false');
  });

  it('deletes a base and the blobs that nothing else references', async () => {
    const { graft } = await api.get<ModelView>('/models/from-dir');
    const [weights] = graft.files.filter((file) => file.name === 'model.safetensors');
    const remove = (id: string) =>
      request(api.url).delete(`/v1/models/${id}`).set(api.headers).expect(200);
    await remove('from-dir');
    expect(content(weights?.sha256 ?? '').length).toBe(weights?.size);
    for (const { id } of (await api.get<{ data: { id: string }[] }>('/models')).data)
      await remove(id);
    expect(() => content(weights?.sha256 ?? '')).toThrow();
    expect(await api.query('SELECT 1 FROM blob')).toEqual([]);
  });
});
