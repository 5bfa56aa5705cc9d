// What makes a model's inputs of data, after transformers' AutoProcessor: one of a base, from its files.
import { DomainError } from '@graft/contracts';
import type { Tokenizer } from './tokenizer.js';

export interface ProcessorParts {
  readonly tokenizer: Tokenizer | null;
}

export class Processor {
  constructor(private readonly parts: ProcessorParts) {}

  has(part: keyof ProcessorParts): boolean {
    return this.parts[part] !== null;
  }

  /** @throws DomainError where the base has none */
  get tokenizer(): Tokenizer {
    return this.parts.tokenizer ?? lacks('tokenizer (tokenizer.json): it reads no text');
  }

  dispose(): void {
    this.parts.tokenizer?.dispose();
  }
}

function lacks(what: string): never {
  throw new DomainError('unsupported', `the base has no ${what}`, 'model');
}
