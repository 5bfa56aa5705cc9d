// Facts as frames. What a run says can be as long as what a user wrote, and saying it must not fail: the process
// would end with it, and with it the runs of others.
import { grouped, MAX_FRAME_BYTES, shorten } from '@graft/contracts';
import { encodeFrame } from './frames.js';
import type { Fact } from './protocol.js';

const LONGEST_TEXT = 8000;
const TEXTS: ReadonlySet<string> = new Set(['message', 'param', 'errorMessage', 'code', 'level']);

export interface FactFrame {
  readonly frame: Buffer;
  /** False if it was too large, and the frame tells that its run or answer failed. */
  readonly fits: boolean;
}

/** Never throws. */
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
  const cut = Object.entries(texts).map(([name, value]: [string, unknown]) => [
    name,
    TEXTS.has(name) && typeof value === 'string' ? shorten(value, LONGEST_TEXT) : value,
  ]);
  return Object.fromEntries(cut) as object;
}

function tooLarge(fact: Fact): Fact {
  const most = `${grouped(MAX_FRAME_BYTES)} bytes`;
  const what = fact.type === 'event' ? fact.kind : fact.type;
  const message = `the trainer had more to say at once ("${what}") than fits in ${most}`;
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
