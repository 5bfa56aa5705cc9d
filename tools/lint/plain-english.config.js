// `npx eslint -c tools/lint/plain-english.config.js PATH` checks only how the code is worded: seconds, not minutes.
import tseslint from 'typescript-eslint';
import { plainEnglish } from './plain-english.mjs';

export default [
  { ignores: ['**/node_modules/', '**/dist*/', '**/bundle/', '**/build/', '**/gen/', '**/*.d.ts'] },
  {
    files: ['**/*.{ts,tsx,mjs,js}'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { ecmaFeatures: { jsx: true } },
    },
    linterOptions: { reportUnusedDisableDirectives: 'off' },
    plugins: { words: plainEnglish },
    rules: { 'words/comments': 'error', 'words/strings': 'error' },
  },
];
