/**
 * Entity in a sequence of tags, as in the CoNLL evaluation and seqeval (default mode). A tag is O, or B-,
 * I-, E- or S- and a type. An entity starts at B or S, if the type changes, or after no entity. It ends
 * before such a tag, after E or S, and before O.
 */
export interface Entity {
  readonly type: string;
  /** Indices of the first and the last word. */
  readonly from: number;
  readonly to: number;
}

const TAG = /^([BIES])-(.+)$/;

/** Whether the tags mark entities. */
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
