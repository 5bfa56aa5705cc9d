/** Value with a short description. */
export type Completion = readonly [value: string, description: string];
