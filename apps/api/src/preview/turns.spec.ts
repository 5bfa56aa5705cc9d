import { describe, expect, it } from 'vitest';
import { QueueFull, Turns } from './turns.js';

/** Work that ends on request and records its start. */
class Works {
  readonly started: string[] = [];
  private readonly ends = new Map<string, () => void>();

  of = (name: string) => (): Promise<string> => {
    this.started.push(name);
    return new Promise((resolve) => this.ends.set(name, () => resolve(name)));
  };

  end(name: string): Promise<void> {
    this.ends.get(name)?.();
    return settled();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const waits = (project: string) => ({ project, signal: new AbortController().signal });

describe('turns', () => {
  it('run one piece of work at a time, from each project in turn', async () => {
    const turns = new Turns();
    const works = new Works();
    for (const [project, key] of [
      ['a', 'a1'],
      ['a', 'a2'],
      ['a', 'a3'],
      ['b', 'b1'],
      ['c', 'c1'],
      ['b', 'b2'],
    ] as const)
      void turns.take(key, waits(project), works.of(key));
    await settled();
    expect(works.started).toEqual(['a1']);
    for (const key of ['a1', 'b1', 'c1', 'a2', 'b2']) await works.end(key);
    expect(works.started).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  });

  it('share the answer of equal requests, started or not, and run again afterwards', async () => {
    const turns = new Turns();
    const works = new Works();
    const first = turns.take('same', waits('a'), works.of('same'));
    await settled();
    const second = turns.take('same', waits('b'), works.of('same'));
    await works.end('same');
    expect(await Promise.all([first, second])).toEqual(['same', 'same']);
    void turns.take('same', waits('b'), works.of('same'));
    await settled();
    expect(works.started).toEqual(['same', 'same']);
  });

  it('skip work without callers, and do work that one of two callers still waits for', async () => {
    const turns = new Turns();
    const works = new Works();
    const gone = new AbortController();
    void turns.take('long', waits('a'), works.of('long'));
    const asker = { project: 'a', signal: gone.signal };
    const alone = turns.take('alone', asker, works.of('alone'));
    const shared = turns.take('shared', asker, works.of('shared'));
    const other = turns.take('shared', waits('b'), works.of('shared'));
    const left = Promise.allSettled([alone, shared]);
    gone.abort();
    expect((await left).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await works.end('long');
    await works.end('shared');
    expect(await other).toBe('shared');
    expect(works.started).toEqual(['long', 'shared']);
  });

  it('reject an aborted caller immediately; its work continues for the next caller', async () => {
    const turns = new Turns();
    const works = new Works();
    const deadline = new AbortController();
    const late = turns.take('slow', { project: 'a', signal: deadline.signal }, works.of('slow'));
    await settled();
    deadline.abort();
    await expect(late).rejects.toBe(deadline.signal.reason);
    const next = turns.take('slow', waits('a'), works.of('slow'));
    await works.end('slow');
    expect(await next).toBe('slow');
    expect(works.started).toEqual(['slow']);
  });

  it('continue after work that failed', async () => {
    const turns = new Turns();
    const failing = turns.take('a', waits('a'), () => Promise.reject(new Error('broken')));
    const after = turns.take('b', waits('a'), () => Promise.resolve(1));
    await expect(failing).rejects.toThrow('broken');
    expect(await after).toBe(1);
  });

  it('reject a project with too much waiting work, and no other project', async () => {
    const turns = new Turns();
    const works = new Works();
    for (let n = 0; n < 16; n++) void turns.take(`a${n}`, waits('a'), works.of(`a${n}`));
    void turns.take('a16', waits('a'), works.of('a16'));
    await expect(turns.take('a17', waits('a'), works.of('a17'))).rejects.toThrow(QueueFull);
    void turns.take('b', waits('b'), works.of('b'));
    for (let n = 0; n < 2; n++) await works.end(`a${n}`);
    expect(works.started).toContain('b');
  });
});
