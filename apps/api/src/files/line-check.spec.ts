import { describe, expect, it } from 'vitest';
import { LineCheck, MAX_LINE_BYTES } from './line-check.js';

const good = '{"messages":[{"role":"user","content":"ü?"},{"role":"assistant","content":"yes"}]}';

function check(content: string | Buffer, chunk = 1 << 16) {
  const bytes = Buffer.from(content);
  const lines = new LineCheck();
  for (let at = 0; at < bytes.length; at += chunk) lines.push(bytes.subarray(at, at + chunk));
  return lines.end();
}

describe('LineCheck', () => {
  it('counts records whatever the chunking, line endings and last newline', () => {
    for (const chunk of [1, 2, 7, 1000]) {
      expect(check(`${good}\n${good}\r\n\n${good}`, chunk)).toMatchObject({
        records: 3,
        problems: null,
      });
    }
  });

  it('numbers bad lines as an editor does', () => {
    expect(check(`${good}\n\n{"a"\n${good}\n`).problems).toMatch(/^line 3: /);
  });

  it('refuses invalid UTF-8, and an empty file', () => {
    expect(
      check(Buffer.concat([Buffer.from(`${good}\n`), Buffer.from([0xff, 0xfe, 10])])).problems,
    ).toBe('line 2: not valid UTF-8');
    expect(check('').problems).toBe('the file holds no records');
    expect(check('\n\n').problems).toBe('the file holds no records');
  });

  it('does not keep an overlong line, and goes on after it', () => {
    const report = check(`${good}\n"${'x'.repeat(MAX_LINE_BYTES)}"\n${good}\n`);
    expect(report).toMatchObject({
      records: 2,
      problems: `line 2: longer than ${MAX_LINE_BYTES} bytes`,
    });
  });

  it('reports twenty bad lines, then a count', () => {
    const { problems } = check('x\n'.repeat(33));
    expect(problems?.split('; ')).toHaveLength(21);
    expect(problems).toMatch(/; and 13 more bad lines$/);
  });

  it('warns below ten examples, and only warns', () => {
    expect(check(`${good}\n`.repeat(9))).toMatchObject({
      problems: null,
      warning: 'only 9 examples: at least 10 are advised',
    });
    expect(check(`${good}\n`.repeat(10)).warning).toBeNull();
  });
});
