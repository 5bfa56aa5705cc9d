/** Reading config.json. */
import { DomainError } from '@graft/contracts';
import type { HfConfig } from './model.js';

/** transformers' names of activations. */
const ACTIVATIONS: Readonly<Record<string, string>> = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
};

/** @throws DomainError for an activation that is not known */
export function activation(name: unknown): string {
  const found = ACTIVATIONS[String(name)];
  if (found) return found;
  const known = Object.keys(ACTIVATIONS).join(', ');
  throw new DomainError(
    'unsupported',
    `config.json: activation "${String(name)}" is unknown; there are: ${known}`,
    'model',
  );
}

/** An object in the config, or null. */
export function field(config: HfConfig, name: string): Readonly<Record<string, unknown>> | null {
  const value = config[name];
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}

const MOST_LAYERS = 1024;

/** @throws DomainError unless the config has a number of layers that a model can have */
export function layerCount(config: HfConfig, name: string): number {
  const value = config[name];
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MOST_LAYERS)
    return value as number;
  const shown = JSON.stringify(value)?.slice(0, 50) ?? 'missing';
  throw new DomainError(
    'invalid_model',
    `config.json: ${name} is ${shown}; it should be 1 to ${MOST_LAYERS}`,
    'model',
  );
}

export function numberOr(config: HfConfig, name: string, otherwise: number): number {
  const value = config[name];
  return typeof value === 'number' ? value : otherwise;
}
