import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDeb } from './deb.js';
import { readTarGz } from './tar.js';
import { unzipEntry } from './zip-entry.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'graft-archive-'))));
afterAll(() => rmSync(folder, { recursive: true }));

describe('readTarGz', () => {
  it.each(['gnu', 'ustar', 'pax'])(
    'reads archives of tar in format %s, with long names and empty files',
    (format) => {
      const long = join('a'.repeat(90), 'b'.repeat(60), 'c.txt');
      mkdirSync(join(folder, format, 'a'.repeat(90), 'b'.repeat(60)), { recursive: true });
      writeFileSync(join(folder, format, long), 'long '.repeat(300));
      writeFileSync(join(folder, format, 'empty'), '');
      execFileSync('tar', [
        'czf',
        join(folder, `${format}.tgz`),
        `--format=${format}`,
        '-C',
        join(folder, format),
        'empty',
        long,
      ]);
      const entries = [...readTarGz(readFileSync(join(folder, `${format}.tgz`)))];
      expect(entries.map(({ name, data }) => [name, data.toString()])).toEqual([
        ['empty', ''],
        [long, 'long '.repeat(300)],
      ]);
    },
  );
});

describe('readDeb', () => {
  it('reads the files of a package from dpkg, and rejects other files', async () => {
    const root = join(folder, 'deb');
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    mkdirSync(join(root, 'usr/share/it'), { recursive: true });
    const control = ['Package: it', 'Version: 1', 'Architecture: all', 'Maintainer: x <x@x.x>'];
    writeFileSync(join(root, 'DEBIAN/control'), `${[...control, 'Description: it'].join('\n')}\n`);
    writeFileSync(join(root, 'usr/share/it/a'), 'a '.repeat(100_000));
    const path = join(folder, 'it.deb');
    execFileSync('dpkg-deb', ['-Zxz', '--root-owner-group', '-b', root, path]);
    const deb = readFileSync(path);
    const files = [...(await readDeb(deb))].map(({ name, data }) => [name, data.toString()]);
    expect(files).toEqual([['./usr/share/it/a', 'a '.repeat(100_000)]]);
    await expect(readDeb(deb.subarray(8))).rejects.toThrow('not a Debian package');
    await expect(readDeb(deb.subarray(0, deb.length - 100))).rejects.toThrow('truncated');
    await expect(readDeb(deb.subarray(0, 8))).rejects.toThrow('has no data.tar.xz');
  });
});

describe('unzipEntry', () => {
  it('unpacks stored and deflated entries, and reports a missing one', async () => {
    const zip = join(folder, 'x.zip');
    const text = Buffer.from('model bytes '.repeat(1000));
    writeFileSync(
      zip,
      zipOf([
        ['note.txt', Buffer.from('stored'), 0],
        ['deep/model.gguf', text, 8],
      ]),
    );
    await unzipEntry(zip, /\.gguf$/, join(folder, 'out'));
    expect(readFileSync(join(folder, 'out')).equals(text)).toBe(true);
    await unzipEntry(zip, /note/, join(folder, 'note'));
    expect(readFileSync(join(folder, 'note'), 'utf8')).toBe('stored');
    await expect(unzipEntry(zip, /\.bin$/, join(folder, 'none'))).rejects.toThrow(
      'has no file matching',
    );
    await expect(unzipEntry(join(folder, 'out'), /x/, join(folder, 'none'))).rejects.toThrow(
      'not a zip file',
    );
  });
});

function zipOf(files: readonly [name: string, data: Buffer, method: number][]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data, method] of files) {
    const packed = method === 8 ? deflateRawSync(data) : data;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(packed.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    locals.push(local, Buffer.from(name), packed);
    directory.push(central, Buffer.from(name));
    offset += 30 + name.length + packed.length;
  }
  const all = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(all.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, all, end]);
}
