import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Progress } from '../example.js';
import { fetchPinned, type Pinned } from './download.js';

const content = Buffer.alloc(300_000, 'as it is packed ');
let server: Server;
let answer: (response: ServerResponse) => void;
let requests: number;
let dir: string;
let path: string;
let notes: string[];
let progress: Progress;
let pinned: Pinned;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-download-'));
  path = join(dir, 'package.deb');
  [notes, requests] = [[], 0];
  progress = { draw: () => undefined, note: (text: string) => void notes.push(text) }; // prettier-ignore
  server = createServer((_, response) => {
    requests += 1;
    answer(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  pinned = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/package.deb`,
    algorithm: 'sha256',
    digest: createHash('sha256').update(content).digest('hex'),
    what: 'a package',
  };
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
  rmSync(dir, { recursive: true });
});

it('downloads a file once, and again if it was modified', async () => {
  answer = (response) => response.end(content);
  await fetchPinned(pinned, path, progress);
  await fetchPinned(pinned, path, progress);
  expect(requests).toBe(1);
  expect(notes).toEqual([expect.stringMatching(/^a package: .* downloaded, sha256 verified$/)]);
  writeFileSync(path, 'other bytes');
  await fetchPinned(pinned, path, progress);
  expect([requests, readFileSync(path).equals(content)]).toEqual([2, true]);
});

it('discards a file with another digest, and does not report it as verified', async () => {
  answer = (response) => response.end(content.subarray(1));
  await expect(fetchPinned(pinned, path, progress)).rejects.toThrow(
    new RegExp(`^a package from .* has sha256 .*, expected ${pinned.digest}; discarded$`),
  );
  expect([notes, readdirSync(dir)]).toEqual([[], []]);
});

it('reports which download was interrupted, and why', async () => {
  answer = (response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 100_000), () => response.destroy());
  };
  await expect(fetchPinned(pinned, path, progress)).rejects.toThrow(
    /^the download of a package from http.* was interrupted: (?!terminated)./,
  );
  expect([notes, readdirSync(dir)]).toEqual([[], []]);
});
