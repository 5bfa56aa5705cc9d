import { expect, it } from 'vitest';
import { withSlots } from './upload-slots.js';

const soon = () => new Promise((resolve) => setImmediate(resolve));
const { signal: stays } = new AbortController();
async function* chunks(count: number): AsyncGenerator<Buffer> {
  for (let n = 0; n < count; n++) yield Buffer.from([n]);
}

it('checks one chunk of a project at a time, concurrently with another project’s', async () => {
  const [first, second] = [withSlots(chunks(2), 'a', stays), withSlots(chunks(2), 'a', stays)];
  const other = withSlots(chunks(1), 'b', stays);
  await first.next();
  let passed = false;
  const waits = second.next().then(() => (passed = true));
  expect((await other.next()).value).toEqual(Buffer.from([0]));
  await soon();
  expect(passed).toBe(false);
  const turn = first.next();
  await waits;
  await second.return(undefined);
  await turn;
  await first.return(undefined);
  await other.return(undefined);
});

it('releases the slot if the reader fails or the client disconnects', async () => {
  const failing = async (): Promise<void> => {
    for await (const _ of withSlots(chunks(2), 'a', stays)) throw new Error('disk full');
  };
  await expect(failing()).rejects.toThrow('disk full');
  const holds = withSlots(chunks(1), 'a', stays);
  await holds.next();
  const client = new AbortController();
  const waits = withSlots(chunks(1), 'a', client.signal).next();
  client.abort();
  await expect(waits).rejects.toThrow(/abort/);
  await holds.return(undefined);
  const last = withSlots(chunks(1), 'a', stays);
  expect((await last.next()).done).toBe(false);
  await last.return(undefined);
});
