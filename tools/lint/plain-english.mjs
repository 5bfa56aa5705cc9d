// ESLint rules for how we write: docs/internals/words.md has the words, CONTRIBUTING.md the reasons.
import { dialectIn, fragmentIn } from './words.mjs';

const comments = {
  create: (context) => ({
    Program() {
      for (const comment of context.sourceCode.getAllComments()) {
        const doc = comment.type === 'Block' && comment.value.startsWith('*');
        const fragment = doc ? fragmentIn(comment.value) : null;
        if (fragment !== null)
          context.report({
            loc: comment.loc,
            message: `A doc comment starts with what the thing is, or with a verb; this one starts with "${fragment}"`,
          });
        for (const message of dialectIn(comment.value))
          context.report({ loc: comment.loc, message });
      }
    },
  }),
};

/** Strings of one word are names, not prose. */
const isProse = (text) => /\S\s+\S/.test(text);

const strings = {
  create(context) {
    const check = (node, text) => {
      if (!isProse(text)) return;
      for (const message of dialectIn(text)) context.report({ node, message });
    };
    return {
      Literal: (node) => typeof node.value === 'string' && check(node, node.value),
      TemplateElement: (node) => check(node, node.value.cooked ?? ''),
      JSXText: (node) => check(node, node.value),
    };
  },
};

export const plainEnglish = { rules: { comments, strings } };
