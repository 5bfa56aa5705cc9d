// How a form's parts change what is typed. Two changes may come before the form is drawn again, so whatever goes by what
// is typed already is given as a function of it.

export type Part<Draft> = Partial<Draft> | ((now: Draft) => Partial<Draft>);

export type Change<Draft> = (part: Part<Draft>) => void;

export const changed = <Draft>(now: Draft, part: Part<Draft>): Draft => ({
  ...now,
  ...(typeof part === 'function' ? part(now) : part),
});
