/** What a job comes to on its base, told from config.json before anything is loaded. Native-free. */
import { DomainError } from '@graft/contracts';
import type { Spec } from '@graft/contracts';
import { parsePeft } from './methods/config.js';
import type { PeftConfig } from './methods/config.js';
import { wholeModel } from './methods/own-modules.js';
import { outlineOf } from './models/registry.js';
import type { HfConfig } from './models/model.js';

export interface BaseFootprint {
  readonly trainableParameters: number;
  readonly totalParameters: number;
  readonly virtualTokens: number;
  /** Positions of the base that virtual tokens leave: where examples are cut at the latest. */
  readonly room: number;
}

/**
 * What a resolved PEFT config takes of a base; `begun`: from an adapter's file.
 * @throws DomainError with param `peft.<field>` where the config does not fit the base
 */
export function footprintOf(peft: PeftConfig, config: HfConfig, begun = false): BaseFootprint {
  const { method, options } = parsePeft(peft);
  const outline = outlineOf(config);
  const footprint = method.footprint(outline, options, begun);
  return {
    ...footprint,
    totalParameters: wholeModel(outline),
    room: outline.maxPositions - footprint.virtualTokens,
  };
}

/**
 * Where examples are cut, in tokens.
 * @throws DomainError for a max_seq_len beyond what the base takes
 */
export function cutAt(
  { max_seq_len: asked }: Spec,
  { room, virtualTokens }: BaseFootprint,
): number {
  if (asked === null || asked <= room) return asked ?? room;
  const most = room.toLocaleString('en');
  const why = virtualTokens > 0 ? ` beside ${virtualTokens} virtual ones` : '';
  throw new DomainError(
    'invalid_value',
    `max_seq_len is ${asked.toLocaleString('en')}, but this base takes at most ${most} tokens${why}; lower it or leave it out`,
    'graft.max_seq_len',
  );
}
