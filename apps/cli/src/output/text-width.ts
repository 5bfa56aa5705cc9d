import { stripVTControlCharacters } from 'node:util';

/** Number of columns of a text, without its colors. */
export const lengthOf = (text: string): number => stripVTControlCharacters(text).length;

/** Truncates a text to a number of columns. A truncated text loses its colors. */
export const truncated = (text: string, limit: number): string =>
  lengthOf(text) > limit ? `${stripVTControlCharacters(text).slice(0, limit - 1)}…` : text;
