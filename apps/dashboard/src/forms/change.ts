// Updates of a form's state. Two updates can come before the next render, so an update that depends
// on the current state must be a function of it.

export type Part<Draft> = Partial<Draft> | ((now: Draft) => Partial<Draft>);

export type Change<Draft> = (part: Part<Draft>) => void;

export const changed = <Draft>(now: Draft, part: Part<Draft>): Draft => ({
  ...now,
  ...(typeof part === 'function' ? part(now) : part),
});
