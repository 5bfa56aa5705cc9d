// Runs the official tokenizers package in one thread. Texts are sent in batches, because each call has
// overhead.
import { BlockingThread } from '../asked-thread.js';

/** Token ids of several texts, concatenated. */
export interface Encoded {
  readonly ids: Int32Array;
  /** Number of ids of each text. */
  readonly lengths: Int32Array;
  /** First code point of each token in its text, -1 for added special tokens; empty unless requested. */
  readonly starts: Int32Array;
}

/** Encoder inputs of texts and pairs of texts, concatenated, per token. */
export interface EncodedInputs {
  readonly ids: Int32Array;
  /** token_type_ids */
  readonly types: Int32Array;
  /** Index of the token's text in its input; -1 for added special tokens. */
  readonly texts: Int32Array;
  /** Range of code points in that text; `to` is exclusive. */
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** Number of ids of each input. */
  readonly lengths: Int32Array;
}

/** A text, or a pair of texts. */
export type Input = string | readonly [string, string];

export interface Loaded {
  readonly handle: number;
  readonly vocabSize: number;
}

export type Request =
  | { readonly op: 'load'; readonly json: string }
  | { readonly op: 'free'; readonly handle: number }
  | { readonly op: 'ids'; readonly handle: number; readonly tokens: readonly string[] }
  | { readonly op: 'tokens'; readonly handle: number; readonly ids: readonly number[] }
  | {
      readonly op: 'decode';
      readonly handle: number;
      readonly ids: number[];
      readonly skip: boolean;
    }
  | {
      readonly op: 'encode';
      readonly handle: number;
      readonly texts: string[];
      readonly special: boolean;
      readonly starts: boolean;
    }
  | {
      readonly op: 'inputs';
      readonly handle: number;
      readonly inputs: readonly Input[];
    };

const thread = new BlockingThread<Request>({
  name: 'the tokenizer thread',
  package: 'tokenizers',
  source: `(load, path) => (${answering.toString()})(load, path, ${encodedInputs.toString()})`,
});

/** Sends a request to the thread and waits. @throws Error with the tokenizers package's own message */
export const ask = (request: Request): unknown => thread.ask(request);

type Native = InstanceType<typeof import('tokenizers').Tokenizer>;
type Encoding = InstanceType<typeof import('tokenizers').Encoding>;

/** Runs in the worker. It must not refer to anything outside itself. */
function answering(
  load: NodeJS.Require,
  tokenizers: string,
  encodeInputs: typeof encodedInputs,
): (request: Request) => Promise<unknown> {
  const open = new Map<number, Native>();
  let next = 1;

  const startsOf = (encoding: InstanceType<typeof import('tokenizers').Encoding>): number[] => {
    const added = encoding.getSpecialTokensMask();
    return encoding.getOffsets().map((pair, i) => (added[i] ? -1 : (pair[0] ?? 0)));
  };

  return async (request) => {
    if (request.op === 'load') {
      const { Tokenizer } = load(tokenizers) as typeof import('tokenizers');
      const tokenizer = Tokenizer.fromString(request.json);
      tokenizer.disablePadding();
      tokenizer.disableTruncation();
      open.set(next, tokenizer);
      return { handle: next++, vocabSize: tokenizer.getVocabSize(true) };
    }
    const tokenizer = open.get(request.handle);
    if (!tokenizer) throw new Error('the tokenizer was disposed');
    switch (request.op) {
      case 'free':
        return open.delete(request.handle);
      case 'ids':
        return request.tokens.map((token) => tokenizer.tokenToId(token));
      case 'tokens':
        return request.ids.map((id) => tokenizer.idToToken(id));
      case 'decode':
        return tokenizer.decode(request.ids, request.skip);
      case 'inputs':
        return encodeInputs(tokenizer, request.inputs);
      case 'encode': {
        const { texts, special, starts } = request;
        const encodings = await tokenizer.encodeBatch(texts, { addSpecialTokens: special });
        return {
          ids: Int32Array.from(encodings.flatMap((encoding) => encoding.getIds())),
          lengths: Int32Array.from(encodings, (encoding) => encoding.getLength()),
          starts: Int32Array.from(starts ? encodings.flatMap(startsOf) : []),
        };
      }
    }
  };
}

/** Runs in the worker with `answering`. It must not refer to anything outside itself either. */
async function encodedInputs(tokenizer: Native, inputs: readonly Input[]): Promise<EncodedInputs> {
  // one by one: the package's encodeBatch takes no pairs
  const all = await Promise.all(
    inputs.map((input) => {
      const [text, pair] = typeof input === 'string' ? [input, null] : input;
      return tokenizer.encode(text, pair, { addSpecialTokens: true });
    }),
  );
  const joined = (of: (encoding: Encoding) => (number | null | undefined)[]): Int32Array =>
    Int32Array.from(all.flatMap(of), (value) => value ?? -1);
  return {
    ids: joined((encoding) => encoding.getIds()),
    types: joined((encoding) => encoding.getTypeIds()),
    texts: joined((encoding) => encoding.getSequenceIds()),
    from: joined((encoding) => encoding.getOffsets().map(([from]) => from)),
    to: joined((encoding) => encoding.getOffsets().map(([, to]) => to)),
    lengths: Int32Array.from(all, (encoding) => encoding.getLength()),
  };
}
