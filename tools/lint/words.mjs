// The words of docs/internals/words.md that lint can recognise, each with what to write instead. Add a word here
// only if it is wrong wherever it occurs.

/** @type {[pattern: RegExp, instead: string][]} */
export const WORDS = [
  [/\b(told|tells?|telling)\b/i, 'sends, reports, returns, notifies, shows; distinguishes'],
  [/\b(hears?|heard)\b/i, 'receives, is notified; transcribed'],
  [/\b(nobody|whoever)\b/i, 'no one, nothing; the caller, the client, you: name the subject'],
  [/\b(go|goes|going|went|gone) on\b/i, 'continues, resumes, proceeds'],
  [/\b(let|lets|letting) (it |them )?go\b/i, 'releases, frees, stops'],
  [/\b(come|comes|came|coming) to\b/i, 'reaches, results in, totals, is'],
  [/\bbeside\b/i, 'next to, in addition to, and, with, compared with'],
  [/\blearnt\b/i, 'learned, trained; the target'],
  [/\bbegun\b/i, 'started; warm-started'],
  [/\bon the way back\b/i, 'in the backward pass'],
  [/\bonce more\b/i, 'again; recomputed, retried'],
  [/\bmend(s|ed|ing)?\b/i, 'fixed'],
  [/\bdeeds?\b/i, 'action, audit entry'],
  [/\b(kin|stray)\b/i, 'sibling; unknown, unexpected'],
  [/\banew\b/i, 'again'],
  [/\b(take|takes|taken|took) up\b/i, 'resumes, starts from, imports'],
  [/\bat once\b/i, 'immediately; together; in one transaction'],
  [/\bnothing of\b/i, 'none of'],
  [/\bwhich of them\b/i, 'which one'],
  [/\b(is|are|was|were) not there\b/i, 'is missing, does not exist'],
  [/\b(say|says|said) (of|so)\b/i, 'states, reports; write what it returns'],
  [/\bstands? (in|at|on|here|there|before|beside|behind)\b/i, 'is in, is at'],
  [/\bnumbers that train\b|\bwhat trains\b/i, 'trainable parameters'],
  [/\b(there|where)(of|in|by)\b/i, 'of it, in it, by it; name the noun'],
  [/\b(picture|pictures)\b/i, 'image'],
  [/\bsounds\b|\b(a|the|one|each|of) sound\b/i, 'audio, audio clip'],
  [/\broom\b/i, 'capacity, free memory, free slots, space'],
  [/\blaid\b/i, 'placed, arranged'],
  [/\b(leaves|left|leave) off\b/i, 'stops'],
];

/** A doc comment's first line is a noun phrase or starts with a verb: these words start a fragment or a question. */
export const FRAGMENT =
  /^(of|what|that|the same|by|to|with|without|for|from|in|on|at|as|under|over|through|where|when|while|until|before|after|between|who|whom|whose|whoever|whatever|which|why|how|nothing|nobody|none|those|else|besides?|behind|so|and|or|but|left|then|its|their|null:|false:|true:)(?![\w-])/i;

/**
 * @param {string} text prose; code spans in backquotes are not checked
 * @returns {string[]} one message per word to replace
 */
export function dialectIn(text) {
  const prose = text.replace(/`[^`]*`/g, '``');
  return WORDS.flatMap(([pattern, instead]) => {
    const word = pattern.exec(prose)?.[0];
    return word === undefined ? [] : [`"${word}": write ${instead} (docs/internals/words.md)`];
  });
}

/**
 * @param {string} comment a doc comment's text without its delimiters
 * @returns {string | null} the word that starts a fragment
 */
export function fragmentIn(comment) {
  const text = comment.replace(/^\s*\*?\s*/, '').replace(/\s*\n\s*\*\s*/g, ' ');
  return FRAGMENT.exec(text)?.[0] ?? null;
}
