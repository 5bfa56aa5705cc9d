import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Settings } from '../config.js';
import { isPublic, networks } from './networks.js';
import { Outbound } from './outbound.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener, host = '127.0.0.1'): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

const outbound = (...outboundNetworks: string[]): Outbound =>
  new Outbound({ outboundNetworks } as unknown as Settings);
const get = (url: string) =>
  ({ url, method: 'GET', headers: {}, timeoutMs: 10_000, mostBytes: 1000 }) as const;

describe('an address', () => {
  it('is public if it is one host of the internet', () => {
    for (const address of ['8.8.8.8', '93.184.216.34', '2606:4700::1111', '::ffff:8.8.8.8'])
      expect([address, isPublic(address)]).toEqual([address, true]);
    for (const address of [
      ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.31.255.255'],
      ...['192.168.1.1', '198.18.0.1', '203.0.113.9', '224.0.0.1', '255.255.255.255', '192.0.2.1'],
      ...['::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:a00:1', '64:ff9b::a00:1'],
      ...['64:ff9b:1::1', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fdff::1', 'ff02::1', '100::1'],
      ...['2001::1', '2001:db8::1', '2002:a00:1::1', '3fff::1', 'nonsense'],
    ])
      expect([address, isPublic(address)]).toEqual([address, false]);
  });

  it('rejects malformed networks', () => {
    for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', 'example.com/8', '10.0.0.0/8/8'])
      expect(() => networks([text])).toThrow(`got ${text}`);
  });
});

describe('a request', () => {
  it('reaches only networks that the operator allows, by address and by name', async () => {
    let asked = 0;
    const port = await serve((request, response) => {
      asked++;
      response.end(`${request.method} ${request.headers.host}`);
    });
    const allowed = outbound('127.0.0.0/8', '::1/128');
    expect(await allowed.send(get(`http://127.0.0.1:${port}/`))).toEqual({
      status: 200,
      body: `GET 127.0.0.1:${port}`,
    });
    expect((await allowed.send(get(`http://localhost:${port}/`))).body).toBe(
      `GET localhost:${port}`,
    );
    expect(asked).toBe(2);
    for (const host of ['127.0.0.1', 'localhost', '127.1', '2130706433', '[::ffff:127.0.0.1]'])
      for (const protocol of ['http', 'https'])
        await expect(
          outbound('10.0.0.0/8').send(get(`${protocol}://${host}:${port}/`)),
        ).rejects.toThrow('is not an address of the public internet');
    await expect(outbound().send(get('http://93.184.216.34/'))).rejects.toThrow(
      'must begin with https://',
    );
    expect(asked).toBe(2);
  });

  it('does not follow redirects', async () => {
    const asked: string[] = [];
    const port = await serve((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(307, { location: '/there' }).end();
    });
    const { status } = await outbound('127.0.0.0/8').send(get(`http://127.0.0.1:${port}/here`));
    expect([status, asked]).toEqual([307, ['/here']]);
  });

  it('times out before or during a response', async () => {
    const silent = await serve(() => undefined);
    const trickling = await serve((_, response) => {
      response.write('a');
      const timer = setInterval(() => response.write('b'), 20);
      response.on('close', () => clearInterval(timer));
    });
    for (const port of [silent, trickling])
      await expect(
        outbound('127.0.0.0/8').send({
          ...get(`http://127.0.0.1:${port}/`),
          timeoutMs: 200,
          mostBytes: 1e9,
        }),
      ).rejects.toThrow('no response within 0.2 s');
  });

  it('reads a limited part of a response and closes an endless one', async () => {
    let closed = false;
    const port = await serve((_, response) => {
      const more = (): void => {
        while (response.write('x'.repeat(10_000)));
      };
      response.on('drain', more).on('close', () => (closed = true));
      more();
    });
    const { status, body } = await outbound('127.0.0.0/8').send(get(`http://127.0.0.1:${port}/`));
    expect([status, body]).toEqual([200, 'x'.repeat(1000)]);
    await expect.poll(() => closed).toBe(true);
  });

  it('reports why there is no response', async () => {
    await expect(outbound('127.0.0.0/8').send(get('http://127.0.0.1:1/'))).rejects.toThrow(
      'ECONNREFUSED',
    );
    await expect(outbound().send(get('https://nobody.invalid/'))).rejects.toThrow('nobody.invalid');
  });
});
