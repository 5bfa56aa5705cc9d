import { expect, it } from 'vitest';
import { inTurns } from './upload-slots.js';

const soon = () => new Promise((resolve) => setImmediate(resolve));
const { signal: stays } = new AbortController();
async function* chunks(count: number): AsyncGenerator<Buffer> {
  for (let n = 0; n < count; n++) yield Buffer.from([n]);
}

it('has one chunk of a project checked at a time, and another project’s beside it', async () => {
  const [first, second] = [inTurns(chunks(2), 'a', stays), inTurns(chunks(2), 'a', stays)];
  const other = inTurns(chunks(1), 'b', stays);
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

it('gives a turn back where its reader fails, and leaves when its client has gone', async () => {
  const failing = async (): Promise<void> => {
    for await (const _ of inTurns(chunks(2), 'a', stays)) throw new Error('no room');
  };
  await expect(failing()).rejects.toThrow('no room');
  const holds = inTurns(chunks(1), 'a', stays);
  await holds.next();
  const client = new AbortController();
  const waits = inTurns(chunks(1), 'a', client.signal).next();
  client.abort();
  await expect(waits).rejects.toThrow(/abort/);
  await holds.return(undefined);
  const last = inTurns(chunks(1), 'a', stays);
  expect((await last.next()).done).toBe(false);
  await last.return(undefined);
});
