import { expect, it } from 'vitest';
import { patternWith, patternWithout } from './pattern-prefix.js';

it.each([
  ['model.', 'model\\.(?:layers.*q_proj)', 'layers.*q_proj'],
  ['', '(?:.*q_proj)|(?:.*fc1)', '(?:.*q_proj)|(?:.*fc1)'],
  ['', 'vision_model\\..*', 'vision_model\\..*'],
])('converts a pattern to paths without %j, and back: %s', (prefix, whole, lacking) => {
  expect(patternWithout(prefix, whole)).toBe(lacking);
  expect(patternWith(prefix, lacking)).toBe(whole);
});
