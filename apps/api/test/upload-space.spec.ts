// Space on the disk of the blobs while several uploads write to it: announced sizes must not block others.
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Assignment } from '@graft/contracts/grpc';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../test/small-disk.js';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { makeProject, type TestProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

if (!canMount) console.warn('skipped: only root can mount the small disk that these tests fill');

const MB = 1024 * 1024;
const DISK_MB = 64;
const DISK_FULL = "the server's disk does not have enough free space; try again later";
const FEW_BYTES = 120_000;

/** Records of half a megabyte each. */
const records = (count: number): string =>
  Array.from({ length: count }, () => {
    const content = randomBytes(MB / 4).toString('hex');
    const messages = [
      { role: 'user', content },
      { role: 'assistant', content: '!' },
    ];
    return `${JSON.stringify({ messages })}\n`;
  }).join('');

describe.skipIf(!canMount)('on a disk of 64 MB, an upload', () => {
  let api: TestApi;
  let disk: SmallDisk;
  let theirs: TestProject;
  let worker: ScriptedWorker;
  let lease: Assignment;
  const sockets: Socket[] = [];

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: 60_000 });
    disk = SmallDisk.mountOverBlobs(join(api.home, 'blobs'), DISK_MB);
    await importBase(api);
    theirs = await makeProject(api, 'theirs');
    await api.post('/fine_tuning/jobs', { model: 'tiny', training_file: await uploadChats(api) });
    worker = await new ScriptedWorker(api).connect();
    lease = await worker.nextAssignment();
    worker.keep(lease);
  });
  afterEach(async () => {
    disk.empty();
    for (const socket of sockets.splice(0)) socket.destroy();
    await until(() => incoming().length === 0);
  });
  afterAll(async () => {
    worker?.vanish();
    disk?.unmount();
    await api?.close();
  });

  const folder = (): string => join(disk.path, 'incoming');
  const incoming = (): string[] => readdirSync(folder());
  const arriving = (): string[] =>
    incoming().filter((name) => statSync(join(folder(), name)).size > 0);

  /** Announces bytes for the other project, sends few of them, and stays connected. */
  function announce(announced: number): { socket: Socket; answer: Promise<string> } {
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    const answer = new Promise<string>((resolve) =>
      socket.once('data', (data: Buffer) => resolve(data.toString())),
    );
    socket.write(
      `POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${theirs.member.key}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: ${announced}\r\n\r\n` +
        `--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"text":"${'x'.repeat(FEW_BYTES)}"}\n`,
    );
    return { socket, answer };
  }

  const mine = (text: string): Promise<{ id: string }> =>
    api.client.files.create({ file: new File([text], 'a.jsonl'), purpose: 'fine-tune' });

  async function othersCanWrite(): Promise<void> {
    const { id } = await mine(records(6));
    await worker.put(lease, 'state', randomBytes(1.5 * MB).toString('hex'));
    await api.client.files.delete(id);
  }

  it('that announces all free space but sends little does not block others', async () => {
    announce(disk.free - 4 * MB);
    await until(() => arriving().length === 1);
    await othersCanWrite();
  });

  it('that hits a full disk fails with 507, and leaves no file', async () => {
    const { socket, answer } = announce(30 * MB);
    await until(() => arriving().length === 1);
    disk.fill();
    socket.write(records(40));
    expect(await answer).toMatch(/^HTTP\/1.1 507 .*"disk_full"/s);
    await until(() => incoming().length === 0);
  });

  it('of a project with many open uploads does not block other projects', async () => {
    // Four slices are the whole disk.
    for (let n = 0; n < 4; n++) announce(40 * MB);
    await until(() => arriving().length === 4);
    await othersCanWrite();
  });

  it('leaves space for checkpoints of workers, and its error does not reveal the free space', async () => {
    disk.fill(2.5 * MB);
    expect(await caught(mine(records(1)))).toMatchObject({
      status: 507,
      code: 'disk_full',
      error: { message: DISK_FULL },
    });
    await worker.put(lease, 'state', randomBytes(MB / 4).toString('hex'));
    disk.fill(MB);
    await expect(
      worker.put(lease, 'state', randomBytes(MB / 4).toString('hex')),
    ).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: DISK_FULL });
  });
});
