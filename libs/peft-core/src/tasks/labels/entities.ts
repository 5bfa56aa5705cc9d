/**
 * Entities in a row of tags, as CoNLL's evaluation and seqeval (its default mode) tell them. A tag is O, or B-, I-, E- or S-
 * and a type. An entity begins at B and S, or where the type changes or nothing was before; it ends before such a tag, after
 * E and S, and before O.
 */
export interface Entity {
  readonly type: string;
  /** First and last word. */
  readonly from: number;
  readonly to: number;
}

const TAG = /^([BIES])-(.+)$/;

/** Whether tags tell entities. */
export const hasEntities = (tags: readonly string[]): boolean => tags.some((tag) => TAG.test(tag));

export function entitiesOf(tags: readonly (string | null)[]): Entity[] {
  const found: Entity[] = [];
  let open: { type: string; from: number } | null = null;
  const close = (to: number): void => {
    if (open) found.push({ ...open, to });
    open = null;
  };
  tags.forEach((tag, i) => {
    const [, prefix = 'O', type = ''] = TAG.exec(tag ?? 'O') ?? [];
    const isNew = prefix === 'B' || prefix === 'S' || (open !== null && open.type !== type);
    if (prefix === 'O' || isNew) close(i - 1);
    if (prefix === 'O') return;
    open ??= { type, from: i };
    if (prefix === 'E' || prefix === 'S') close(i);
  });
  close(tags.length - 1);
  return found;
}

export const keyOf = ({ type, from, to }: Entity): string => `${from}-${to} ${type}`;
