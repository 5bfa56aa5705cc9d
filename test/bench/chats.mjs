// The benchmark's data: 192 chats cut from English prose. Their lengths are distributed like those of
// instruction data (log-normal, about 49 to 512 tokens, median near 150, about half of them supervised). The
// same on every run.

const CHATS = 192;

/** Uniform random numbers from a seed (mulberry32). */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * @param {string[]} chapters text to cut from
 * @returns {{ messages: { role: string, content: string }[] }[]}
 */
export function chats(chapters) {
  const random = uniform(1234);
  const words = chapters.join(' ').split(/\s+/);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const passage = (at, n) => words.slice(at, at + n).join(' ');
  return Array.from({ length: CHATS }, () => {
    // About 1.35 tokens per word, and 40 tokens of template for the two turns.
    const total = Math.min(345, Math.max(10, Math.round(82 * Math.exp(0.62 * normal()))));
    const question = Math.max(4, Math.round(total * (0.25 + 0.3 * random())));
    const at = Math.floor(random() * (words.length - total));
    return {
      messages: [
        { role: 'user', content: `Continue: ${passage(at, question)}` },
        { role: 'assistant', content: passage(at + question, total - question) },
      ],
    };
  });
}
