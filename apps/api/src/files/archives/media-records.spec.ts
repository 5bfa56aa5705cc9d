import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_MEDIA_BYTES } from '@graft/contracts';
import { afterAll, describe, expect, it } from 'vitest';
import { deflatedZip } from '../../../test/deflated-zip.js';
import { dataUrl, png, tar, wav } from '../../../test/media.js';
import { MediaRecords } from './media-records.js';

const scratch = mkdtempSync(join(tmpdir(), 'graft-archives-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const [red, green, blue] = [png([255, 0, 0]), png([0, 255, 0]), png([0, 0, 255])];
const image = (content: Buffer) => dataUrl('image/png', content);
const zip = (files: Readonly<Record<string, Buffer | string>>) =>
  deflatedZip(Object.fromEntries(Object.entries(files).map(([k, v]) => [k, Buffer.from(v)])));

async function recordsOf(container: 'tar' | 'zip', archive: Buffer) {
  const path = join(scratch, 'archive');
  writeFileSync(path, archive);
  const reading = new MediaRecords(container, path);
  const records: object[] = [];
  for await (const record of reading.read()) records.push(record);
  return { records, layout: reading.layout, notes: reading.notes };
}
const ofZip = (files: Readonly<Record<string, Buffer | string>>) => recordsOf('zip', zip(files));
const refusal = (files: Readonly<Record<string, Buffer | string>>) =>
  ofZip(files).then(
    () => 'taken',
    (error: Error) => error.message,
  );

describe('one folder per class', () => {
  const pets = {
    'pets/README.md': 'about',
    'pets/.DS_Store': 'x',
    '__MACOSX/pets/._a.png': 'x',
    'pets/dog/b.png': green,
    'pets/cat/z.jpg': blue,
    'pets/cat/a.png': red,
  };

  it('is read in the order of names, with the types of images detected from their bytes', async () => {
    expect(await ofZip(pets)).toEqual({
      records: [
        { image: image(red), label: 'cat' },
        { image: image(blue), label: 'cat' },
        { image: image(green), label: 'dog' },
      ],
      layout: 'imagefolder',
      notes: [
        '3 files were skipped because they are not images or audio: pets/README.md, pets/.DS_Store, __MACOSX/pets/._a.png.',
      ],
    });
  });

  it('gives the same records from a tar, whatever its order', async () => {
    const files = Object.entries(pets).reverse();
    const folders = ['pets/', 'pets/cat/'].map(
      (name) => [name, '', { type: 'directory' }] as const,
    );
    const { records } = await recordsOf('tar', await tar([...folders, ...files]));
    expect(records).toEqual((await ofZip(pets)).records);
  });

  it('uses the training split if there are several', async () => {
    const { records, notes } = await ofZip({
      'd/test/cat/1.png': green,
      'd/train/cat/1.png': red,
      'd/train/dog/1.png': blue,
    });
    expect(records).toEqual([
      { image: image(red), label: 'cat' },
      { image: image(blue), label: 'dog' },
    ]);
    expect(notes).toEqual([
      'The archive has several splits; train was used. You can upload test as a validation file.',
    ]);
    const classes = await ofZip({ 'train/1.png': red, 'plane/1.png': blue });
    expect(classes.records).toEqual([
      { image: image(blue), label: 'plane' },
      { image: image(red), label: 'train' },
    ]);
    expect(await refusal({ 'val/a/1.png': red, 'test/a/1.png': blue })).toBe(
      'it has several splits (test, val) but none named train; upload only one of them',
    );
  });

  it('is rejected if a file is outside or nested deeper, or if there is no class', async () => {
    expect(await refusal({ 'a/1.png': red, 'b/c/2.png': green, '3.png': blue })).toBe(
      'b/c/2.png: it is nested deeper than one folder per class, which requires metadata; 3.png: it is not in the folder of a class',
    );
    const none = /^its files have no labels or texts: expected one folder per class, or a metadata/;
    expect(await refusal({ '1.png': red })).toMatch(none);
    expect(await refusal({ 'train/1.png': red, 'train/2.png': blue })).toMatch(none);
    expect(await refusal({ 'a.txt': 'a' })).toMatch(/^it has no images or audio/);
  });
});

describe('metadata', () => {
  it('in CSV determines the order of files and may have columns that are ignored', async () => {
    const made = await ofZip({
      'd/metadata.csv': 'file_name,width,label\nimg/b.png,4,dog\nimg/a.png,4,"cat, small"\n',
      'd/img/a.png': red,
      'd/img/b.png': blue,
    });
    expect(made.records).toEqual([
      { image: image(blue), label: 'dog' },
      { image: image(red), label: 'cat, small' },
    ]);
    expect(made.notes).toEqual(['Training ignores these metadata columns: width.']);
  });

  it('gives lists of labels, and texts of audio', async () => {
    const listed = await ofZip({
      'metadata.csv': 'file_name;labels\na.png;"[""x"",""y""]"\nb.png;[]\n',
      'a.png': red,
      'b.png': blue,
    });
    expect(listed.records).toEqual([
      { image: image(red), labels: ['x', 'y'] },
      { image: image(blue), labels: [] },
    ]);
    const said = await ofZip({
      'train/metadata.jsonl': '{"file_name":"a.bin","text":"yes","label":null}\n',
      'train/a.bin': wav(440),
      'test/metadata.jsonl': '{"file_name":"b.wav","text":"no"}\n',
      'test/b.wav': wav(220),
      'train/c.wav': '',
    }).catch((error: Error) => error.message);
    expect(said).toBe('train/c.wav: no row of the metadata lists it');
  });

  it('at the root may describe several splits', async () => {
    const made = await ofZip({
      'metadata.jsonl': ['train/a.wav', 'test/b.wav']
        .map((file_name) => JSON.stringify({ file_name, text: file_name }))
        .join('\n'),
      'train/a.wav': wav(440),
      'test/b.wav': wav(220),
    });
    expect(made).toMatchObject({
      layout: 'audiofolder',
      records: [{ audio: dataUrl('audio/wav', wav(440)), text: 'train/a.wav' }],
    });
  });

  it('combines images into pairs and triplets, each in any number of rows', async () => {
    const files = { 'img/a.png': red, 'img/b.png': green, 'img/c.png': blue };
    const row = (anchor: string, positive: string, more: object = {}) =>
      JSON.stringify({ anchor_file_name: anchor, positive_file_name: positive, ...more });
    const [a, b, c] = [image(red), image(green), image(blue)];
    const made = await ofZip({
      'metadata.jsonl': [
        row('img/a.png', 'img/b.png', { negative_file_name: 'img/c.png', who: 'x' }),
        row('img/b.png', 'img/a.png', { negative_file_name: null, label: 1 }),
      ].join('\n'),
      ...files,
    });
    expect(made.records).toEqual([
      { anchor: a, positive: b, negative: c },
      { anchor: b, positive: a },
    ]);
    expect(made.layout).toBe('imagefolder');
    expect(made.notes).toEqual(['Training ignores these metadata columns: who, label.']);
    const table = await ofZip({
      'img/metadata.csv': 'positive_file_name,anchor_file_name\nb.png,a.png\nc.png,a.png\n',
      ...files,
    });
    expect(table.records).toEqual([
      { anchor: a, positive: b },
      { anchor: a, positive: c },
    ]);
  });

  it('of pairs and triplets is rejected row by row', async () => {
    const row = (names: Record<string, unknown>) =>
      JSON.stringify(
        Object.fromEntries(Object.entries(names).map(([key, name]) => [`${key}_file_name`, name])),
      );
    const rows = [
      row({ anchor: 'train/a.png' }),
      row({ anchor: 'train/a.png', positive: ['train/b.png'] }),
      row({ anchor: 'train/a.png', positive: 'train/none.png' }),
      row({ anchor: 'train/a.png', positive: 'train/b.png', negative: '../c.png' }),
      row({ anchor: 'train/a.png', positive: 'test/c.png' }),
      JSON.stringify({ file_name: 'train/a.png', anchor_file_name: 'train/b.png', label: 'x' }),
      row({ first: 'train/a.png', second: 'train/b.png' }),
      JSON.stringify({ file_names: ['train/a.png'] }),
    ];
    const files = { 'train/a.png': red, 'train/b.png': green, 'test/c.png': blue };
    const expected =
      'expected "file_name", or "anchor_file_name", "positive_file_name" and, for triplets, "negative_file_name"';
    expect(await refusal({ 'metadata.jsonl': rows.join('\n'), ...files })).toBe(
      [
        'line 1: "positive_file_name" is missing',
        'line 2: "positive_file_name" must be the name of a file',
        'line 3: positive_file_name "train/none.png" is not in the archive',
        'line 4: negative_file_name "../c.png": its name leaves the folder',
        'line 5: its files are in several splits',
        `line 6: "file_name" and "anchor_file_name" cannot be combined: ${expected}`,
        `line 7: "first_file_name" is not a supported column for file names: ${expected}`,
        `line 8: "file_names" is not a supported column for file names: ${expected}`,
      ]
        .map((sentence) => `metadata.jsonl: ${sentence}`)
        .join('; '),
    );
  });

  it('that lists an image so often that the records become too large is rejected', async () => {
    const noise = Buffer.concat([red, Buffer.alloc(10 * 2 ** 20)]);
    const row = JSON.stringify({ anchor_file_name: 'a.png', positive_file_name: 'b.png' });
    const files = { 'metadata.jsonl': `${row}\n`.repeat(20), 'a.png': noise, 'b.png': red };
    expect(await refusal(files)).toMatch(/bytes unpack to more than the limit of 67,108,864/);
  });

  it('is rejected row by row', async () => {
    const rows = ['a.png,x', 'b.png,x', '../c.png,x', 'a.png,x', 'd.png,', 'e.png,x,y', ',x', ',y'];
    expect(
      await refusal({
        'm/metadata.csv': ['file_name,label', ...rows].join('\n'),
        'm/metadata.parquet': 'PAR1',
        'm/a.png': red,
        'm/e.png': green,
      }),
    ).toBe(
      [
        'm/metadata.parquet: metadata must be CSV or JSON Lines; convert it to one of these',
        'm/metadata.csv: row 3: file_name "b.png" is not in the archive',
        'm/metadata.csv: row 4: file_name "../c.png": its name leaves the folder',
        'm/metadata.csv: row 5: file_name "a.png" is already listed in an earlier row',
        'm/metadata.csv: row 6: "label", "labels" or "text" is missing',
        'm/metadata.csv: row 7: the header has 2 columns, this row has 3',
        'm/metadata.csv: rows 8, 9: "file_name" is missing',
      ].join('; '),
    );
    expect(await refusal({ 'metadata.jsonl': '{"a":\n{}', 'a.png': red })).toMatch(
      /^metadata.jsonl: line 1: not valid JSON.*; metadata.jsonl: line 2: "file_name" is missing$/,
    );
  });
});

describe('a malicious archive', () => {
  it('is rejected for names that leave its folder or occur twice', async () => {
    const bad = ['../a.png', '/etc/a.png', 'C:\\a.png', 'x/../../a.png'];
    const files = Object.fromEntries([...bad, 'cat/1.png', 'CAT/1.png'].map((n) => [n, red]));
    expect(await refusal(files)).toBe(
      [
        '../a.png: its name leaves the folder',
        '/etc/a.png: its name is absolute',
        'C:/a.png: its name is absolute',
        'x/../../a.png: its name leaves the folder',
        'CAT/1.png: its name differs from another only in case',
      ].join('; '),
    );
    const twice = await tar([
      ['a/1.png', red],
      ['b/2.png', blue],
      ['a/./1.png', green],
      ['b/\u0007.png', green],
    ]);
    await expect(recordsOf('tar', twice)).rejects.toThrow(
      'a/./1.png: it occurs twice; b/\ufffd.png: its name has control characters',
    );
  });

  it('is rejected for links and devices', async () => {
    const archive = await tar([
      ['a/1.png', red],
      ['a/2.png', '', { type: 'symlink', linkname: '/etc/passwd' }],
      ['b/3.png', '', { type: 'link', linkname: 'a/1.png' }],
      ['b/4.png', '', { type: 'character-device' }],
    ]);
    await expect(recordsOf('tar', archive)).rejects.toThrow(
      'a/2.png: it is a link; b/3.png: it is a link; b/4.png: it is a device',
    );
    const link = zip({ 'a/1.png': red, 'b/2.png': '/etc/passwd' });
    const at = link.lastIndexOf('PK\x01\x02');
    link.writeUInt32LE((0o120777 << 16) >>> 0, at + 38);
    await expect(recordsOf('zip', link)).rejects.toThrow('b/2.png: it is a link');
  });

  it('is rejected for files that are encrypted, compressed by other methods, damaged or truncated', async () => {
    const files = { 'a/1.png': red, 'b/2.png': blue };
    const broken = async (change: (archive: Buffer, at: number) => void) => {
      const archive = zip(files);
      change(archive, archive.lastIndexOf('PK\x01\x02'));
      return recordsOf('zip', archive).catch((error: Error) => error.message);
    };
    expect(await broken((zip, at) => zip.writeUInt16LE(1, at + 8))).toBe(
      'b/2.png: it is encrypted',
    );
    expect(await broken((zip, at) => zip.writeUInt16LE(14, at + 10))).toMatch(
      /^b\/2\.png: it is compressed with method 14; expected deflate/,
    );
    expect(await broken((zip, at) => zip.writeUInt32LE(1, at + 16))).toBe(
      'b/2.png: it cannot be unpacked: its checksum is wrong',
    );
    expect(await broken((zip, at) => zip.writeUInt32LE(9, at + 24))).toMatch(
      /^b\/2\.png: it cannot be unpacked: /,
    );
    const whole = await tar(Object.entries(files));
    await expect(recordsOf('tar', whole.subarray(0, 700))).rejects.toThrow(/Unexpected end/);
    await expect(recordsOf('zip', zip(files).subarray(0, 200))).rejects.toThrow(/end of central/i);
  });

  it('is rejected for files that are too large or not images', async () => {
    const big = Buffer.concat([red, Buffer.alloc(MAX_MEDIA_BYTES)]);
    expect(
      await refusal({ 'a/1.png': big, 'a/2.png': 'text', 'b/3.jpg': 'BM', 'b/4.wav': '' }),
    ).toBe(
      [
        `a/1.png: it has ${big.length.toLocaleString('en')} bytes; the limit is 11,534,336`,
        'a/2.png: it is not a known image (JPEG, PNG, GIF, WebP, TIFF) or audio format (WAV, FLAC)',
        'b/3.jpg: it is a BMP image; convert it to PNG or JPEG',
        'b/4.wav: it is empty',
      ].join('; '),
    );
    expect(await refusal({ 'a/1.png': red, 'b/2.wav': wav(440) })).toBe(
      'b/2.wav: it is an audio file, but the files before it are images',
    );
    const zeros = Buffer.alloc(80 * 2 ** 20);
    expect(await refusal({ 'a/1.png': zeros, 'b/2.png': red })).toMatch(
      /bytes unpack to more than the limit of 67,108,864/,
    );
  });

  it('is rejected for images and audio that cannot be decoded', async () => {
    const broken = Buffer.from(green);
    broken.writeUInt8(0xff, broken.indexOf('IDAT') + 6);
    const bad = {
      'a/1.png': red,
      'b/2.png': broken,
      'b/3.jpg': '\xff\xd8\xff\xe0',
      'b/4.png': blue,
    };
    const latin = Object.fromEntries(
      Object.entries(bad).map(([name, content]) => [
        name,
        Buffer.from(content as string, 'latin1'),
      ]),
    );
    expect(await refusal(latin)).toMatch(
      /^b\/2\.png: the image cannot be decoded: .+; b\/3\.jpg: the image cannot be decoded: /,
    );
    expect(await refusal({ 'a/1.wav': wav(440), 'b/2.wav': wav(220).subarray(0, 40) })).toMatch(
      /^b\/2\.wav: the audio cannot be decoded: /,
    );
    const large = png([1, 2, 3], 1);
    large.writeUInt32BE(60_000, large.indexOf('IHDR') + 4);
    large.writeUInt32BE(60_000, large.indexOf('IHDR') + 8);
    expect(await refusal({ 'a/1.png': red, 'b/2.png': large })).toMatch(/^b\/2\.png: the image /);
  });

  it('lists twenty problems and counts the rest', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 25 }, (_, n) => [`../${String(n).padStart(2, '0')}.png`, red]),
    );
    const said = await refusal(files);
    expect(said).toMatch(
      /^\.\.\/00\.png: .*; \.\.\/19\.png: its name leaves the folder; and 5 more$/,
    );
  });

  it('of random bytes gives records or an error', async () => {
    const files = {
      'metadata.csv': 'file_name,label\na.png,x\nb.png,y\n',
      'a.png': red,
      'b.png': blue,
    };
    const whole = { zip: zip(files), tar: await tar(Object.entries(files)) };
    let seed = 1;
    const random = (below: number) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
    for (let round = 0; round < 300; round++) {
      const container = round % 2 === 0 ? 'zip' : 'tar';
      const archive = Buffer.from(whole[container]);
      for (let n = 0; n < 4; n++) archive[random(archive.length)] = random(256);
      const cut = random(8) === 0 ? archive.subarray(0, random(archive.length)) : archive;
      const reason = await recordsOf(container, cut).then(
        ({ records }) => records,
        (error: unknown) => (error as Error).message,
      );
      expect(reason.length).toBeGreaterThan(0);
    }
  });
});
