import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../../../../test/certificates.js';
import { serverSecurity } from './security.js';

let folder: string;
let files: { cert: string; key: string };
let others: { cert: string; key: string };
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-gateway-'));
  const authority = new Authority(folder, 'ca');
  files = authority.issue('DNS:localhost');
  others = authority.issue('DNS:other');
});
afterAll(() => rmSync(folder, { recursive: true }));

const security = (config: object) => serverSecurity({ home: folder, ...config });

describe("the gateway's security", () => {
  it.each([undefined, '127.0.0.1', '127.1.2.3', '::1', 'localhost'])(
    'needs no TLS on %s, which other hosts cannot reach',
    (grpcHost) => expect(security(grpcHost === undefined ? {} : { grpcHost }).tls).toBe(false),
  );

  it.each(['0.0.0.0', '::', '10.0.0.5', 'api.internal', '127.example.org'])(
    'rejects %s without TLS unless --insecure-grpc is set',
    (grpcHost) => {
      expect(() => security({ grpcHost })).toThrow(`would listen on ${grpcHost} without TLS`);
      expect(() => security({ grpcHost })).toThrow('--insecure-grpc');
      expect(security({ grpcHost, insecureGrpc: true }).tls).toBe(false);
      const tls = { grpcTlsCert: files.cert, grpcTlsKey: files.key };
      expect(security({ grpcHost, ...tls }).tls).toBe(true);
    },
  );

  it('rejects an enabled scaler that other hosts can reach without TLS', () => {
    const scalerHost = '0.0.0.0';
    expect(() => security({ scalerHost, scalerPort: 8083 })).toThrow(
      'scaler for KEDA would listen',
    );
    expect(security({ scalerHost }).tls).toBe(false);
    expect(security({ scalerHost, scalerPort: 8083, insecureGrpc: true }).tls).toBe(false);
  });

  it('rejects a relay that other hosts can reach without TLS', () => {
    const relayHost = '10.0.0.5';
    expect(() => security({ relayHost })).toThrow(`relay between API processes would listen on`);
    expect(security({ relayHost, insecureGrpc: true }).certificate).toBeNull();
    const tls = security({ relayHost, grpcTlsCert: files.cert, grpcTlsKey: files.key });
    expect(tls.certificate).toMatch(/^-----BEGIN CERTIFICATE-----/);
  });

  it("does not depend on REST's address, which the gateway does not listen on", () => {
    expect(security({ host: '0.0.0.0' }).tls).toBe(false);
  });

  it('names the file that is missing or invalid, for any address', () => {
    const refused = (grpcTlsCert: string | undefined, grpcTlsKey: string | undefined) =>
      expect(() => security({ grpcTlsCert, grpcTlsKey, insecureGrpc: true }));
    refused(files.cert, undefined).toThrow('--grpc-tls-key is missing');
    refused(undefined, files.key).toThrow('--grpc-tls-cert is missing');
    refused(join(folder, 'no.pem'), files.key).toThrow('--grpc-tls-cert cannot be read: ENOENT');
    refused(files.cert, join(folder, 'no.key')).toThrow('--grpc-tls-key cannot be read: ENOENT');
    refused(files.cert, others.key).toThrow('not a PEM certificate and its private key');
    refused(files.key, files.key).toThrow('not a PEM certificate and its private key');
  });
});
