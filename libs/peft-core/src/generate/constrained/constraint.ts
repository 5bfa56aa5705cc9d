// Constrains an answer to a form: before sampling, the logits of tokens that the form does not allow are
// set to -∞. Every reachable state can be completed with tokens of one byte, so some token is always
// allowed.
import { DomainError } from '@graft/contracts';
import { logicalNot, maskedFill, tensor, tidy, type Tensor } from '@graft/kernels';
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { answerGrammar, type AnswerForm } from './answer-form.js';
import { Automaton, DEAD, MemoryBudget } from './automaton.js';
import { VocabularyTrie } from './vocabulary-trie.js';

/** Number of forms cached for later answers. */
const KEPT = 8;
/**
 * Fullness at which a cached form is replaced, so that a new answer has the memory limit of one form for
 * itself.
 */
const FULL = 0.5;
/** Maximum cached masks of a form, one per state. A mask has one entry per token. */
const MOST_MASKS = 64;

type Vocabulary = Pick<Tokenizer, 'bytes' | 'writing' | 'eosIds'>;

/** Constraints for the answers of one base model. */
export class Constraints {
  private trie: VocabularyTrie | undefined;
  private readonly kept = new Map<string, Form>();

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly budget = new MemoryBudget(),
  ) {}

  /**
   * Returns a constraint for an answer.
   * @throws DomainError `unsupported` if the vocabulary cannot write the form
   */
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
      throw new DomainError('unsupported', 'this model’s tokenizer puts spaces between tokens, so its answers cannot be constrained; remove response_format, or set tool_choice to "auto"'); // prettier-ignore
    if (!this.trie) {
      const unwritten = new Set([...eosIds, ...writing.added.filter(({ special }) => special).map(({ id }) => id)]); // prettier-ignore
      this.trie = new VocabularyTrie(
        bytes.map((token, id) => (unwritten.has(id) ? new Uint8Array() : token)),
      );
    }
    const automaton = new Automaton(answerGrammar(asked), this.trie.alphabet, this.budget);
    if (automaton.start !== DEAD) return new Form(automaton, this.trie);
    automaton.close();
    throw new DomainError('unsupported', 'this model’s vocabulary has no tokens for the characters of the requested form; use other characters or another model'); // prettier-ignore
  }
}

class Form {
  private readonly masks = new Map<number, Uint8Array>();
  /** Number of open answers that use it. */
  private users = 0;
  private isKept = true;

  constructor(
    readonly automaton: Automaton,
    private readonly trie: VocabularyTrie,
  ) {}

  /**
   * Returns a mask by token id: 1 if the token is allowed.
   * @throws DomainError `request_too_large` if there are too many ways to continue
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

  /** Marks the constraint as removed from the cache. Answers in progress continue to use it. */
  forget(): void {
    this.isKept = false;
    this.closeUnused();
  }

  private closeUnused(): void {
    if (this.users === 0 && !this.isKept) this.automaton.close();
  }
}

/**
 * Constraint of one answer. It occupies its form's memory from the first call of `allowed` until `close`.
 */
export class Constraint {
  private state: number;
  private isOpen = false;

  constructor(
    private readonly form: Form,
    private readonly vocabulary: Vocabulary,
  ) {
    this.state = form.automaton.start;
  }

  /** Whether the answer is complete and must end. */
  get isComplete(): boolean {
    return this.form.automaton.isComplete(this.state);
  }

  /**
   * Returns a mask of `size` token ids: 1 if the token may come next. End tokens are allowed if the answer
   * may end.
   */
  allowed(size: number): Uint8Array {
    if (!this.isOpen) this.form.use();
    this.isOpen = true;
    const allowed = new Uint8Array(size);
    allowed.set(this.form.allowed(this.state).subarray(0, size));
    const isEnd = this.form.automaton.isEnd(this.state);
    if (isEnd) for (const id of this.vocabulary.eosIds) if (id < size) allowed[id] = 1;
    return allowed;
  }

  /** Sets the logits of tokens that are not allowed to -∞. @param logits [1, V] */
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

  /** Advances by an allowed token. End tokens change nothing. */
  accept(id: number): void {
    if (this.vocabulary.eosIds.includes(id)) return;
    const { automaton } = this.form;
    for (const byte of this.vocabulary.bytes[id] ?? [])
      this.state = automaton.step(this.state, byte);
  }
}
