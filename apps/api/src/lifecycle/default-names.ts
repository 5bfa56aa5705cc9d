import { Injectable } from '@nestjs/common';
import { JOB_LABEL_LIMITS } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/** Maximum length of the part of a name that comes from a file or a criterion, and the length kept at least. */
const [LONGEST_STEM, SHORTEST_STEM] = [24, 12];

/** A numbered name, or the name of a result of models. */
export type DefaultName =
  | { readonly stem: string }
  | {
      /** Ids of the models, of which the first is named. */
      readonly models: readonly [string, ...string[]];
      /** Label of the result, such as "GGUF Q4_K_M". */
      readonly label: string;
    };

/** Default display names, unique among the default names of a project. They appear in no other name. */
@Injectable()
export class DefaultNames {
  constructor(private readonly database: Database) {}

  /** Returns `tickets-lora-1`, or `tickets-lora-1 · GGUF Q4_K_M`. The transaction commits the number. */
  async next(manager: EntityManager, projectId: string, name: DefaultName): Promise<string> {
    if ('stem' in name)
      return `${name.stem}-${await this.number(manager, projectId, name.stem, null)}`;
    const title = `${await this.titleOf(manager, name.models)} · ${name.label}`;
    const number = await this.number(manager, projectId, title, null);
    return limited(number === 1 ? title : `${title} (${number})`);
  }

  /** Keeps a name that the user chose, such as `tickets-lora-7`, from being given again. */
  async reserve(manager: EntityManager, projectId: string, name: string): Promise<void> {
    const [, stem, digits] = /^(.+)-(\d{1,6})$/.exec(name) ?? [];
    if (stem !== undefined) await this.number(manager, projectId, stem, Number(digits));
  }

  /** @param given the number to count as used; null: the next one */
  private async number(
    manager: EntityManager,
    projectId: string,
    stem: string,
    given: number | null,
  ): Promise<number> {
    const [row] = await this.database.query<{ last: number }>(
      `INSERT INTO name_counter (project_id, stem, last) VALUES ($1, $2, COALESCE($3::int, 1))
       ON CONFLICT (project_id, stem) DO UPDATE SET last = GREATEST(COALESCE($3::int, name_counter.last + 1), name_counter.last)
       RETURNING last`,
      [projectId, stem, given],
      manager,
    );
    if (!row) throw new Error(`the database counted no name ${stem}`);
    return row.last;
  }

  /** Name of the job that made the first model, with the step of a checkpoint and the number of other models. */
  private async titleOf(
    manager: EntityManager,
    [first, ...others]: readonly [string, ...string[]],
  ): Promise<string> {
    const [model = first, step] = first.split(':ckpt-step-');
    const [job] = await this.database.query<{ name: string | null }>(
      `SELECT COALESCE(job.name, default_name, suffix) AS name FROM model JOIN job ON job.id = model.job_id
       WHERE model.id = $1`,
      [model],
      manager,
    );
    const title = job?.name ?? plainTitle(model);
    const ofStep = step === undefined ? title : `${title} · step ${step}`;
    return others.length === 0 ? ofStep : `${ofStep} + ${others.length} more`;
  }
}

/** Title of a model that no job made: the suffix of an uploaded adapter, or the name of a base without its owner. */
function plainTitle(model: string): string {
  const [, base, , suffix] = /^ft:([^:]*):([^:]*):([^:]*):/.exec(model) ?? [];
  return suffix || base || model.slice(model.lastIndexOf('/') + 1);
}

/** Converts text to a part of a name: lower case, with hyphens between its words. */
export function nameStem(text: string, otherwise: string): string {
  const slug = text
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, '-')
    .replaceAll(/^-+|-+$/g, '');
  const letters = [...slug];
  if (letters.length <= LONGEST_STEM) return slug || otherwise;
  const start = letters.slice(0, LONGEST_STEM).join('');
  const end = start.lastIndexOf('-');
  return end >= SHORTEST_STEM ? start.slice(0, end) : start.replace(/-$/, '');
}

/** Converts a file name to a part of a name: without its folder and extension. */
export const fileStem = (filename: string): string =>
  nameStem(filename.replace(/^.*[\\/]/, '').replace(/(\.[^.]{1,8})?(\.gz|\.zip)?$/i, ''), 'data');

/** Shortens a name to the maximum length of names. */
export const limited = (name: string): string =>
  name.length <= JOB_LABEL_LIMITS.name ? name : `${name.slice(0, JOB_LABEL_LIMITS.name - 1)}…`;
