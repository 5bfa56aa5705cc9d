import { expect, it } from 'vitest';
import { batchesOf, readItems } from './item-batches.js';

const form = (schema: object) => ({
  schema: schema as never,
  schemaParam: 'schema',
  param: 'file',
});
async function* chunks(text: string): AsyncGenerator<Buffer> {
  for (let from = 0; from < text.length; from += 1000)
    yield Buffer.from(text.slice(from, from + 1000));
}
const read = (text: string, schema = {}) => readItems(chunks(text), form(schema));
const line = (item: object): string => `${JSON.stringify({ item })}\n`;
const rowsOf = (json: Uint8Array): { item: { n: number } }[] =>
  JSON.parse(new TextDecoder().decode(json)) as { item: { n: number } }[];

it('reads the items of a file in batches, in order', async () => {
  const lines = Array.from({ length: 1100 }, (_, n) => line({ n }));
  const batches = await read(lines.join('\n'));
  expect(batches.map(({ count }) => count)).toEqual([500, 500, 100]);
  const numbers = batches.flatMap(({ json }) => rowsOf(json).map(({ item }) => item.n));
  expect(numbers).toEqual(lines.map((_, n) => n));
  expect(batchesOf(lines.map((_, n) => ({ item: { n } })))).toEqual(batches);
});

it('ends a batch of large items early', async () => {
  const large = line({ n: 1, text: 'x'.repeat(700_000) });
  expect((await read(large.repeat(4))).map(({ count }) => count)).toEqual([2, 2]);
});

it.each([
  ['', {}, 'the file has no items'],
  ['\n\nno JSON', {}, 'line 3 is not JSON'],
  [line({ n: 1 }) + line({ n: 'x' }), { properties: { n: { type: 'number' } } }, 'line 2: item.n: expected number'], // prettier-ignore
  [`{"item":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`, {}, 'line 1 is nested too deeply'], // prettier-ignore
  [line({}).repeat(10_001), {}, 'more than 10000 items'],
  [`{"item":{"a":[${'1e20,'.repeat(199_999)}0]}}\n`.repeat(16), {}, 'more than 67108864 bytes of items'], // prettier-ignore
])('rejects an invalid file and names the line (%#)', async (text, schema, message) => {
  await expect(read(text, schema)).rejects.toMatchObject({
    param: 'file',
    message: expect.stringContaining(message) as string,
  });
});

it('applies the time limit of a schema to all items together', async () => {
  const slow = { properties: { a: { type: 'string', pattern: '^(a+)+$' } } };
  await expect(read(line({ a: `${'a'.repeat(60)}b` }), slow)).rejects.toThrow(
    'takes more than 2 s',
  );
});
