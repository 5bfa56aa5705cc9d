// Encoding of facts as frames. Facts may contain user data of any length. Encoding must not fail, since that would end the
// process and the other runs in it.
import { grouped, MAX_FRAME_BYTES, shorten } from '@graft/contracts';
import { encodeFrame } from './frames.js';
import type { Fact } from './protocol.js';

const LONGEST_TEXT = 8000;
const TEXTS: ReadonlySet<string> = new Set(['message', 'param', 'errorMessage', 'code', 'level']);

export interface FactFrame {
  readonly frame: Buffer;
  /** False if the fact was too large; then the frame reports a failure of its run or request. */
  readonly fits: boolean;
}

/** Encodes a fact. Never throws. */
export function encodeFact(fact: Fact): FactFrame {
  try {
    return { frame: encodeFrame(framed(fact)), fits: true };
  } catch {
    return { frame: encodeFrame(framed(tooLarge(fact))), fits: false };
  }
}

function framed(fact: Fact): object {
  if (fact.type === 'event') return { ...fact, payload: JSON.stringify(shortTexts(fact.payload)) };
  if (fact.type === 'answer' && fact.piece !== null)
    return shortTexts({ ...fact, piece: JSON.stringify(fact.piece) });
  return shortTexts(fact);
}

function shortTexts(texts: object): object {
  const entries = Object.entries(texts).map(([name, value]: [string, unknown]) => [
    name,
    TEXTS.has(name) && typeof value === 'string' ? shorten(value, LONGEST_TEXT) : value,
  ]);
  return Object.fromEntries(entries) as object;
}

function tooLarge(fact: Fact): Fact {
  const most = `${grouped(MAX_FRAME_BYTES)} bytes`;
  const what = fact.type === 'event' ? fact.kind : fact.type;
  const message = `a message of the trainer ("${what}") exceeds ${most}`;
  const code = 'internal_error';
  if (fact.type === 'answer')
    return { ...fact, piece: null, last: true, errorCode: code, errorMessage: message };
  if (fact.type === 'event' || fact.type === 'needs') {
    const { jobId, attempt } = fact;
    const payload = { code, message, param: null, retryable: false };
    return { type: 'event', jobId, attempt, kind: 'failed', payload };
  }
  return { type: 'log', level: 'error', code: null, message };
}
