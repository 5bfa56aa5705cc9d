// Holds an answer to a form: of each row of logits, tokens that the form does not allow next are -∞ before one is drawn.
// Every state that is reached can be brought to an end with tokens of one byte, so that some token is always allowed.
import { DomainError } from '@graft/contracts';
import { logicalNot, maskedFill, tensor, tidy, type Tensor } from '@graft/kernels';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { answerGrammar, type AnswerForm } from './answer-form.js';
import { Automaton, DEAD, MemoryBudget } from './automaton.js';
import { VocabularyTrie } from './vocabulary-trie.js';

/** Forms that are kept for the next answer of them. */
const KEPT = 8;
/** A form whose automaton is fuller is forgotten, so that a new answer has the rest of one for itself. */
const FULL = 0.5;
/** Of a form: what its states allow, an entry a token. */
const MOST_MASKS = 64;

type Vocabulary = Pick<Tokenizer, 'bytes' | 'writing' | 'eosIds'>;

/** Forms of the answers of one base. */
export class Constraints {
  private trie: VocabularyTrie | undefined;
  private readonly kept = new Map<string, Form>();

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly budget = new MemoryBudget(),
  ) {}

  /** @throws DomainError `unsupported` where the vocabulary cannot write the form */
  of(asked: AnswerForm): Constraint {
    const key = JSON.stringify(asked);
    const known = this.kept.get(key);
    const form = known && known.automaton.fullness < FULL ? known : this.form(asked);
    if (form !== known) this.forget(key);
    this.kept.delete(key);
    this.kept.set(key, form);
    const [oldest] = this.kept.keys();
    if (this.kept.size > KEPT && oldest !== undefined) this.forget(oldest);
    return new Constraint(form, this.vocabulary);
  }

  private forget(key: string): void {
    this.kept.get(key)?.forget();
    this.kept.delete(key);
  }

  private form(asked: AnswerForm): Form {
    const { writing, bytes, eosIds } = this.vocabulary;
    if (!writing.joins)
      throw new DomainError('unsupported', 'this model’s tokenizer puts spaces between its tokens: its answers can be held to no form'); // prettier-ignore
    if (!this.trie) {
      const unwritten = new Set([...eosIds, ...writing.added.filter(({ special }) => special).map(({ id }) => id)]); // prettier-ignore
      this.trie = new VocabularyTrie(
        bytes.map((token, id) => (unwritten.has(id) ? new Uint8Array() : token)),
      );
    }
    const automaton = new Automaton(answerGrammar(asked), this.trie.alphabet, this.budget);
    if (automaton.start !== DEAD) return new Form(automaton, this.trie);
    automaton.close();
    throw new DomainError('unsupported', 'this model’s vocabulary has no tokens for the characters of the form that is asked for'); // prettier-ignore
  }
}

class Form {
  private readonly masks = new Map<number, Uint8Array>();
  /** Open answers of it. */
  private users = 0;
  private isKept = true;

  constructor(
    readonly automaton: Automaton,
    private readonly trie: VocabularyTrie,
  ) {}

  /**
   * By token, 1 where it is allowed.
   * @throws DomainError `request_too_large` where what may come has too many forms
   */
  allowed(state: number): Uint8Array {
    const known = this.masks.get(state);
    if (known) return known;
    this.automaton.renew();
    const allowed = this.trie.allowed(this.automaton, state);
    const [oldest] = this.masks.keys();
    if (this.masks.size >= MOST_MASKS && oldest !== undefined) this.masks.delete(oldest);
    this.masks.set(state, allowed);
    return allowed;
  }

  use(): void {
    this.users++;
  }

  leave(): void {
    this.users--;
    this.closeUnused();
  }

  /** No new answer comes to it. */
  forget(): void {
    this.isKept = false;
    this.closeUnused();
  }

  private closeUnused(): void {
    if (this.users === 0 && !this.isKept) this.automaton.close();
  }
}

/** One answer's. It has room from the first token that it is asked for until it is closed. */
export class Constraint {
  private state: number;
  private isOpen = false;

  constructor(
    private readonly form: Form,
    private readonly vocabulary: Vocabulary,
  ) {
    this.state = form.automaton.start;
  }

  /** Whether the answer is whole, and nothing more may come. */
  get isComplete(): boolean {
    return this.form.automaton.isComplete(this.state);
  }

  /** By token of a table of so many, 1 where it may come next; the end of text where the answer may end. */
  allowed(size: number): Uint8Array {
    if (!this.isOpen) this.form.use();
    this.isOpen = true;
    const allowed = new Uint8Array(size);
    allowed.set(this.form.allowed(this.state).subarray(0, size));
    const isEnd = this.form.automaton.isEnd(this.state);
    if (isEnd) for (const id of this.vocabulary.eosIds) if (id < size) allowed[id] = 1;
    return allowed;
  }

  /** @param logits [1, V] */
  held(logits: Tensor): Tensor {
    return tidy(() => {
      const size = logits.shape.at(-1) as number;
      return maskedFill(logits, logicalNot(tensor(this.allowed(size), [size])), -Infinity);
    });
  }

  close(): void {
    if (this.isOpen) this.form.leave();
    this.isOpen = false;
  }

  /** Goes on with a token that was allowed; the end of text changes nothing. */
  accept(id: number): void {
    if (this.vocabulary.eosIds.includes(id)) return;
    const { automaton } = this.form;
    for (const byte of this.vocabulary.bytes[id] ?? [])
      this.state = automaton.step(this.state, byte);
  }
}
