import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSettings } from '../config/settings.js';
import { choosePort } from './port.js';

let home: string;
const servers: Server[] = [];
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'graft-port-'))));
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(home, { recursive: true });
});

async function used(host = '127.0.0.1'): Promise<number> {
  const server = createServer().listen(0, host);
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function free(): Promise<number> {
  const port = await used();
  const server = servers.pop()!;
  server.close();
  await once(server, 'close');
  return port;
}

const lastTime = (url: number, grpcUrl: number): void =>
  writeFileSync(
    join(home, 'credentials.json'),
    JSON.stringify({
      url: `http://127.0.0.1:${url}/v1`,
      api_key: 'k',
      grpc_url: `grpc://127.0.0.1:${grpcUrl}`,
    }),
  );

function choose(
  key: 'port' | 'grpc-port',
  flags: Record<string, string> = {},
): Promise<[number, string[]]> {
  const messages: string[] = [];
  const settings = readSettings({ home, ...flags }, {});
  return choosePort(settings, key, (text) => messages.push(text)).then((port) => [port, messages]);
}

describe.each(['port', 'grpc-port'] as const)('choosePort of --%s', (key) => {
  it('uses the requested port, or fails if it is in use', async () => {
    const port = await free();
    expect(await choose(key, { [key]: String(port) })).toEqual([port, []]);
    await expect(choose(key, { [key]: String(await used()) })).rejects.toThrow(
      `is already in use; choose another one with --${key}`,
    );
    await expect(choose(key, { [key]: '70000' })).rejects.toThrow('"70000" is not a valid port');
  });

  it('uses the port of the last start', async () => {
    const [rest, grpc] = [await free(), await free()];
    lastTime(rest, grpc);
    expect(await choose(key)).toEqual([key === 'port' ? rest : grpc, []]);
  });

  it('uses a free port and reports it if that one is in use', async () => {
    const port = await used();
    lastTime(port, port);
    const [chosen, messages] = await choose(key);
    expect(chosen).toBe(0);
    expect(messages).toEqual([expect.stringContaining(`port ${port}`)]);
    expect(messages[0]).toContain('is already in use');
    expect(messages[0]).toContain(`--${key}`);
  });

  it('checks the address that the server listens on', async () => {
    const port = await used('127.0.0.2');
    const host = key === 'port' ? 'host' : 'grpc-host';
    lastTime(port, port);
    expect((await choose(key))[0]).toBe(port);
    expect((await choose(key, { [host]: '127.0.0.2' }))[0]).toBe(0);
  });
});

it('defaults to 8080 and 8081 if credentials.json has no address for workers', async () => {
  writeFileSync(
    join(home, 'credentials.json'),
    JSON.stringify({ url: 'http://127.0.0.1:1/v1', api_key: 'k' }),
  );
  const [port, messages] = await choose('grpc-port');
  expect(port === 8081 || messages[0]?.includes('port 8081')).toBe(true);
  rmSync(join(home, 'credentials.json'));
  const [rest, also] = await choose('port');
  expect(rest === 8080 || also[0]?.includes('port 8080')).toBe(true);
});
