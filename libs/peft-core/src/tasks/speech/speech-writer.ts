// Whisper's transcription of a window of audio, in Transformers' token order: prompt, start token,
// language and task, then text, with or without timestamps.
import { DomainError } from '@graft/contracts';
import { logSoftmax, tensor, type Tensor } from '@graft/kernels';
import { BARE_BASE } from '../../nn/batch.js';
import type { Writing } from '../../data/processor.js';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { sample } from '../../nn/sample.js';
import { TextStream } from '../../data/text/text-stream.js';
import type { Model } from '../../models/model.js';
import type { FeatureSequence } from '../heads/head-outputs.js';
import { languagesOf, tokenId } from './speech-tokens.js';
import { suppressInvalidTimes, logSumExp, partsOf, timesOf, type Times } from './timestamps.js';
import { SpeechDecoder, writtenPositions } from './transcribe.js';
import type { WindowTimes, WindowOptions, Writer } from './writer.js';

export interface SpeechWindow {
  readonly run: number;
  readonly tokenizer: Tokenizer;
  readonly writing: Pick<Writing, 'suppressed' | 'suppressedFirst'>;
  /** Tokens between the start token and the text, as used in training. */
  readonly prefix: Int32Array;
  /** Language used in training. */
  readonly language: string | null;
  features(): FeatureSequence;
}

/** OpenAI's names of the silence token, newest first. */
const SILENCE = ['nospeech', 'nocaptions'];

export class SpeechWriter implements Writer {
  language: string | null;
  /** Generated text and timestamp tokens, without the end token. */
  private readonly ids: number[] = [];
  private readonly decoder: SpeechDecoder;
  private readonly stream: TextStream;
  private readonly clock: Times | null;
  private readonly start: number;
  /** Prompt tokens before the start token. */
  private readonly prompt: readonly number[];
  private readonly silence: number | null;
  private pending: readonly number[];
  /** Maximum number of generated tokens after prompt and prefix. */
  private most = 0;
  /** Candidates for language detection. Null if the language is known. */
  private candidates: ReadonlyMap<number, string> | null;
  private logprobs = 0;
  private noSpeech: number | null = null;
  private count = 0;
  /** Number of ids whose text was returned, if there are timestamps. */
  private returned = 0;

  /** @throws DomainError for an option in `asked` that the base model has no token for */
  constructor(
    private readonly model: Model,
    private readonly window: SpeechWindow,
    private readonly asked: WindowOptions,
  ) {
    const { tokenizer, run } = window;
    const languages = languagesOf(tokenizer, model.vocabSize);
    this.start = model.startToken ?? 0;
    this.clock = asked.timed ? clockOf(tokenizer) : null;
    this.language = asked.language ?? window.language;
    this.prompt = promptIds(tokenizer, asked.prompt, writtenPositions(model, run));
    const [silence = null] = SILENCE.flatMap((name) => tokenId(tokenizer, name) ?? []);
    this.silence = silence;
    const isOpen = this.language === null && run === BARE_BASE && languages.size > 1;
    this.candidates = isOpen ? languages : null;
    this.pending = isOpen ? [this.start] : this.begin(languages);
    this.stream = new TextStream(tokenizer, []);
    this.decoder = new SpeechDecoder(model, run, () => window.features());
  }

  get tokens(): number {
    return this.count;
  }

  step(): { readonly text: string; readonly isLast: boolean } {
    if (this.candidates) return this.detectLanguage(this.candidates);
    const id = this.decoder.next(this.pending, (logits) => this.choose(logits));
    this.count += 1;
    const isEnd = this.window.tokenizer.eosIds.includes(id);
    if (!isEnd) this.ids.push(id);
    this.pending = [id];
    const isLast = isEnd || this.ids.length >= this.most;
    if (isLast) this.close();
    return { text: this.clock ? this.timedText(isLast) : this.text(id, isEnd, isLast), isLast };
  }

  times(): WindowTimes {
    const { parts, until } = this.parts();
    const segments = parts.map(({ start, end, ids }) => ({
      start,
      end,
      tokens: ids,
      text: this.textOf(ids),
      avg_logprob: this.logprobs / Math.max(1, this.count),
      no_speech_prob: this.noSpeech,
    }));
    return { segments, until };
  }

  close(): void {
    this.decoder.close();
  }

  private parts(): ReturnType<typeof partsOf> {
    if (!this.clock) throw new DomainError('internal_error', 'the transcript has no timestamps');
    return partsOf(this.ids, this.clock.first, this.asked.seconds);
  }

  /** Returns all tokens before the text. @throws DomainError */
  private begin(languages: ReadonlyMap<number, string>): readonly number[] {
    const prefix = this.prefix(languages);
    const clock = this.clock;
    const own = clock ? prefix.filter((id) => id !== clock.none) : prefix;
    const begin = [...this.prompt, this.start, ...own];
    this.most = writtenPositions(this.model, this.window.run) - begin.length;
    return begin;
  }

  private prefix(languages: ReadonlyMap<number, string>): readonly number[] {
    const { language, window } = this;
    if (language === null || language === window.language) return [...window.prefix];
    // An English-only base model has only this prefix.
    if (languages.size < 2 && language === 'en') return [...window.prefix];
    const [id] = [...languages].find(([, code]) => code === language) ?? [];
    const task = tokenId(window.tokenizer, 'transcribe');
    const none = tokenId(window.tokenizer, 'notimestamps');
    if (id !== undefined && task !== null && none !== null) return [id, task, none];
    const all = [...languages.values()].join(', ') || 'en';
    throw new DomainError(
      'invalid_value',
      `language: the base does not support ${language}; expected ${all}, or remove it`,
      'language',
    );
  }

  /** Detects the language from the token after the start token alone, as Transformers does. */
  private detectLanguage(languages: ReadonlyMap<number, string>): {
    text: string;
    isLast: boolean;
  } {
    const id = this.decoder.next(this.pending, (logits) => {
      const scores = scoresOf(logits(0));
      return [...languages.keys()].reduce((a, b) => ((scores[b] ?? 0) > (scores[a] ?? 0) ? b : a));
    });
    this.decoder.restart();
    this.language = languages.get(id) ?? null;
    this.candidates = null;
    this.pending = this.begin(languages);
    return { text: '', isLast: false };
  }

  private choose(logits: (place: number) => Tensor): number {
    const { ids, clock, asked, pending, silence } = this;
    const isFirst = this.count === 0;
    if (isFirst && silence !== null)
      this.noSpeech = Math.exp(scoresOf(logits(pending.indexOf(this.start)))[silence] as number);
    const scores = scoresOf(logits(pending.length - 1));
    this.suppress(scores);
    if (clock) suppressInvalidTimes(scores, ids, clock);
    const { temperature, seed } = asked;
    const id =
      temperature > 0
        ? sample(tensor(scores, [scores.length]), { temperature, top_p: 1, seed }, ids.length)
        : scores.reduce((best, score, at) => (score > (scores[best] as number) ? at : best), 0);
    const logprob = (scores[id] as number) - logSumExp(scores);
    if (Number.isNaN(logprob))
      throw new DomainError('nonfinite', 'the model computes NaN for the next token');
    this.logprobs += logprob;
    return id;
  }

  /** Suppresses tokens for base models only. Adapters generate what they were trained on. */
  private suppress(scores: Float32Array): void {
    const { run, writing } = this.window;
    if (run !== BARE_BASE) return;
    for (const id of writing.suppressed) scores[id] = -Infinity;
    if (this.ids.length === 0) for (const id of writing.suppressedFirst) scores[id] = -Infinity;
  }

  private text(id: number, isEnd: boolean, isLast: boolean): string {
    return (isEnd ? '' : this.stream.push(id)) + (isLast ? this.stream.end() : '');
  }

  /**
   * Returns the text of complete segments. Text after the last one may be generated again in the next
   * window.
   */
  private timedText(isLast: boolean): string {
    const { ids, returned, clock } = this;
    const first = clock?.first ?? 0;
    const isTime = (at: number): boolean => (ids.at(at) ?? -1) >= first;
    const end = isLast
      ? this.parts().parts.reduce((sum, part) => sum + part.ids.length, 0)
      : ids.length > 1 && isTime(-1) && isTime(-2)
        ? ids.length - 1
        : returned;
    this.returned = Math.max(returned, end);
    return this.textOf(ids.slice(returned, end));
  }

  private textOf(ids: readonly number[]): string {
    const first = this.clock?.first ?? Infinity;
    return this.window.tokenizer.decode(ids.filter((id) => id < first));
  }
}

/** Returns ln p [V]. */
const scoresOf = (logits: Tensor): Float32Array =>
  logSoftmax(logits, -1, 'f32').toArray() as Float32Array;

function clockOf(tokenizer: Tokenizer): Times {
  const times = timesOf(tokenizer);
  if (times) return times;
  const message = 'the base has no timestamp tokens; set response_format to json or text';
  throw new DomainError('unsupported', message, 'response_format');
}

/**
 * Returns the prompt's token ids, as Transformers' get_prompt_ids. Special tokens are rejected. A long
 * prompt keeps its end, at most half of the positions.
 */
function promptIds(tokenizer: Tokenizer, prompt: string | null, positions: number): number[] {
  if (prompt === null || prompt.trim() === '') return [];
  const before = tokenId(tokenizer, 'startofprev');
  const most = Math.floor(positions / 2) - 1;
  if (before === null || most <= 0)
    throw new DomainError(
      'unsupported',
      'prompt: the base does not support prompts; remove it',
      'prompt',
    );
  const ids = tokenizer.encode(` ${prompt.trim()}`);
  const own = ownToken(tokenizer, ids, prompt);
  if (own === undefined) return [before, ...ids.slice(-most)];
  const message = `prompt: expected text, got the base's special token ${own}`;
  throw new DomainError('invalid_value', message, 'prompt');
}

/**
 * Returns a special token that the text contains literally. Characters that the base model does not know
 * also decode to a special token, but the text does not contain its name.
 */
const ownToken = (tokenizer: Tokenizer, ids: readonly number[], text: string): string | undefined =>
  ids
    .filter((id) => tokenizer.decode([id]) === '')
    .map((id) => tokenizer.decode([id], { skipSpecial: false }))
    .find((name) => name !== '' && text.includes(name));
