// Facts as frames. What a run says can be as long as what a user wrote, and saying it must not fail: the process
// would end with it, and with it the runs of others.
import { grouped, MAX_FRAME_BYTES, shorten } from '@graft/contracts';
import { encodeFrame } from './frames.js';
import { isAttemptFact, type Fact } from './protocol.js';

const LONGEST_TEXT = 8000;
const TEXTS: ReadonlySet<string> = new Set(['message', 'param', 'errorMessage', 'code', 'level']);

export interface FactFrame {
  readonly frame: Buffer;
  /** False if it was too large, and the frame tells that its run or answer failed. */
  readonly fits: boolean;
}

/** Never throws. */
export function encodeFact(fact: Fact): FactFrame {
  const short = shortTexts(fact);
  try {
    return { frame: encodeFrame(short), fits: true };
  } catch {
    return { frame: encodeFrame(tooLarge(short)), fits: false };
  }
}

/** Also what the agent does with a fact, as a trainer need not be one of ours. */
export function shortTexts<T extends Fact>(fact: T): T {
  const cut = Object.entries(fact).map(([name, value]: [string, unknown]) => [
    name,
    TEXTS.has(name) && typeof value === 'string' ? shorten(value, LONGEST_TEXT) : value,
  ]);
  return Object.fromEntries(cut) as T;
}

function tooLarge(fact: Fact): Fact {
  const most = `${grouped(MAX_FRAME_BYTES)} bytes`;
  const message = `the trainer had more to say at once ("${fact.type}") than fits in ${most}`;
  const code = 'internal_error';
  if (fact.type === 'answer')
    return { ...fact, piece: null, last: true, errorCode: code, errorMessage: message };
  if (isAttemptFact(fact)) {
    const { jobId, attempt } = fact;
    return { type: 'failed', jobId, attempt, code, message, param: null, retryable: false };
  }
  return { type: 'log', level: 'error', code: null, message };
}
