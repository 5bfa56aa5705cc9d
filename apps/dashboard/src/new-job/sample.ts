const ROWS = 24;

/** Returns a small data set of additions as chats, to try Graft with. Training on it takes seconds. */
export function sampleFile(): File {
  const chat = (n: number) => {
    const [a, b] = [n, (7 * n) % 10];
    return JSON.stringify({
      messages: [
        { role: 'user', content: `What is ${a} plus ${b}?` },
        { role: 'assistant', content: String(a + b) },
      ],
    });
  };
  const lines = Array.from({ length: ROWS }, (_, n) => `${chat(n)}\n`);
  return new File(lines, 'sample-sums.jsonl', { type: 'application/jsonl' });
}
