// Steps several answers in one forward pass of their open sequences (first a part of the prompt, then one
// token each), so that a trainer can answer chats between training steps.
import { indexSelect, narrow, noGrad, tensor, tidy } from '@graft/kernels';
import { runRows, type Batch, type PackedRows, type Rows } from '../nn/batch.js';
import type { KvCache } from '../nn/kv-cache.js';
import type { GenerateAnswer } from '@graft/contracts';
import type { Drawn, Generation, GenerationBase, NextRows } from './generation.js';

/**
 * Maximum rows of a forward pass. A long prompt takes several passes, so that other work gets its turn in
 * between.
 */
const FORWARD_ROWS = 512;
/**
 * Rows that the head multiplies in one product. With few rows, each result has the same bits as the row
 * alone.
 */
const HEAD_ROWS = 24;

/**
 * Runs one forward pass for several answers of one cache and returns the results in order. Answers that
 * generate have one row each; prompts use the rest of `rows`, in order.
 */
export function stepTogether(
  base: GenerationBase,
  cache: KvCache,
  answers: readonly Generation[],
  rows = FORWARD_ROWS,
): GenerateAnswer[] {
  const chosen = choose(answers, rows).sort((a, b) => a.answer.run - b.answer.run);
  const held = chosen.map(({ answer }) => answer.heldRows);
  let drawn: (Drawn | null)[];
  try {
    drawn = forward(base, cache, chosen);
  } catch (error) {
    // One answer may have caused the failure. No answer has advanced, so each one can be stepped again by
    // itself.
    chosen.forEach(({ answer }, i) => answer.rewind(held[i] as number));
    throw error;
  }
  const steps = new Map(
    chosen.map(({ answer }, i) => [answer, answer.take(drawn[i] as Drawn | null)]),
  );
  return answers.map((answer) => steps.get(answer) ?? answer.idle());
}

/** Returns the sampled token of each answer; null for those whose prompt is not complete. */
function forward(
  base: GenerationBase,
  cache: KvCache,
  chosen: readonly Chosen[],
): (Drawn | null)[] {
  return noGrad(() =>
    tidy(() => {
      const { batch, last } = joined(chosen);
      const ctx = {
        training: false,
        runs: new Map(chosen.map(({ answer: { run } }) => [run, { seed: 0, step: 0 }])),
      };
      const { hidden } = base.model.forward(batch, ctx, cache).decoder as Rows;
      const writing = [...chosen.keys()].filter((i) => chosen[i]?.answer.writes);
      const drawn = chosen.map((): Drawn | null => null);
      for (let at = 0; at < writing.length; at += HEAD_ROWS)
        tidy(() => {
          const some = writing.slice(at, at + HEAD_ROWS);
          const answers = some.map((i) => (chosen[i] as Chosen).answer);
          const places = some.map((i) => BigInt(last[i] as number));
          const read = indexSelect(hidden, 0, tensor(BigInt64Array.from(places), [some.length]));
          const rows = runRows(answers.map(({ run }, start) => ({ run, start, length: 1 })));
          const logits = base.model.head('lm', read, { ...ctx, rows });
          for (const [row, i] of some.entries())
            drawn[i] = (answers[row] as Generation).sampleToken(narrow(logits, 0, row, 1));
        });
      return drawn;
    }),
  );
}

interface Chosen {
  readonly answer: Generation;
  readonly rows: number;
}

function choose(answers: readonly Generation[], rows: number): Chosen[] {
  const open = answers.filter(({ done }) => !done);
  const chosen = open
    .filter(({ waitingRows }) => waitingRows === 1)
    .map((answer): Chosen => ({ answer, rows: 1 }));
  let left = rows - chosen.length;
  for (const answer of open.filter(({ waitingRows }) => waitingRows > 1)) {
    // The first answer always proceeds.
    const limit = chosen.length === 0 ? Math.max(1, left) : left;
    const given = answer.isWhole ? answer.waitingRows : Math.min(limit, answer.waitingRows);
    if (given <= 0 || (given > limit && chosen.length > 0)) continue;
    chosen.push({ answer, rows: given });
    left -= given;
  }
  return chosen;
}

/** Builds the batch of several answers: prompts for the encoder and the next rows of each answer. */
function joined(chosen: readonly Chosen[]): { batch: Batch; last: number[] } {
  const next = chosen.map(({ answer, rows }) => ({ run: answer.run, ...answer.nextRows(rows) }));
  const unread = next.filter(({ source }) => source.length > 0);
  const encoder = packed(unread.map((each) => ({ ...each, tokens: each.source, position: 0 })));
  const decoder = packed(next);
  return {
    batch: { encoder: unread.length > 0 ? encoder : null, decoder },
    last: decoder.sequences.map(({ start, length }) => start + length - 1),
  };
}

function packed(all: readonly (Omit<NextRows, 'source'> & { readonly run: number })[]): PackedRows {
  let start = 0;
  return {
    inputs: Int32Array.from(all.flatMap(({ tokens }) => [...tokens])),
    positions: Int32Array.from(
      all.flatMap(({ tokens, position }) => tokens.map((_, i) => position + i)),
    ),
    sequences: all.map(({ run, tokens: { length }, handle, invokedAt: from, taskId, whole }) => {
      start += length;
      return { run, taskId, start: start - length, length, cache: handle, invokedAt: from, whole };
    }),
  };
}
