import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Authority } from '../../../../test/certificates.js';
import { readSettings } from './settings.js';

const flags = (...more: string[]) => ['--url', 'grpc://127.0.0.1:7443', '--token', 't', ...more];

describe('settings', () => {
  it('come from flags, then from the environment', () => {
    const settings = readSettings(flags('--pool', 'gpu', '--slots', '3'), {
      GRAFT_WORKER_POOL: 'cpu',
      GRAFT_WORKER_NAME: 'n1',
    });
    expect(settings).toMatchObject({
      address: '127.0.0.1:7443',
      tls: false,
      token: 't',
      pool: 'gpu',
      slots: 3,
      name: 'n1',
    });
    expect(
      readSettings([], {
        GRAFT_WORKER_URL: 'grpcs://api.example.org:443/',
        GRAFT_WORKER_TOKEN: 's',
      }),
    ).toMatchObject({
      address: 'api.example.org:443',
      tls: true,
    });
  });

  it('accept several gateways in one URL', () => {
    expect(
      readSettings(flags('--url', 'grpcs://a.example.org:443,[::1]:444,b:445'), {}),
    ).toMatchObject({ address: 'a.example.org:443,[::1]:444,b:445', tls: true });
    for (const url of ['grpc://a:1,', 'grpc://a:1,b', 'grpc://,a:1', 'grpc://a:1, b:2'])
      expect(() => readSettings(flags('--url', url), {})).toThrow('not a worker gateway URL');
  });

  it('read the token from a file, so that it does not appear in process lists', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'graft-token-')), 'token');
    writeFileSync(path, 'from-file\n');
    expect(readSettings(['--url', 'grpc://h:1', '--token-file', path], {})?.token).toBe(
      'from-file',
    );
    const env = { GRAFT_WORKER_TOKEN_FILE: path };
    expect(readSettings(['--url', 'grpc://h:1'], env)?.token).toBe('from-file');
    expect(readSettings(flags(), env)?.token).toBe('t');
    expect(() => readSettings(['--url', 'grpc://h:1', '--token-file', `${path}x`], {})).toThrow(
      '--token-file cannot be read',
    );
  });

  it('read the certificates to trust from a file, for TLS only', () => {
    const folder = mkdtempSync(join(tmpdir(), 'graft-ca-'));
    const { cert, key } = new Authority(folder, 'ca').issue('DNS:h');
    const pem = readFileSync(cert, 'utf8');
    const tls = ['--url', 'grpcs://h:1', '--token', 't'];
    expect(readSettings(tls, {})?.ca).toBeNull();
    expect(readSettings([...tls, '--ca-file', cert], {})?.ca).toBe(pem);
    expect(readSettings(tls, { GRAFT_WORKER_CA_FILE: cert })?.ca).toBe(pem);
    const refused = (args: string[]) => expect(() => readSettings(args, {}));
    refused(flags('--ca-file', cert)).toThrow('--url that starts with grpcs://');
    refused([...tls, '--ca-file', `${cert}x`]).toThrow('--ca-file cannot be read');
    refused([...tls, '--ca-file', key]).toThrow('contains no PEM certificate');
  });

  it.each([
    ['auto', 'auto'],
    ['cpu', ['cpu']],
    ['cuda:1', ['cuda:1']],
    ['cuda:0, cuda:1,cuda:0', ['cuda:0', 'cuda:1']],
  ])('accept the device %s', (device, expected) => {
    expect(readSettings(flags('--device', device), {})?.device).toEqual(expected);
    expect(readSettings(flags(), { GRAFT_DEVICE: device })?.device).toEqual(expected);
  });

  it.each(['gpu', 'cuda', 'cuda:x', 'cuda:01', 'cpu,cuda:0'])('reject the device %s', (device) => {
    expect(() => readSettings(flags('--device', device), {})).toThrow(
      `--device must be auto, cpu or cuda:N, or several as cuda:0,cuda:1 (got ${device})`,
    );
  });

  it.each([
    [['--token', 't'], '--url (or GRAFT_WORKER_URL) is missing'],
    [['--url', 'grpc://h:1'], '--token (or GRAFT_WORKER_TOKEN) is missing'],
    [['--url', 'http://127.0.0.1:3000', '--token', 't'], 'is not a worker gateway URL'],
    [['--url', 'grpc://127.0.0.1', '--token', 't'], 'is not a worker gateway URL'],
    [flags('--slots', '0'), '--slots must be a number ≥ 1 (got 0)'],
    [flags('--slots', 'many'), '--slots must be a number'],
    [
      flags('--pool', 'No Spaces'),
      '--pool must consist of lower-case letters, digits and "-" (got No Spaces)',
    ],
    [flags('--colour', 'red'), "Unknown option '--colour'"],
  ])('reject %j', (args, message) => {
    expect(() => readSettings(args, {})).toThrow(message);
  });

  it('are null for --help', () => {
    expect(readSettings(['--help'], {})).toBeNull();
  });
});
