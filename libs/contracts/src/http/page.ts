export interface Page<T> {
  readonly object: 'list';
  readonly data: readonly T[];
  readonly has_more: boolean;
  readonly first_id?: string | null;
  readonly last_id?: string | null;
}

/** Response to a DELETE request. */
export interface Deleted<Kind extends string = string> {
  readonly id: string;
  readonly object: Kind;
  readonly deleted: true;
}
